//! What a policy can be asked, and what it answers: the contract's functions as data, which can be passed to
//! another process.

use serde::{Deserialize, Serialize};

use super::bindings::{AddPlan, AddRequest, DelRequest, NodePlan, NodeRequest, Refusal, Release};

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Question {
    CheckConfig(String),
    Add(AddRequest),
    Del(DelRequest),
    Node(NodeRequest),
}

impl Question {
    /// The contract's name of the function.
    pub(super) fn call(&self) -> &'static str {
        match self {
            Self::CheckConfig(_) => "check-config",
            Self::Add(_) => "add",
            Self::Del(_) => "del",
            Self::Node(_) => "node",
        }
    }

    /// What randomness follows from: it tells one question from others to the same function.
    pub(super) fn facts(&self) -> Vec<&str> {
        match self {
            Self::CheckConfig(config) => vec![config],
            Self::Add(request) => {
                vec![&request.network, &request.container_id, &request.ifname, &request.config]
            }
            Self::Del(request) => {
                vec![&request.network, &request.container_id, &request.ifname, &request.config]
            }
            Self::Node(request) => vec![&request.node.name, &request.config],
        }
    }
}

/// As it came from the policy: nothing in it has been checked.
#[derive(Debug, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub(super) enum Answer {
    CheckConfig(Result<(), Refusal>),
    Add(Result<AddPlan, Refusal>),
    Del(Release),
    Node(Result<NodePlan, Refusal>),
}
