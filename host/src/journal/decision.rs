//! What one ADD's policy was asked and answered, and what was given back.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Facts, Time};
use crate::leases::{Holder, Sequence};
use crate::names::{Digest, PolicyName};
use crate::plan::check::Violation;
use crate::plan::{AddRequest, Checked, Refusal};
use crate::policy;

/// A policy's decision for one ADD, with all that it depended on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision<'a> {
    /// When the decision was on record.
    pub time: Time,
    /// The boot in which sequence numbers count.
    pub boot: Cow<'a, str>,
    /// The attachment's number, if there is one now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Sequence>,
    /// The name by which the policy was asked for.
    pub policy: Cow<'a, PolicyName>,
    /// The policy's component.
    pub digest: Digest,
    /// What it was asked.
    pub request: Cow<'a, AddRequest>,
    /// What it asked of the leases, and was told.
    pub facts: Facts,
    /// What came of it.
    pub outcome: Outcome<'a>,
    /// Units, of [`crate::policy::limits::FUEL`].
    pub fuel: u64,
    /// Calls, of [`crate::policy::limits::HOST_CALLS`].
    pub host_calls: u32,
    /// How long the policy took.
    pub microseconds: u64,
    /// What a shadow would have done otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Cow<'a, str>>,
    /// Lists were left out, because the entry was too long: it cannot be decided again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

impl Decision<'_> {
    /// Without what may be of any length.
    pub(super) fn cut(&self) -> Self {
        let mut cut = self.clone();
        cut.cut = true;
        cut.facts.cut();
        let request = cut.request.to_mut();
        if let Some(pod) = &mut request.pod {
            pod.annotations.clear();
        }
        request.range_sets = None;
        request.requested_routes.clear();
        request.port_mappings.clear();
        request.node.pools.truncate(ENOUGH);
        request.node.cluster.truncate(ENOUGH);
        request.requested_addresses.truncate(ENOUGH);
        request.config = "{}".to_owned();
        cut
    }
}

/// As many blocks and addresses as a decision is known by, if it must be cut.
const ENOUGH: usize = 64;

/// What came of a policy's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
// Most are plans.
#[allow(clippy::large_enum_variant)]
pub enum Outcome<'a> {
    /// A plan that keeps every rule.
    Plan(Cow<'a, Checked>),
    /// The policy's no.
    Refused(Cow<'a, Refusal>),
    /// The policy failed, its plan breaks a rule, or needs what somebody else has.
    Failed(Cow<'a, str>),
}

impl Outcome<'_> {
    /// Of a plan that breaks a rule.
    pub fn broken(violation: &Violation) -> Self {
        Self::Failed(Cow::Owned(format!("its plan breaks a rule: {violation}")))
    }

    /// Of a policy that had no answer.
    pub fn failed(failure: &policy::Error) -> Self {
        Self::Failed(Cow::Owned(failure.what()))
    }
}

/// In a few words.
impl fmt::Display for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(plan) => {
                for (i, address) in plan.addresses.iter().enumerate() {
                    write!(f, "{}{}", if i == 0 { "" } else { ", " }, address.prefix)?;
                }
                write!(f, " on {}", plan.host_interface)
            }
            Self::Refused(refusal) => write!(f, "refused: {}", refusal.message),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

/// Addresses that were given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// When.
    pub time: Time,
    /// The boot in which sequence numbers count.
    pub boot: String,
    /// The attachment's number.
    pub sequence: Sequence,
    /// The number given last at that time: before the attachment after that one was decided, and after it itself was.
    pub after: Sequence,
    /// Container, interface, network and pod.
    pub holder: Holder,
    /// What it held.
    pub addresses: Vec<IpAddr>,
    /// What nobody could hold because of it.
    pub gateways: Vec<IpAddr>,
    /// How long the addresses rest, in seconds.
    pub rest: u64,
    /// Why the ADD itself gave them back; none: it was a DEL or a GC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}
