//! One question to a policy: put to two fresh instances, as two calls of a runtime would, and judged as an ADD is.

use std::fmt;

use crate::leases::{self, Ledger};
use crate::plan::check::{self, Violation};
use crate::plan::{AddPlan, AddRequest, Checked, DelRequest, NodePlan, NodeRequest, Refusal};
use crate::policy::{Error, Fault, Instance, Policy, Spent, Verdict};

/// What becomes of an ADD.
#[derive(Debug)]
pub enum Decision {
    /// A plan that keeps every rule.
    Plan(Box<Checked>),
    /// The policy's reasoned no.
    Refusal(Refusal),
    /// The answer breaks a rule: the host refuses it.
    Broken(Violation),
    /// The answer wants what somebody has: the host refuses it.
    Leased(Box<leases::Error>),
    /// There is no answer.
    Failed(Box<Error>),
    /// Two instances, asked the same, said or spent different things.
    Unsteady(String),
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(plan) => {
                let addresses = plan.addresses.iter().map(|address| address.prefix.to_string());
                write!(f, "a plan with the addresses [{}]", addresses.collect::<Vec<_>>().join(", "))
            }
            Self::Refusal(refusal) => write!(f, "a refusal: {}", refusal.message),
            Self::Broken(violation) => write!(f, "a plan that breaks a rule: {violation}"),
            Self::Leased(error) => write!(f, "a plan that cannot be recorded: {error}"),
            Self::Failed(error) => write!(f, "no answer: {error}"),
            Self::Unsteady(what) => write!(f, "two answers: {what}"),
        }
    }
}

/// A decision, and what it cost; nothing is known of that where not even an instance could be made.
#[derive(Debug)]
pub struct Decided {
    /// What became of it.
    pub decision: Decision,
    /// In the first of the two instances.
    pub spent: Option<Spent>,
}

/// Asks for an ADD, and records its plan in the ledger.
pub fn add(policy: &Policy, request: &AddRequest, leases: &Ledger) -> Decided {
    let said = twice(policy, |instance| instance.add(request, leases.clone()).0);
    let (spent, said) = (said.spent, said.answer.map(|verdict| planned(request, leases, verdict)));
    Decided { decision: said.unwrap_or_else(Decision::from), spent }
}

fn planned(request: &AddRequest, leases: &Ledger, verdict: Verdict<AddPlan>) -> Decision {
    let plan = match verdict {
        Ok(plan) => plan,
        Err(refusal) => return Decision::Refusal(refusal),
    };
    let checked = match check::add(request, plan) {
        Ok(checked) => checked,
        Err(violation) => return Decision::Broken(violation),
    };
    match leases.reserve(request, &checked) {
        Ok(()) => Decision::Plan(Box::new(checked)),
        Err(error) => Decision::Leased(Box::new(error)),
    }
}

/// What two instances said: an answer, or why there is none that counts.
pub(super) struct Said<T> {
    pub(super) answer: Result<T, NoAnswer>,
    pub(super) spent: Option<Spent>,
}

/// Why there is no answer that counts.
#[derive(Debug)]
pub(super) enum NoAnswer {
    Failed(Box<Error>),
    Unsteady(String),
}

impl NoAnswer {
    /// Whether all that happened is that the work was too much.
    pub(super) fn is_out_of_fuel(&self) -> bool {
        let Self::Failed(error) = self else { return false };
        matches!(**error, Error::Failed { fault: Fault::OutOfFuel, .. })
    }
}

impl From<NoAnswer> for Decision {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::Unsteady(what) => Self::Unsteady(what),
            NoAnswer::Failed(error) => match *error {
                Error::Answer { violation, .. } => Self::Broken(violation),
                error => Self::Failed(Box::new(error)),
            },
        }
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Unsteady(what) => write!(f, "two answers: {what}"),
        }
    }
}

/// Whether the policy takes its configuration.
pub(super) fn check_config(policy: &Policy, config: &str) -> Said<Verdict<()>> {
    twice(policy, |instance| instance.check_config(config))
}

/// What the policy is told when the attachment goes.
pub(super) fn del_request(request: &AddRequest, leases: &Ledger) -> DelRequest {
    let addresses = leases.plan_of(&request.attachment).map(|plan| plan.addresses).unwrap_or_default();
    DelRequest {
        network: request.network.clone(),
        attachment: request.attachment.clone(),
        pod: request.pod.clone(),
        addresses: addresses.iter().map(|address| address.prefix.addr()).collect(),
        config: request.config.clone(),
    }
}

/// How long the addresses of a DEL rest, in seconds.
pub(super) fn del(policy: &Policy, request: &DelRequest, leases: &Ledger) -> Said<u32> {
    twice(policy, |instance| instance.del(request, leases.clone()).0)
}

/// What shall hold on the node, if it keeps every rule.
pub(super) fn node(policy: &Policy, request: &NodeRequest) -> Said<Verdict<Result<NodePlan, Violation>>> {
    let said = twice(policy, |instance| instance.node(request));
    let judged = |verdict: Verdict<NodePlan<String>>| verdict.map(|plan| check::node(request, plan));
    Said { answer: said.answer.map(judged), spent: said.spent }
}

/// An error ends it: what fails once need not fail twice.
fn twice<T: PartialEq>(policy: &Policy, question: impl Fn(&mut Instance) -> Result<T, Error>) -> Said<T> {
    let mut spent = None;
    let answer = match once(policy, &question, &mut spent) {
        Err(error) => Err(NoAnswer::Failed(Box::new(error))),
        Ok(first) => {
            let mut again = None;
            let second = once(policy, &question, &mut again);
            disagreement(&first, spent, second, again).map_or(Ok(first), |what| Err(NoAnswer::Unsteady(what)))
        }
    };
    Said { answer, spent }
}

fn once<T>(
    policy: &Policy,
    question: impl Fn(&mut Instance) -> Result<T, Error>,
    spent: &mut Option<Spent>,
) -> Result<T, Error> {
    let mut instance = policy.instantiate()?;
    let said = question(&mut instance);
    *spent = Some(instance.spent());
    said
}

fn disagreement<T: PartialEq>(
    first: &T,
    spent: Option<Spent>,
    second: Result<T, Error>,
    again: Option<Spent>,
) -> Option<String> {
    match second {
        Err(error) => Some(format!("asked the same again, it failed: {error}")),
        Ok(second) if second != *first => Some("asked the same again, it said something else".to_owned()),
        Ok(_) if spent != again => {
            Some(format!("asked the same again, it spent {again:?} where it had spent {spent:?}"))
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::policy::Engine;
    use crate::policy::testing::{Guest, request};

    /// No policy can do this: that is what the sandbox is for.
    #[test]
    fn two_instances_that_disagree_are_found() {
        let policy = Engine::new().unwrap().load_component(&Guest::default().build(), "test").unwrap();
        let asked = Cell::new(0);
        let count = || asked.replace(asked.get() + 1);
        let said = twice(&policy, |_| Ok(count()));
        assert!(
            matches!(said.answer, Err(NoAnswer::Unsteady(what)) if what.ends_with("it said something else"))
        );
        let said = twice(&policy, |instance| instance.check_config("{}").map(|_| count().min(2)));
        assert_eq!(said.answer.ok(), Some(2));
        let said = twice(&policy, |instance| match count() % 2 {
            0 => instance.check_config("{}").map(drop),
            _ => instance.add(&request(), Ledger::new()).0.map(drop),
        });
        let what = said.answer.unwrap_err().to_string();
        assert!(
            what.contains("it spent Some(Spent { fuel: ") && what.contains("where it had spent"),
            "{what}"
        );
    }
}
