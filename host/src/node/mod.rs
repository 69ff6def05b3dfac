//! What is true per node: its settings, its bridges and its routes to the peers' pods.

pub mod config;

use crate::leases::Empty;
use crate::plan::check::{self, Violation};
use crate::plan::{Node, NodePlan, NodeRequest, Refusal, Role};
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
    #[error("policy {policy} refuses: {message}")]
    Refused {
        /// Its name and digest.
        policy: String,
        /// Its words.
        message: String,
    },
    /// The policy's plan must not become true.
    #[error("the plan of policy {policy} breaks a rule: {violation}")]
    Broken {
        /// Its name and digest.
        policy: String,
        /// Field, value and rule.
        violation: Violation,
    },
}

/// The node, and what shall be true on it.
pub struct Decided {
    /// As it is configured.
    pub node: Node,
    /// What its policy decided, and the checks let pass.
    pub plan: NodePlan,
}

/// Asks the policy what shall be true on this node, and checks it.
pub fn decide(state: &State) -> Result<Decided, Error> {
    let settings = Settings::read(&state.node_config())?;
    let node = settings.node(None, None)?;
    let peers = config::read_peers(&state.peers(), &node.name)?;
    let config = settings.policy_config().to_owned();
    let request = NodeRequest { node, role: Role::Host, uplinks: Vec::new(), peers, config };

    let registry = Registry::open(state);
    let installed = registry.active(&settings.policy.clone().unwrap_or_default())?;
    let mut instance = registry.load(&Engine::new()?, &installed)?.instantiate::<Empty>()?;
    let policy = installed.to_string();
    match instance.node(&request)? {
        Err(Refusal { message, .. }) => Err(Error::Refused { policy, message }),
        Ok(plan) => match check::node(&request, plan) {
            Err(violation) => Err(Error::Broken { policy, violation }),
            Ok(plan) => Ok(Decided { node: request.node, plan }),
        },
    }
}
