//! The networks of this node that a policy serves: each is asked for before another version of it does.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::error::refused;
use crate::cni::{Configuration, Environment, Error, Input, Request};
use crate::names::{NetworkName, PolicyName};
use crate::node::config::Settings;
use crate::plan::Node;
use crate::policy::Policy;
use crate::registry::Installed;
use crate::trial::Setting;

/// The endings of files that libcni reads.
const ENDINGS: [&str; 3] = ["conf", "conflist", "json"];

/// A network, as far as a policy is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Where it is configured.
    pub file: PathBuf,
    /// Its name.
    pub network: NetworkName,
    /// The policy's own configuration.
    pub config: String,
    /// Blocks of this node's pods, if the network names any.
    pools: Option<Vec<IpNet>>,
    /// Blocks that hold all pods.
    cluster: Option<Vec<IpNet>>,
}

impl Served {
    /// What it would have a policy decide with.
    pub fn setting(&self, settings: &Settings) -> Setting {
        let usual = Setting::of(&self.config);
        match settings.node(self.pools.as_deref(), self.cluster.as_deref()) {
            Ok(Node { pools, cluster, .. }) => Setting { pools, cluster, ..usual },
            // An ADD will say what is wrong with the blocks.
            Err(_) => usual,
        }
    }
}

/// The networks that the folder configures and the policy serves, in the order of their files; and what is wrong with
/// those that no policy can serve. No folder, no networks.
pub fn served(
    settings: &Settings,
    folder: &Path,
    policy: &PolicyName,
) -> std::io::Result<(Vec<Served>, Vec<String>)> {
    let (mut served, mut wrong) = (Vec::new(), Vec::new());
    for file in files(folder)? {
        for plugin in plugins(&file) {
            match plugin.and_then(|plugin| read(plugin).map_err(|error| error.to_string())) {
                Ok(network) if named(&network, settings) == *policy => {
                    let config = network.config.as_deref().unwrap_or_else(|| settings.policy_config());
                    let (file, config) = (file.clone(), config.to_owned());
                    let Configuration { network, pools, cluster, .. } = network;
                    served.push(Served { file, network, config, pools, cluster });
                }
                Ok(_) => {}
                Err(why) => wrong.push(format!("{}: {why}", file.display())),
            }
        }
    }
    Ok((served, wrong))
}

/// Whether a version can work with a configuration, in its own words.
pub fn accepts(version: &Installed, policy: &Policy, config: &str) -> Result<(), Error> {
    let answer = policy.instantiate()?.check_config(config)?;
    answer.map_err(|refusal| refused(version, &refusal))
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match folder.read_dir() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    let is_read =
        |path: &PathBuf| path.extension().and_then(OsStr::to_str).is_some_and(|e| ENDINGS.contains(&e));
    let mut paths: Vec<_> = paths.into_iter().filter(is_read).collect();
    paths.sort();
    Ok(paths)
}

/// Those of podwire, as a runtime would hand them over.
fn plugins(file: &Path) -> Vec<Result<Map<String, Value>, String>> {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(error) => return vec![Err(error.to_string())],
    };
    let mut whole: Map<String, Value> = match serde_json::from_slice(&text) {
        Ok(whole) => whole,
        Err(error) => return vec![Err(format!("it is no JSON object: {error}"))],
    };
    let plugins = match whole.remove("plugins") {
        Some(Value::Array(plugins)) => plugins,
        _ => vec![Value::Object(whole.clone())],
    };
    let objects = plugins.into_iter().filter_map(|plugin| match plugin {
        Value::Object(plugin) if is_ours(&plugin) => Some(plugin),
        _ => None,
    });
    objects
        .map(|mut plugin| {
            for key in ["name", "cniVersion"] {
                plugin.extend(whole.get_key_value(key).map(|(key, value)| (key.clone(), value.clone())));
            }
            Ok(plugin)
        })
        .collect()
}

/// As the plugin itself, or as the one that gives another its addresses.
fn is_ours(plugin: &Map<String, Value>) -> bool {
    let ipam = plugin.get("ipam").and_then(|ipam| ipam.get("type"));
    plugin.get("type").into_iter().chain(ipam).any(|kind| kind == "podwire")
}

fn read(plugin: Map<String, Value>) -> Result<Configuration, Error> {
    let environment = Environment {
        command: Some("ADD".into()),
        container_id: Some("nobody".into()),
        // Nobody opens it.
        netns: Some("/proc/self/ns/net".into()),
        ifname: Some("eth0".into()),
        args: None,
        path: Some("/opt/cni/bin".into()),
        netns_override: None,
        program: None,
    };
    match Request::read(&Input { environment, stdin: Ok(Value::Object(plugin).to_string().into_bytes()) })? {
        Request::Add(add) => Ok(add.configuration),
        _ => unreachable!("the command is ADD"),
    }
}

fn named(network: &Configuration, settings: &Settings) -> PolicyName {
    network.policy.as_ref().or(settings.policy.as_ref()).cloned().unwrap_or_default()
}
