//! What the tests may ask for.

use alloc::string::String;

use podwire_sdk::raw::{Refusal, types};
use serde::Deserialize;

use crate::deeds;
use crate::wire;

/// The policy's configuration.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// What to do, beside answering.
    pub(crate) r#do: Option<Deed>,
    /// In which export.
    pub(crate) r#in: Export,
    /// How often, how many or how long.
    pub(crate) count: u32,
    /// With which reason to refuse.
    reason: Reason,
    /// With which message to refuse.
    message: String,
    /// What `add` answers.
    pub(crate) plan: Option<wire::AddPlan>,
    /// What `node` answers.
    #[serde(alias = "node-plan")]
    pub(crate) node_plan: Option<wire::NodePlan>,
    /// For how many seconds `del` lets addresses rest.
    pub(crate) release: Option<u32>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            r#do: None,
            r#in: Export::Add,
            count: 1_000_000,
            reason: Reason::Denied,
            message: String::new(),
            plan: None,
            node_plan: None,
            release: None,
        }
    }
}

impl Config {
    /// Does the deed, if this is the export for it and it is more than an answer.
    pub(crate) fn misbehave(&self, here: Export, pool: Option<&types::IpPrefix>) -> Result<(), Refusal> {
        match self.r#do.filter(|_| self.r#in == here) {
            None => Ok(()),
            Some(Deed::Refuse) => Err(Refusal { reason: self.reason.into(), message: self.message.clone() }),
            Some(deed) => {
                deeds::commit(deed, self.count, pool);
                Ok(())
            }
        }
    }
}

/// An export of the contract.
#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Export {
    CheckConfig,
    Add,
    Del,
    Node,
}

/// What a policy ought not to do.
#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Deed {
    Loop,
    Memory,
    Recurse,
    Trap,
    Panic,
    Leases,
    Walk,
    Log,
    LogLine,
    Refuse,
    Routes,
    Text,
    BadUtf8,
    BadPointer,
}

/// The contract's reasons.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reason {
    InvalidConfig,
    Denied,
    Exhausted,
    TryAgain,
}

impl From<Reason> for types::RefusalReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::InvalidConfig => Self::InvalidConfig,
            Reason::Denied => Self::Denied,
            Reason::Exhausted => Self::Exhausted,
            Reason::TryAgain => Self::TryAgain,
        }
    }
}
