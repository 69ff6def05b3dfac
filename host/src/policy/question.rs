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
}

/// As it came from the policy: nothing in it has been checked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    CheckConfig(Result<(), Refusal>),
    Add(Result<AddPlan, Refusal>),
    Del(Release),
    Node(Result<NodePlan, Refusal>),
}
