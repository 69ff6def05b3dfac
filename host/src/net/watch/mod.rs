//! What the kernel says of changes, held against a plan.
//!
//! Cheap for what is not the node's: thousands of pods come and go in a minute.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ipnet::IpNet;
use rustix::event::epoll;

use super::Error;
use crate::plan::NodePlan;

/// What a plan has, for questions that are asked often.
#[derive(Debug, Clone, Default)]
pub struct Expected {}

impl Expected {
    /// Of a plan, where packets of the cluster's families are forwarded. To be made before the plan is applied: what
    /// that does is then as expected.
    pub fn of(_plan: &NodePlan, _cluster: &[IpNet]) -> Self {
        Self::default()
    }
}

/// What was seen of the kernel's changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Something contradicts the plan, or may: compare.
    pub suspicious: bool,
    /// Addresses, MTU or state of an interface changed that is neither podwire's nor a pod's, or a default route did.
    pub uplinks_changed: bool,
    /// The kernel had more to say than there was room for: compare.
    pub overrun: bool,
}

impl Seen {
    /// Whether all is as it should be.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Sockets that hear of the changes of this thread's network namespace. Its file is readable when there is something
/// to read.
#[derive(Debug)]
pub struct Watch {
    both: OwnedFd,
}

impl Watch {
    /// Begins to listen.
    pub fn open() -> Result<Self, Error> {
        let failed = |errno| Error::Socket { action: "wait for several sockets", errno };
        Ok(Self { both: epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)? })
    }

    /// Takes in what is there, without waiting.
    pub fn read(&mut self, _expected: &Expected) -> Result<Seen, Error> {
        Ok(Seen::default())
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.both.as_fd()
    }
}
