//! What each room's errors mean to a runtime.

use crate::cni::{Code, Error};
use crate::names::{Digest, PolicyName};
use crate::plan::check::Violation;
use crate::plan::{Refusal, RefusalReason};
use crate::registry::Installed;
use crate::{leases, net, node, policy, registry};

/// A policy's no, in its own words.
pub(super) fn refused(policy: &Installed, refusal: &Refusal) -> Error {
    let code = match refusal.reason {
        RefusalReason::InvalidConfig => Code::INVALID_CONFIG,
        RefusalReason::Denied => Code::REFUSED,
        RefusalReason::Exhausted | RefusalReason::TryAgain => Code::TRY_AGAIN,
    };
    Error::new(code, format!("policy {}: {}", policy.name, refusal.message))
        .with_details(decided_by(&policy.name, &policy.digest))
}

/// A plan that must not become true.
pub(super) fn broken(policy: &Installed, violation: &Violation) -> Error {
    let msg = format!("the plan of policy {} breaks a rule: {violation}", policy.name);
    Error::new(Code::PLAN_BROKE_RULE, msg).with_details(decided_by(&policy.name, &policy.digest))
}

/// Whether what came of asking a policy is a fault of it: it trapped, passed a limit, or broke a rule; not a refusal,
/// and nothing that is the node's. Where somebody else chose the addresses, that may be what breaks the rule.
pub(super) fn is_fault(error: &Error, others_chose: bool) -> bool {
    error.code() == Code::POLICY_FAILED || (error.code() == Code::PLAN_BROKE_RULE && !others_chose)
}

/// Whom to ask why a plan is as it is.
pub(super) fn decided_by(name: &PolicyName, digest: &Digest) -> String {
    format!("decided by policy {name} ({digest})")
}

impl From<node::config::Error> for Error {
    fn from(error: node::config::Error) -> Self {
        let code = match error {
            node::config::Error::Unreadable { .. } => Code::IO,
            _ => Code::INVALID_CONFIG,
        };
        Self::new(code, error.to_string())
    }
}

impl From<leases::Error> for Error {
    fn from(error: leases::Error) -> Self {
        use leases::Error as E;
        let code = match error {
            E::Exists { .. } => Code::ATTACHMENT_EXISTS,
            E::AddressHeld { .. }
            | E::AddressRests { .. }
            | E::AddressIsGateway { .. }
            | E::AddressTwice { .. }
            | E::GatewayHeld { .. }
            | E::InterfaceTaken { .. } => Code::PLAN_BROKE_RULE,
            E::TooManySteps => Code::POLICY_FAILED,
            _ => Code::LEASES_UNUSABLE,
        };
        Self::new(code, error.to_string())
    }
}

impl From<net::Error> for Error {
    fn from(error: net::Error) -> Self {
        let code = match &error {
            net::Error::HostInterfaceTaken(_) | net::Error::ContainerInterfaceTaken(_) => {
                Code::INTERFACE_EXISTS
            }
            net::Error::ForeignBridge(_)
            | net::Error::NotABridge { .. }
            | net::Error::AddressOfNode(_)
            | net::Error::NodeAddressInTheWay { .. } => Code::PLAN_BROKE_RULE,
            _ => Code::KERNEL_REFUSED,
        };
        Self::new(code, error.to_string())
    }
}

impl From<policy::Error> for Error {
    fn from(error: policy::Error) -> Self {
        let code = match error {
            policy::Error::Failed { fault: policy::Fault::Leases(error), .. }
                if !matches!(error, leases::Error::TooManySteps) =>
            {
                return error.into();
            }
            policy::Error::Failed { fault: policy::Fault::NoProcess(_), .. } => Code::POLICY_UNUSABLE,
            policy::Error::Failed { .. } => Code::POLICY_FAILED,
            policy::Error::Answer { .. } => Code::PLAN_BROKE_RULE,
            _ => Code::POLICY_UNUSABLE,
        };
        Self::new(code, error.to_string())
    }
}

impl From<registry::Error> for Error {
    fn from(error: registry::Error) -> Self {
        Self::new(Code::POLICY_UNUSABLE, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Error as Failure, Fault};

    /// Whoever can use up the node's processes could otherwise have a version taken out of use.
    #[test]
    fn what_the_node_does_not_have_is_no_fault_of_a_policy() {
        for (fault, expected) in [
            (Fault::NoProcess("no room".to_owned()), false),
            (Fault::Process("it was ended".to_owned()), true),
            (Fault::OutOfFuel, true),
        ] {
            let failure = Failure::Failed { policy: "test".into(), call: "start", fault };
            assert_eq!(is_fault(&failure.into(), false), expected);
        }
    }
}
