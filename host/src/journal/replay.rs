//! Deciding again what was decided before.
//!
//! Each request is decided for itself, in the moment in which it was: what the candidate would have given to an
//! earlier pod does not change what a later one finds.

use std::borrow::Cow;
use std::sync::Arc;

use super::history::Moment;
use super::{Decision, Difference, Entry, History, Outcome, differences};
use crate::leases::Sequence;
use crate::plan::{AddRequest, check};
use crate::policy::{self, Policy, Verdict};

/// A decision, and where it stands among the attachments.
#[derive(Debug, Clone, Copy)]
pub struct Decided<'a> {
    /// As it was.
    pub decision: &'a Decision<'a>,
    before: Sequence,
}

impl<'a> Decided<'a> {
    /// All decisions that can be made again, in order. One without an attachment stands after the one that was
    /// recorded last in its boot.
    pub fn all(entries: &'a [Entry<'a>]) -> Vec<Self> {
        let (mut boot, mut last) = ("", Sequence(0));
        let mut decided = Vec::new();
        for entry in entries {
            let Entry::Decision(decision) = entry else { continue };
            if decision.boot != boot {
                (boot, last) = (&decision.boot, Sequence(0));
            }
            last = last.max(decision.sequence.unwrap_or_default());
            let before = decision.sequence.unwrap_or(Sequence(last.0 + 1));
            if !decision.cut {
                decided.push(Self { decision, before });
            }
        }
        decided
    }

    /// The leases as the decision found them.
    pub(super) fn moment(&self, history: &Arc<History>) -> Moment {
        Moment::new(history, self.decision, self.before)
    }
}

/// A decision that was made again.
#[derive(Debug)]
pub struct Again {
    /// What comes of it now.
    pub outcome: Outcome<'static>,
    /// What it costs now; none: the policy was not even asked.
    pub fuel: u64,
    /// How many questions about the leases were not asked then, and were answered from the journal.
    pub unrecorded: u64,
}

impl Again {
    /// In what it differs from what was decided.
    pub fn differences(&self, decision: &Decision<'_>) -> Vec<Difference> {
        match (&decision.outcome, &self.outcome) {
            (Outcome::Plan(was), Outcome::Plan(now)) => differences(was.as_ref(), now.as_ref()),
            (was, now) => {
                let (was, now) = (Some(was.to_string()), Some(now.to_string()));
                let differ = was != now;
                differ.then(|| Difference { field: "outcome".to_owned(), was, now }).into_iter().collect()
            }
        }
    }
}

/// Decides again, with another configuration of the policy if one is given.
pub fn replay(policy: &Policy, config: Option<&str>, history: &Arc<History>, decided: Decided<'_>) -> Again {
    let mut request = Cow::Borrowed(decided.decision.request.as_ref());
    if let Some(config) = config {
        request.to_mut().config = config.to_owned();
    }
    let mut instance = match policy.instantiate() {
        Ok(instance) => instance,
        Err(error) => return Again { outcome: Outcome::failed(&error), fuel: 0, unrecorded: 0 },
    };
    let (answer, moment) = instance.add(&request, decided.moment(history));
    let outcome = judge(&request, answer, &moment);
    Again { outcome, fuel: instance.spent().fuel, unrecorded: moment.unrecorded() }
}

fn judge(
    request: &AddRequest,
    answer: Result<Verdict<crate::plan::AddPlan>, policy::Error>,
    moment: &Moment,
) -> Outcome<'static> {
    match answer.map(|verdict| verdict.map(|plan| check::add(request, plan))) {
        Ok(Ok(Ok(plan))) => match moment.conflict(&plan) {
            None => Outcome::Plan(Cow::Owned(plan)),
            Some(conflict) => Outcome::Failed(Cow::Owned(conflict.to_string())),
        },
        Ok(Ok(Err(violation))) => Outcome::broken(&violation),
        Ok(Err(refusal)) => Outcome::Refused(Cow::Owned(refusal)),
        Err(failure) => Outcome::failed(&failure),
    }
}
