//! What is true per node: its settings, its bridges and its routes to the peers' pods.

pub mod config;

use crate::names::{Digest, PolicyName};
use crate::plan::check::{self, Violation};
use crate::plan::{NodePlan, NodeRequest, Refusal};
use crate::policy::{self, Engine};
use crate::registry::{self, Registry};
use crate::state::State;
use config::Settings;

/// Why it cannot be said what shall be true on the node.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node's settings cannot be used.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The policy is not installed, or cannot be loaded.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The policy failed, or passed a limit.
    #[error(transparent)]
    Policy(#[from] policy::Error),
    /// The policy says no.
    #[error("policy {policy} ({digest}) refuses: {message}")]
    Refused {
        /// Its name.
        policy: PolicyName,
        /// Its component.
        digest: Digest,
        /// Its words.
        message: String,
    },
    /// The policy's plan must not become true.
    #[error("the plan of policy {policy} ({digest}) breaks a rule: {violation}")]
    Broken {
        /// Its name.
        policy: PolicyName,
        /// Its component.
        digest: Digest,
        /// Field, value and rule.
        violation: Violation,
    },
}

/// Asks the policy what shall be true on this node, and checks it.
pub fn plan(state: &State) -> Result<NodePlan, Error> {
    let settings = Settings::read(&state.node_config())?;
    let node = settings.node(None, None);
    let peers = config::read_peers(&state.peers(), &node.name)?;
    let request = NodeRequest { node, peers, config: settings.policy_config().to_owned() };

    let registry = Registry::open(state);
    let installed = registry.active(&settings.policy.clone().unwrap_or_default())?;
    let mut instance = registry.load(&Engine::new()?, &installed)?.instantiate()?;
    let (policy, digest) = (installed.name, installed.digest);
    match instance.node(&request)? {
        Ok(plan) => {
            check::node(&request, plan).map_err(|violation| Error::Broken { policy, digest, violation })
        }
        Err(Refusal { message, .. }) => Err(Error::Refused { policy, digest, message }),
    }
}
