//! What a policy is told of the leases, written down as it goes by.

use std::cell::RefCell;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::leases::{Error, Holder, Steps, View};

/// How many answers are kept: a policy that goes through a pool address by address must not fill the journal.
const MOST_FACTS: usize = 256;

/// A question about the leases, and the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// [`View::holder_of`]
    HolderOf {
        /// The question.
        address: IpAddr,
        /// The answer.
        holder: Option<Holder>,
    },
    /// [`View::first_free`]
    FirstFree {
        /// The question.
        block: IpNet,
        /// The question.
        start: Option<IpAddr>,
        /// The answer.
        free: Option<IpAddr>,
    },
    /// [`View::last_taken`]
    LastTaken {
        /// The question.
        block: IpNet,
        /// The answer.
        last: Option<IpAddr>,
    },
    /// [`View::taken`]
    Taken {
        /// The question.
        block: IpNet,
        /// The answer.
        count: u64,
    },
}

/// What a policy was told of the leases, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The first ones.
    pub told: Vec<Fact>,
    /// How many more there were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Facts {
    fn push(&mut self, fact: impl FnOnce() -> Fact) {
        if self.told.len() < MOST_FACTS {
            self.told.push(fact());
        } else {
            self.more += 1;
        }
    }

    /// Only how many there were.
    pub(super) fn cut(&mut self) {
        self.more += self.told.drain(..).len() as u64;
    }
}

/// A view that remembers what it was asked, and answers as the one within.
pub struct Recorder<V> {
    view: V,
    facts: RefCell<Facts>,
}

impl<V> Recorder<V> {
    /// Has not been asked yet.
    pub fn new(view: V) -> Self {
        Self { view, facts: RefCell::default() }
    }

    /// The view again, and what it was asked.
    pub fn into_parts(self) -> (V, Facts) {
        (self.view, self.facts.into_inner())
    }

    fn note(&self, fact: impl FnOnce() -> Fact) {
        self.facts.borrow_mut().push(fact);
    }
}

impl<V: View> View for Recorder<V> {
    fn holder_of(&self, address: IpAddr, steps: &mut Steps) -> Result<Option<Holder>, Error> {
        let holder = self.view.holder_of(address, steps)?;
        self.note(|| Fact::HolderOf { address, holder: holder.clone() });
        Ok(holder)
    }

    fn first_free(
        &self,
        block: IpNet,
        start: Option<IpAddr>,
        steps: &mut Steps,
    ) -> Result<Option<IpAddr>, Error> {
        let free = self.view.first_free(block, start, steps)?;
        self.note(|| Fact::FirstFree { block, start, free });
        Ok(free)
    }

    fn last_taken(&self, block: IpNet, steps: &mut Steps) -> Result<Option<IpAddr>, Error> {
        let last = self.view.last_taken(block, steps)?;
        self.note(|| Fact::LastTaken { block, last });
        Ok(last)
    }

    fn taken(&self, block: IpNet, steps: &mut Steps) -> Result<u64, Error> {
        let count = self.view.taken(block, steps)?;
        self.note(|| Fact::Taken { block, count });
        Ok(count)
    }
}
