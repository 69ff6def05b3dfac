//! What the operator wrote, and the policy that decides by it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use crate::agent::known::Known;
use crate::agent::settings as agent;
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
        let (node, peers, agent) = (state.node_config(), state.peers(), state.agent_config());
        let node = settings.keep(&node, config::Settings::read(&node));
        settings.keep(&peers, read_peers(&peers));
        settings.keep(&agent, agent::Settings::read(&agent));
        settings.policy = node.and_then(|node| node.policy).unwrap_or_default();
        if settings.problems.is_empty() {
            settings.know(Known::read(state));
        }
        settings
    }

    pub(in crate::doctor) fn cluster(&self) -> &[IpNet] {
        &self.cluster
    }

    /// Each file is sound by itself; together they may still make no sense.
    fn know(&mut self, known: Result<Known, agent::Error>) {
        match known {
            Ok(Known { node, peers, .. }) => {
                (self.name, self.addresses) = (node.name, node.addresses);
                (self.pools, self.cluster) = (node.pools, node.cluster);
                self.peers = peers.to_vec();
            }
            Err(error) => self.problems.push(error.to_string()),
        }
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
