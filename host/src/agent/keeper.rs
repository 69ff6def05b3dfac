//! The loop: what happened is told to the [`Agenda`], and what is due is done, one duty after the other.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::agenda::{Agenda, Duty, Event, Outcome, Way};
use super::conflist::Conflist;
use super::log::{Level, say};
use super::metrics::Metrics;
use super::notify::Folders;
use super::readable::Readable;
use super::record::{Kept, Record};
use super::source::{Membership, Standing};
use super::work::{self, Work};
use crate::journal::Time;
use crate::net::node::{Step, Target};
use crate::net::watch::{Expected, Seen, Watch};
use crate::state::State;

/// What the keeper is told by.
pub struct Ears {
    /// The source's newest membership.
    pub members: watch::Receiver<Option<Membership>>,
    /// How it stands with the source.
    pub standing: watch::Receiver<Standing>,
    /// The kernel.
    pub kernel: Kernel,
    /// Settings and policies.
    pub(super) folders: Folders,
}

/// Where the kernel tells of changes.
pub struct Kernel {
    watch: Watch,
    readable: Readable,
}

/// Keeps the node's plan true.
pub struct Keeper {
    state: State,
    ears: Ears,
    work: Option<Work>,
    agenda: Agenda,
    kept: Option<Arc<Kept>>,
    target: Option<Arc<Target>>,
    expected: Expected,
    conflist: Option<Conflist>,
    record: Record,
    written: Option<Record>,
    metrics: Arc<Metrics>,
}

/// Why a plan is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// It is new.
    Decided,
    /// It may not be true any more.
    Doubted,
}

impl Keeper {
    /// Begins with what an earlier agent left.
    pub fn new(
        state: &State,
        ears: Ears,
        work: Work,
        conflist: Option<Conflist>,
        source: String,
        metrics: Arc<Metrics>,
    ) -> Self {
        let kept = Kept::read(state).map(Arc::new);
        let target = kept.as_ref().map(|kept| Arc::new(target(kept)));
        let standing = ears.standing.borrow().clone();
        let mut record = Record::new(source, standing);
        if let Some(kept) = &kept {
            record.planned(kept);
            metrics.planned(&kept.node, &kept.plan);
        }
        Self {
            state: state.clone(),
            ears,
            work: Some(work),
            agenda: Agenda::new(Instant::now(), kept.is_some()),
            expected: target.as_ref().map(|target| Expected::of(target)).unwrap_or_default(),
            kept,
            target,
            conflist,
            record,
            written: None,
            metrics,
        }
    }

    /// Goes on until somebody drops it, or hearing fails.
    pub async fn run(&mut self) -> Result<std::convert::Infallible, super::Error> {
        loop {
            self.publish().await;
            let due = self.agenda.next();
            tokio::select! {
                event = self.ears.hear(&self.expected) => self.heard(event?),
                duty = wait(due) => self.perform(duty).await,
            }
        }
    }

    /// The last word: what holds stays as it is.
    pub async fn end(&mut self) {
        self.record.ended = Some(Time::now());
        self.publish().await;
    }

    fn heard(&mut self, heard: Heard) {
        let now = Instant::now();
        match heard {
            Heard::Members | Heard::Files => self.agenda.happened(Event::Question, now),
            Heard::Standing => self.stand(),
            Heard::Kernel(seen) => {
                if seen.uplinks_changed {
                    self.agenda.happened(Event::Question, now);
                }
                if seen.suspicious || seen.overrun {
                    self.agenda.happened(Event::Contradiction, now);
                }
            }
        }
    }

    fn stand(&mut self) {
        let standing = self.ears.standing.borrow_and_update().clone();
        match &standing {
            Standing::Lost { why, .. } => {
                say(Level::Warning, format_args!("{} is lost: {why}", self.record.source))
            }
            _ => say(Level::Info, format_args!("{} is heard", self.record.source)),
        }
        self.metrics.source(matches!(standing, Standing::Heard { .. }));
        self.record.standing = standing;
    }

    async fn perform(&mut self, duty: Duty) {
        match duty {
            Duty::Ask => self.ask().await,
            Duty::Compare => {
                self.carry_out(None, Cause::Doubted).await;
                self.keep_conflist().await;
            }
        }
    }

    async fn ask(&mut self) {
        let heard = self.ears.members.borrow_and_update().clone();
        let now = Instant::now;
        let (Some(membership), Some(mut work)) = (heard, self.work.take()) else {
            return self.agenda.asked(Outcome::Well, now());
        };
        (self.record.name, self.record.peers) = (Some(membership.own.name.clone()), membership.peers.len());
        self.metrics.members(membership.peers.len() + 1);
        let asked = off_the_loop(move || (work.ask(membership), work)).await;
        let (answer, work) = asked;
        self.work = Some(work);
        match answer {
            Ok(news) => {
                self.agenda.asked(Outcome::Well, now());
                self.record.undecided = None;
                if let Some(kept) = news {
                    self.take(kept).await;
                }
            }
            Err(error) => {
                self.agenda.asked(Outcome::Failed, now());
                self.metrics.undecided();
                if self.record.undecided(&error) {
                    say(Level::Warning, format_args!("the plan stays as it is: {error}"));
                }
            }
        }
    }

    /// Another plan: the kernel's notifications are held against it before it is carried out, so that what the agent
    /// does itself is no surprise.
    async fn take(&mut self, kept: Kept) {
        let kept = Arc::new(kept);
        self.record.planned(&kept);
        self.metrics.planned(&kept.node, &kept.plan);
        let target = Arc::new(target(&kept));
        let step = self.target.as_ref().and_then(|before| Step::between(before, &target));
        match &step {
            Some(step) => self.expected.advance(step),
            None => self.expected = Expected::of(&target),
        }
        (self.kept, self.target) = (Some(kept.clone()), Some(target));
        self.carry_out(step, Cause::Decided).await;
        self.keep_conflist().await;
        let state = self.state.clone();
        if let Err(error) = off_the_loop(move || kept.write(&state)).await {
            say(Level::Warning, error);
        }
    }

    async fn carry_out(&mut self, step: Option<Step>, cause: Cause) {
        let Some(target) = self.target.clone() else { return };
        let way = if step.is_some() { self.agenda.way() } else { Way::Whole };
        let step = step.filter(|_| way == Way::Difference);
        let began = Instant::now();
        let done = off_the_loop(move || work::apply(step, &target)).await;
        let now = Instant::now();
        let outcome = if done.failed.is_empty() { Outcome::Well } else { Outcome::Failed };
        self.agenda.applied(way, outcome, now);
        self.metrics.applied(way, &done, cause == Cause::Doubted, now - began);
        self.note(&done, way, cause);
    }

    fn note(&mut self, done: &crate::net::node::Outcome, way: Way, cause: Cause) {
        if way == Way::Whole {
            self.record.compared = Some(Time::now());
        }
        match cause {
            Cause::Decided => said(Level::Info, "", &done.changes),
            Cause::Doubted => {
                said(Level::Info, "restored: ", &done.changes);
                self.record.restored(&done.changes);
            }
        }
        said(Level::Warning, "", &self.record.failed(&done.failed));
    }

    /// Others write that file too, and what was wrong with it may be mended.
    async fn keep_conflist(&mut self) {
        let (Some(conflist), Some(kept)) = (self.conflist.clone(), self.kept.clone()) else { return };
        let outcome = off_the_loop(move || conflist.keep(&kept.node)).await;
        let is_news = self.record.conflist(outcome.as_ref().map(|_| ()));
        match outcome {
            Ok(true) => say(Level::Info, "the network configuration has the node's pools now"),
            Err(error) if is_news => say(Level::Warning, error),
            _ => {}
        }
    }

    /// What is said of the agent follows what it does, but is written only when it differs.
    async fn publish(&mut self) {
        if self.written.as_ref() == Some(&self.record) {
            return;
        }
        let (record, state) = (self.record.clone(), self.state.clone());
        self.written = Some(self.record.clone());
        if let Err(error) = off_the_loop(move || record.write(&state)).await {
            say(Level::Warning, error);
        }
    }
}

/// What was heard.
enum Heard {
    Members,
    Standing,
    Files,
    Kernel(Seen),
}

impl Ears {
    async fn hear(&mut self, expected: &Expected) -> Result<Heard, super::Error> {
        tokio::select! {
            Ok(()) = self.members.changed() => Ok(Heard::Members),
            Ok(()) = self.standing.changed() => Ok(Heard::Standing),
            changed = self.folders.changed() => Ok(changed.map(|()| Heard::Files)?),
            seen = self.kernel.seen(expected) => seen.map(Heard::Kernel),
        }
    }
}

impl Kernel {
    /// Begins to listen.
    pub fn listen() -> Result<Self, super::Error> {
        let watch = Watch::open()?;
        let readable = Readable::of(&watch).map_err(super::Error::Kernel)?;
        Ok(Self { watch, readable })
    }

    /// Waits for what concerns the plan: most of what the kernel tells concerns pods.
    async fn seen(&mut self, expected: &Expected) -> Result<Seen, super::Error> {
        loop {
            let seen =
                self.readable.take(|| self.watch.read(expected)).await.map_err(super::Error::Kernel)??;
            if !seen.is_nothing() {
                return Ok(seen);
            }
        }
    }
}

async fn wait(due: Option<(Instant, Duty)>) -> Duty {
    match due {
        Some((due, duty)) => {
            tokio::time::sleep_until(due.into()).await;
            duty
        }
        None => std::future::pending().await,
    }
}

/// The kernel and policies take their time, in which the loop's other tasks go on.
async fn off_the_loop<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn target(kept: &Kept) -> Target {
    Target::of(&kept.plan, &kept.node.cluster)
}

/// A line each, unless there are many.
fn said(level: Level, before: &str, events: &[impl Display]) {
    const LINES: usize = 16;
    for event in events.iter().take(LINES) {
        say(level, format_args!("{before}{event}"));
    }
    if let Some(more) = events.len().checked_sub(LINES).filter(|more| *more > 0) {
        say(level, format_args!("{before}and {more} more"));
    }
}
