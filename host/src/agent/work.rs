//! What takes its time: asking the policy, and the kernel's work. Synchronous, for a thread of its own.

use ipnet::IpNet;

use super::record::Kept;
use crate::net;
use crate::net::node::{Failed, Outcome, Step, Target};
use crate::node::config::Settings;
use crate::node::{self, Asker, Membership};
use crate::plan::{NodeRequest, Role};
use crate::registry::Installed;
use crate::state::State;

/// Why there is no plan for this membership.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The policy could not be asked, or its answer is of no use.
    #[error(transparent)]
    Node(#[from] node::Error),
    /// Pods could get no address.
    #[error("the source has given {0} no blocks for its pods yet: the plan waits for them")]
    NoPools(String),
}

impl From<node::config::Error> for Error {
    fn from(error: node::config::Error) -> Self {
        Self::Node(error.into())
    }
}

/// Keeps what the last question was.
pub struct Work {
    state: State,
    asker: Asker,
    /// What the source knows of the cluster's blocks.
    cluster: Vec<IpNet>,
    answered: Option<(Installed, NodeRequest)>,
}

impl Work {
    /// For the node of that state directory.
    pub fn new(state: &State, cluster: Vec<IpNet>) -> Result<Self, node::Error> {
        Ok(Self { state: state.clone(), asker: Asker::new(state)?, cluster, answered: None })
    }

    /// Asks the policy what shall be true with these members; none if it has answered that very question.
    pub fn ask(&mut self, membership: Membership) -> Result<Option<Kept>, Error> {
        if membership.own.pools.is_empty() && membership.own.role == Role::Host {
            return Err(Error::NoPools(membership.own.name));
        }
        let settings = Settings::read(&self.state.node_config())?;
        let uplinks = net::node::uplinks(&membership.own.addresses).map_err(node::Error::from)?;
        let request = membership.request(&settings, &self.cluster, uplinks)?;
        let active = self.asker.active(&settings.policy.unwrap_or_default())?;
        let question = (active, request);
        if self.answered.as_ref() == Some(&question) {
            return Ok(None);
        }
        self.answered = None;
        let decided = self.asker.ask(&question.0, &question.1)?;
        self.answered = Some(question);
        Ok(Some(decided.into()))
    }
}

/// Makes a plan true: all of it, or by the last step to it. What the kernel refuses altogether is a failure like others.
pub fn apply(step: Option<Step>, target: &Target) -> Outcome {
    let done = match step {
        Some(step) => net::node::advance(step, target),
        None => net::node::apply(&target.plan, &target.cluster),
    };
    done.unwrap_or_else(|error| Outcome {
        failed: vec![Failed { what: None, why: error.to_string() }],
        ..Outcome::default()
    })
}
