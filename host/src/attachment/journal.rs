//! What an ADD, a DEL and a GC leave in the journal, when it is done and no lock is held any more.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::tell;
use crate::journal::{Appender, Decision, Entry, Facts, Journal, Outcome, Release, Time};
use crate::leases::{Attachment, Sequence, Store};
use crate::plan::AddRequest;
use crate::policy::Spent;
use crate::registry::Installed;
use crate::state::State;

/// How a policy was asked.
pub(super) struct Asked {
    pub(super) facts: Facts,
    pub(super) took: Duration,
    pub(super) spent: Spent,
    /// Why it has no plan that keeps the rules, if it has none.
    pub(super) no: Option<Outcome<'static>>,
    /// What a shadow would have done otherwise.
    pub(super) shadow: Option<String>,
}

/// Notes what became of a policy's answer: the attachment, or why there is none.
pub(super) fn decided(
    state: &State,
    store: &Store,
    policy: &Installed,
    (request, asked): (&AddRequest, &Asked),
    outcome: Result<&Attachment, &crate::cni::Error>,
) {
    let decision = Decision {
        time: Time::now(),
        boot: Cow::Borrowed(store.boot()),
        sequence: outcome.ok().map(|attachment| attachment.sequence),
        policy: Cow::Borrowed(&policy.name),
        digest: policy.digest,
        request: Cow::Borrowed(request),
        facts: asked.facts.clone(),
        outcome: match (outcome, &asked.no) {
            (Ok(attachment), _) => Outcome::Plan(Cow::Borrowed(&attachment.intent.plan)),
            (Err(_), Some(no)) => no.clone(),
            // The plan keeps the rules, and needs what somebody else has.
            (Err(error), None) => Outcome::Failed(Cow::Borrowed(error.msg())),
        },
        fuel: asked.spent.fuel,
        host_calls: asked.spent.host_calls,
        microseconds: u64::try_from(asked.took.as_micros()).unwrap_or(u64::MAX),
        shadow: asked.shadow.as_deref().map(Cow::Borrowed),
        cut: false,
    };
    append(state, &Entry::Decision(Box::new(decision)));
}

/// What became of a release: the number that had been given last, and for how long the addresses rest; none if the
/// attachment was not there.
pub(super) struct Released(pub(super) Option<(Sequence, Duration)>);

impl Released {
    /// Notes it. `failure` is why the attachment never came to be.
    pub(super) fn note(self, state: &State, store: &Store, attachment: &Attachment, failure: Option<String>) {
        let Some((after, rest)) = self.0 else { return };
        let intent = &attachment.intent;
        let release = Release {
            time: Time::now(),
            boot: store.boot().to_owned(),
            sequence: attachment.sequence,
            after,
            holder: intent.holder(),
            addresses: intent.addresses().collect(),
            gateways: intent.gateways().into_iter().collect(),
            rest: rest.as_secs(),
            failure,
        };
        append(state, &Entry::Release(release));
    }
}

/// Closing it would take longer than the process's end.
static APPENDER: Mutex<Option<Appender>> = Mutex::new(None);

/// The call is served whether this can be written or not.
fn append(state: &State, entry: &Entry<'_>) {
    let journal = Journal::open(state);
    let mut kept = APPENDER.lock().unwrap_or_else(PoisonError::into_inner);
    let appender = match kept.take() {
        Some(appender) if *appender.journal() == journal => appender,
        _ => Appender::new(journal),
    };
    if let Err(why) = kept.insert(appender).append(entry) {
        tell(format_args!("the journal lacks an entry: {why}"));
    }
}
