//! What happened to the policies of the node.

use serde::{Deserialize, Serialize};

use super::Time;
use crate::names::{Digest, NetworkName, PolicyName};

/// A change of what a policy's name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub time: Time,
    /// Who did it, for people: a user, or podwire itself.
    pub by: String,
    /// The name.
    pub policy: PolicyName,
    /// For this network only; none: for all that have no version of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkName>,
    /// What happened.
    pub what: What,
    /// The version that it happened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The version that was in force before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Digest>,
}

/// What happened to a version of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It is on the node, and decides nothing yet.
    Installed,
    /// It decides.
    Activated,
    /// It decides for some pods.
    Canary {
        /// Of a hundred.
        percent: u8,
    },
    /// It decides beside the active one, without effect.
    Shadow,
    /// It decides again, by the operator's word.
    RolledBack,
    /// It decides again, because the one after it failed.
    FellBack {
        /// How often, and how at last.
        why: String,
    },
    /// It is no longer on the node.
    Removed,
}

impl What {
    /// Whether the version decides for every pod from then on.
    pub fn puts_in_force(&self) -> bool {
        matches!(self, Self::Activated | Self::RolledBack | Self::FellBack { .. })
    }
}
