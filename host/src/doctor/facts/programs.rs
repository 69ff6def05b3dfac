//! What runtimes find: plugins in their folders, and network configurations.

use std::fs;
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::{child, state};

/// How long a plugin may take, which answers within a millisecond or two.
const PATIENCE: Duration = Duration::from_secs(5);
/// As much of its answer as is read, in bytes.
const MOST: u64 = 64 * 1024;

/// A folder in which runtimes look for plugins.
#[derive(Debug, Clone)]
pub(in crate::doctor) struct Folder {
    pub(in crate::doctor) path: PathBuf,
    pub(in crate::doctor) podwire: Answer,
    pub(in crate::doctor) has_loopback: bool,
}

/// What a plugin says to VERSION.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) enum Answer {
    /// It is not there.
    Absent,
    /// Versions of the specification.
    Versions(Vec<String>),
    /// None that can be understood.
    Unusable(String),
}

pub(super) fn folders(paths: &[PathBuf]) -> Vec<Folder> {
    let there = paths.iter().filter(|path| path.is_dir());
    let look = |path: &PathBuf| Folder {
        podwire: ask(&path.join("podwire")),
        has_loopback: path.join("loopback").exists(),
        path: path.clone(),
    };
    there.map(look).collect()
}

/// What somebody else may have written is not executed.
fn ask(plugin: &Path) -> Answer {
    match state::trusted(plugin) {
        Err(error) if error.is_absent() => return Answer::Absent,
        Err(error) => return Answer::Unusable(error.to_string()),
        Ok(()) => (),
    }
    let unusable = |why: String| Answer::Unusable(format!("{} {why}", plugin.display()));
    let said = match call(plugin) {
        Err(error) => return unusable(format!("cannot be asked: {error}")),
        Ok(said) => said,
    };
    let answer: Value = serde_json::from_slice(&said).unwrap_or_default();
    match serde_json::from_value(answer["supportedVersions"].clone()) {
        Ok(versions) => Answer::Versions(versions),
        Err(_) => unusable("does not answer VERSION as the specification says".to_owned()),
    }
}

/// Without input, which the answer does not depend on: writing to one that has ended would end this program too.
fn call(plugin: &Path) -> io::Result<Vec<u8>> {
    let mut answer = child::file()?;
    let mut command = Command::new(plugin);
    command.env_clear().env("CNI_COMMAND", "VERSION").current_dir("/");
    command.stdin(Stdio::null()).stdout(answer.try_clone()?).stderr(Stdio::null());
    if child::finish(&mut command.spawn()?, PATIENCE)?.is_none() {
        return Err(io::Error::other(format!("no answer to VERSION within {} s", PATIENCE.as_secs())));
    }
    let mut said = Vec::new();
    answer.rewind()?;
    answer.take(MOST).read_to_end(&mut said)?;
    Ok(said)
}

/// A network configuration as a runtime finds it.
#[derive(Debug, Clone, Default)]
pub(in crate::doctor) struct NetworkFile {
    pub(in crate::doctor) path: PathBuf,
    /// Why no runtime can use it.
    pub(in crate::doctor) problem: Option<String>,
    pub(in crate::doctor) name: String,
    /// Types, in order.
    pub(in crate::doctor) plugins: Vec<String>,
    /// `pools` of the plugin that is podwire.
    pub(in crate::doctor) pools: Value,
    /// Whether it is one plugin's configuration, not a list.
    pub(in crate::doctor) single: bool,
}

impl NetworkFile {
    pub(in crate::doctor) fn is_podwire(&self) -> bool {
        self.plugins.iter().any(|plugin| plugin == "podwire")
    }

    fn read(path: PathBuf) -> Self {
        let single = path.extension().is_none_or(|extension| extension != "conflist");
        let read = fs::read(&path).map_err(|error| error.to_string()).and_then(|text| {
            serde_json::from_slice::<Value>(&text).map_err(|error| format!("it is no JSON: {error}"))
        });
        match read {
            Err(problem) => Self { path, single, problem: Some(problem), ..Self::default() },
            Ok(network) => Self { single, ..Self::of(path, &network) },
        }
    }

    /// A file that ends in `.conf` may hold a list all the same.
    fn of(path: PathBuf, network: &Value) -> Self {
        let one = std::slice::from_ref(network);
        let listed = network["plugins"].as_array().map_or(one, Vec::as_slice);
        let kind = |plugin: &Value| plugin["type"].as_str().map(str::to_owned);
        let plugins: Vec<String> = listed.iter().filter_map(kind).collect();
        let podwire = listed.iter().find(|plugin| plugin["type"] == "podwire");
        let incomplete = plugins.len() < listed.len() || plugins.is_empty();
        let problem = incomplete.then(|| "a plugin in it has no `type`".to_owned());
        let name = network["name"].as_str().unwrap_or_default().to_owned();
        let problem = problem.or_else(|| name.is_empty().then(|| "it has no `name`".to_owned()));
        let pools = podwire.map(|plugin| plugin["pools"].clone()).unwrap_or_default();
        Self { path, problem, name, plugins, pools, single: false }
    }
}

/// In the order in which runtimes take them: the first one wins.
pub(super) fn network_files(folder: &Path) -> Vec<NetworkFile> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let named = |path: &PathBuf| {
        path.extension().is_some_and(|it| ["conf", "conflist", "json"].iter().any(|known| it == *known))
    };
    let mut paths: Vec<PathBuf> = entries.filter(named).collect();
    paths.sort_unstable();
    paths.into_iter().map(NetworkFile::read).collect()
}
