//! What is true per node: its settings, its bridges and its routes to the peers' pods.

pub mod config;
mod membership;

use std::sync::Arc;

use crate::names::PolicyName;
use crate::net;
use crate::plan::check::{self, Violation};
use crate::plan::{Node, NodePlan, NodeRequest, Peer, Refusal, Role};
use crate::policy::{self, Engine, Policy};
use crate::registry::{self, Installed, Registry};
use crate::state::State;
use config::Settings;

pub use membership::{Membership, Own};

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
    /// The kernel does not tell the node's interfaces.
    #[error(transparent)]
    Kernel(#[from] net::Error),
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
    /// What it does for the cluster.
    pub role: Role,
    /// The others.
    pub peers: Arc<[Peer]>,
    /// What its policy decided, and the checks let pass.
    pub plan: NodePlan,
    /// The policy.
    pub policy: Installed,
}

/// Asks the policy what shall be true on this node, with the peers that files name, and checks it.
pub fn decide(state: &State) -> Result<Decided, Error> {
    let settings = Settings::read(&state.node_config())?;
    let role = config::read_role(&state.agent_config())?;
    let membership = Membership::read(state, &settings, role)?;
    let uplinks = net::node::uplinks(&membership.own.addresses)?;
    let request = membership.request(&settings, &[], uplinks)?;
    let mut asker = Asker::new(state)?;
    let active = asker.active(&settings.policy.unwrap_or_default())?;
    asker.ask(&active, &request)
}

/// Asks policies about the node. Keeps the code of the last one: the next question is mostly for it too.
pub struct Asker {
    registry: Registry,
    engine: Engine,
    loaded: Option<(Installed, Policy)>,
}

impl Asker {
    /// With the policies below that state directory.
    pub fn new(state: &State) -> Result<Self, Error> {
        Ok(Self { registry: Registry::open(state), engine: Engine::new()?, loaded: None })
    }

    /// What decides now where that name is asked for.
    pub fn active(&self, name: &PolicyName) -> Result<Installed, Error> {
        Ok(self.registry.active(name)?)
    }

    /// Asks one version of a policy, and checks the answer.
    pub fn ask(&mut self, version: &Installed, request: &NodeRequest) -> Result<Decided, Error> {
        let policy = version.to_string();
        match self.load(version)?.instantiate()?.node(request)? {
            Err(Refusal { message, .. }) => Err(Error::Refused { policy, message }),
            Ok(plan) => match check::node(request, plan) {
                Err(violation) => Err(Error::Broken { policy, violation }),
                Ok(plan) => {
                    let NodeRequest { node, role, peers, .. } = request.clone();
                    Ok(Decided { node, role, peers, plan, policy: version.clone() })
                }
            },
        }
    }

    fn load(&mut self, version: &Installed) -> Result<&Policy, Error> {
        let kept = self.loaded.take().filter(|(loaded, _)| loaded == version);
        let loaded = match kept {
            Some(kept) => kept,
            None => (version.clone(), self.registry.load(&self.engine, version)?),
        };
        Ok(&self.loaded.insert(loaded).1)
    }
}
