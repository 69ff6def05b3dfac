//! What the operator wrote, and the policy that decides by it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde_json::{Map, Value};

use crate::names::PolicyName;
use crate::node::config::{self, read_peers};
use crate::plan::Peer;
use crate::policy::abi_key;
use crate::registry::Registry;
use crate::state::State;

/// The node's settings as far as they can be used, and its peers.
#[derive(Debug, Clone, Default)]
pub(in crate::doctor) struct Settings {
    pub(in crate::doctor) name: String,
    pub(in crate::doctor) addresses: Vec<IpAddr>,
    pub(in crate::doctor) pools: Vec<IpNet>,
    pub(in crate::doctor) cluster: Vec<IpNet>,
    pub(in crate::doctor) peers: Vec<Peer>,
    pub(in crate::doctor) policy: PolicyName,
    /// Files that are there and sound.
    pub(in crate::doctor) sound: Vec<PathBuf>,
    /// What is wrong with others.
    pub(in crate::doctor) problems: Vec<String>,
}

impl Settings {
    pub(super) fn read(state: &State) -> Self {
        let mut settings = Self::default();
        settings.read_node(&state.node_config());
        let peers = settings.keep(&state.peers(), read_peers(&state.peers())).unwrap_or_default();
        settings.peers = peers.into_iter().filter(|peer| peer.name != settings.name).collect();
        let agent = state.etc.join("agent.json");
        settings.keep(&agent, read_object(&agent));
        settings
    }

    pub(in crate::doctor) fn cluster(&self) -> &[IpNet] {
        &self.cluster
    }

    fn read_node(&mut self, path: &Path) {
        let read = config::Settings::read(path).and_then(|read| Ok((read.node(None, None)?, read.policy)));
        let Some((node, policy)) = self.keep(path, read) else { return };
        self.policy = policy.unwrap_or_default();
        (self.name, self.addresses) = (node.name, node.addresses);
        (self.pools, self.cluster) = (node.pools, node.cluster);
    }

    /// Notes what became of a file.
    fn keep<T, E: ToString>(&mut self, path: &Path, read: Result<T, E>) -> Option<T> {
        match read {
            Ok(value) => {
                self.sound.extend(path.exists().then(|| path.to_owned()));
                Some(value)
            }
            Err(error) => {
                self.problems.push(error.to_string());
                None
            }
        }
    }
}

/// The agent itself says what it misses in it; that it is an object can be said by everybody.
fn read_object(path: &Path) -> Result<(), String> {
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
        Ok(text) => {
            let read: Result<Map<String, Value>, _> = serde_json::from_slice(&text);
            read.map(drop).map_err(|error| format!("{}: {error}", path.display()))
        }
    }
}

/// The policy that decides on this node.
#[derive(Debug, Clone, Default)]
pub(in crate::doctor) struct Policy {
    pub(in crate::doctor) name: String,
    /// Why it cannot.
    pub(in crate::doctor) problem: Option<String>,
    /// Whether its code for this version of podwire is there.
    pub(in crate::doctor) compiled: bool,
}

impl Policy {
    pub(super) fn look_at(state: &State, settings: &Settings) -> Self {
        let registry = Registry::open(state);
        let found = registry
            .active(&settings.policy)
            .and_then(|policy| registry.installed(&policy.name, policy.digest))
            .and_then(|policy| registry.component(&policy).map(|_| policy));
        match found {
            Err(error) => {
                let name = settings.policy.to_string();
                Self { name, problem: Some(error.to_string()), compiled: false }
            }
            Ok(policy) => {
                let code = policy.dir.join(format!("{}.cwasm", abi_key()));
                Self { name: policy.to_string(), problem: None, compiled: code.exists() }
            }
        }
    }
}
