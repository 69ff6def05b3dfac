//! What happened, and what is to be done because of it, and when: pure, so that every order of events can be tried.
//!
//! Two duties: asking the policy, whose answer is carried out at once, and comparing the whole plan with the kernel.
//! Knows neither.

use std::time::{Duration, Instant};

use super::retry::Retry;

/// Between two comparisons, or two questions, that events ask for: one deed of somebody makes many of them.
const CALM: Duration = Duration::from_millis(100);

/// Between two comparisons that nobody asked for: the net below the notifications.
const ROUNDS: Duration = Duration::from_secs(60);

/// How long a new agent waits for its source before it keeps true what an earlier one knew.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the agent was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The policy may answer otherwise now: other members, uplinks, settings, or another policy.
    Question,
    /// The kernel is not as planned.
    Contradiction,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// Ask the policy, and carry out what is new in its answer.
    Ask,
    /// Compare the plan with the kernel, and put right what differs.
    Compare,
}

/// How a plan becomes true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By comparing all of it with the kernel.
    Whole,
    /// By what differs from the plan before, which is known to be true.
    Difference,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is as it should be.
    Well,
    /// Not all: to be tried again.
    Failed,
}

/// What is due, and when.
#[derive(Debug)]
pub struct Agenda {
    ask: Option<Instant>,
    compare: Option<Instant>,
    asked: Option<Instant>,
    compared: Option<Instant>,
    is_true: bool,
    asking: Retry,
    comparing: Retry,
}

impl Agenda {
    /// Of an agent that starts; an earlier one may have left a plan.
    pub fn new(now: Instant, has_plan: bool) -> Self {
        Self {
            ask: None,
            compare: has_plan.then(|| now + PATIENCE),
            asked: None,
            compared: None,
            is_true: false,
            asking: Retry::new(),
            comparing: Retry::new(),
        }
    }

    /// Something happened.
    pub fn happened(&mut self, event: Event, now: Instant) {
        match event {
            Event::Question => {
                self.asking.reset();
                self.ask = Some(sooner(self.ask, calm(self.asked, now)));
                // What failed may work now, whatever the answer.
                if self.compared.is_some() && !self.is_true {
                    self.compare = Some(sooner(self.compare, calm(self.compared, now)));
                }
            }
            Event::Contradiction => {
                self.is_true = false;
                self.compare = Some(sooner(self.compare, calm(self.compared, now)));
            }
        }
    }

    /// What is to be done first. A question goes first: its answer may make the comparison needless.
    pub fn next(&self) -> Option<(Instant, Duty)> {
        let ask = self.ask.map(|due| (due, Duty::Ask));
        let compare = self.compare.map(|due| (due, Duty::Compare));
        ask.into_iter().chain(compare).min_by_key(|(due, _)| *due)
    }

    /// The policy was asked.
    pub fn asked(&mut self, outcome: Outcome, now: Instant) {
        self.asked = Some(now);
        self.ask = match outcome {
            Outcome::Well => None,
            Outcome::Failed => Some(now + self.asking.wait()),
        };
    }

    /// How the next plan becomes true.
    pub fn way(&self) -> Way {
        if self.is_true { Way::Difference } else { Way::Whole }
    }

    /// A plan was carried out.
    pub fn applied(&mut self, way: Way, outcome: Outcome, now: Instant) {
        self.is_true = outcome == Outcome::Well;
        if way == Way::Whole {
            self.compared = Some(now);
        }
        match (way, outcome) {
            (_, Outcome::Failed) => self.compare = Some(now + self.comparing.wait()),
            (Way::Whole, Outcome::Well) => {
                self.comparing.reset();
                self.compare = Some(now + ROUNDS);
            }
            (Way::Difference, Outcome::Well) => {}
        }
    }
}

fn calm(last: Option<Instant>, now: Instant) -> Instant {
    last.map_or(now, |last| now.max(last + CALM))
}

fn sooner(due: Option<Instant>, other: Instant) -> Instant {
    due.map_or(other, |due| due.min(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(now: Instant) -> Agenda {
        let mut agenda = Agenda::new(now, false);
        agenda.happened(Event::Question, now);
        assert_eq!(agenda.next(), Some((now, Duty::Ask)));
        agenda.asked(Outcome::Well, now);
        assert_eq!(agenda.way(), Way::Whole);
        agenda.applied(Way::Whole, Outcome::Well, now);
        agenda
    }

    #[test]
    fn nothing_is_done_before_the_source_is_heard() {
        let now = Instant::now();
        assert_eq!(Agenda::new(now, false).next(), None);
        assert_eq!(Agenda::new(now, true).next(), Some((now + PATIENCE, Duty::Compare)));
    }

    #[test]
    fn a_settled_node_is_looked_at_in_rounds() {
        let now = Instant::now();
        let agenda = settled(now);
        assert_eq!(agenda.next(), Some((now + ROUNDS, Duty::Compare)));
        assert_eq!(agenda.way(), Way::Difference);
    }

    #[test]
    fn contradictions_are_gathered() {
        let now = Instant::now();
        let mut agenda = settled(now);
        let soon = now + CALM / 10;
        for _ in 0..1000 {
            agenda.happened(Event::Contradiction, soon);
        }
        assert_eq!(agenda.next(), Some((now + CALM, Duty::Compare)));
        let later = now + CALM * 5;
        agenda.applied(Way::Whole, Outcome::Well, now + CALM);
        agenda.happened(Event::Contradiction, later);
        assert_eq!(agenda.next(), Some((later, Duty::Compare)));
    }

    #[test]
    fn a_node_that_is_not_as_planned_is_compared_as_a_whole() {
        let now = Instant::now();
        let mut agenda = settled(now);
        agenda.happened(Event::Contradiction, now);
        let soon = now + CALM;
        agenda.happened(Event::Question, soon);
        assert_eq!(agenda.next(), Some((soon, Duty::Ask)));
        agenda.asked(Outcome::Well, soon);
        assert_eq!(agenda.way(), Way::Whole);
    }

    #[test]
    fn questions_are_gathered() {
        let now = Instant::now();
        let mut agenda = settled(now);
        for _ in 0..1000 {
            agenda.happened(Event::Question, now + CALM / 10);
        }
        assert_eq!(agenda.next(), Some((now + CALM, Duty::Ask)));
        agenda.happened(Event::Question, now + CALM * 2);
        assert_eq!(agenda.next(), Some((now + CALM, Duty::Ask)), "none waits for the next one");
    }

    #[test]
    fn what_failed_is_tried_when_something_changes_though_the_answer_stays() {
        let now = Instant::now();
        let mut agenda = settled(now);
        agenda.applied(Way::Whole, Outcome::Failed, now);
        agenda.happened(Event::Question, now + CALM * 2);
        agenda.asked(Outcome::Well, now + CALM * 2);
        assert_eq!(agenda.next(), Some((now + CALM * 2, Duty::Compare)));
    }

    #[test]
    fn what_failed_is_tried_again_later_each_time() {
        let now = Instant::now();
        let mut agenda = settled(now);
        agenda.applied(Way::Difference, Outcome::Failed, now);
        let (first, duty) = agenda.next().expect("due");
        assert!(duty == Duty::Compare && first <= now + Duration::from_secs(1));
        agenda.applied(Way::Whole, Outcome::Failed, first);
        let (second, _) = agenda.next().expect("due");
        assert!(second - first > Duration::from_secs(1));
        agenda.happened(Event::Contradiction, first + CALM);
        assert_eq!(agenda.next(), Some((first + CALM, Duty::Compare)), "the kernel has changed");
    }

    #[test]
    fn a_refusal_is_asked_again_at_once_when_something_changes() {
        let now = Instant::now();
        let mut agenda = settled(now);
        agenda.asked(Outcome::Failed, now);
        assert!(agenda.next().is_some_and(|(due, duty)| duty == Duty::Ask && due > now + CALM));
        agenda.happened(Event::Question, now);
        assert_eq!(agenda.next(), Some((now + CALM, Duty::Ask)));
        agenda.asked(Outcome::Well, now);
        assert_eq!(agenda.next(), Some((now + ROUNDS, Duty::Compare)));
    }
}
