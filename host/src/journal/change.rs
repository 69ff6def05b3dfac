//! What happened to the policies of the node.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Time;
use crate::names::{Digest, NetworkName, PolicyName};

/// One change of what a policy's name stands for, or of the versions that are kept under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: Time,
    /// Who: the name of a user, or `podwire` itself.
    pub by: String,
    /// The policy.
    pub policy: PolicyName,
    /// Of one network; none: everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkName>,
    /// What.
    pub what: What,
}

/// What was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum What {
    /// A version was stored. It decides nothing yet.
    Installed {
        /// The version.
        digest: Digest,
    },
    /// A version decides from now on.
    Activated {
        /// The version.
        digest: Digest,
        /// The one that did before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Digest>,
    },
    /// A version decides for some pods.
    Canary {
        /// The version.
        digest: Digest,
        /// Of a hundred pods.
        percent: u8,
    },
    /// A version is asked beside the one that decides.
    Shadow {
        /// The version.
        digest: Digest,
    },
    /// A canary or a shadow is asked no longer.
    Withdrawn {
        /// The version.
        digest: Digest,
    },
    /// Somebody went back to the version before.
    RolledBack {
        /// The one that decided.
        from: Digest,
        /// The one that decides again.
        to: Digest,
    },
    /// A version failed too often.
    FellBack {
        /// The one that failed.
        from: Digest,
        /// The one that decides instead.
        to: Digest,
        /// How often it failed.
        faults: u32,
    },
    /// A version is not kept any more.
    Removed {
        /// The version.
        digest: Digest,
    },
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installed { digest } => write!(f, "installed {digest}"),
            Self::Activated { digest, before: None } => write!(f, "activated {digest}"),
            Self::Activated { digest, before: Some(before) } => {
                write!(f, "activated {digest} in the place of {before}")
            }
            Self::Canary { digest, percent } => write!(f, "{digest} decides for {percent} % of the pods"),
            Self::Shadow { digest } => write!(f, "{digest} is asked without effect"),
            Self::Withdrawn { digest } => write!(f, "withdrew {digest}"),
            Self::RolledBack { from, to } => write!(f, "rolled back from {from} to {to}"),
            Self::FellBack { from, to, faults } => {
                write!(f, "fell back from {from}, which failed {faults} times, to {to}")
            }
            Self::Removed { digest } => write!(f, "removed {digest}"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: policy {}", self.at.in_words(), self.by, self.policy)?;
        if let Some(network) = &self.network {
            write!(f, " in network {network}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl What {
    /// The version that decides from then on, at least for some pods.
    pub fn in_force(&self) -> Option<Digest> {
        match self {
            Self::Activated { digest, .. }
            | Self::Canary { digest, .. }
            | Self::RolledBack { to: digest, .. }
            | Self::FellBack { to: digest, .. } => Some(*digest),
            _ => None,
        }
    }
}
