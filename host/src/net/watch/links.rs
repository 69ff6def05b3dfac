//! The links that are not pods', as they were when the kernel last spoke of them: what matters is what changes.

use std::collections::HashMap;

use crate::net::link::Link;
use crate::plan::marks::GROUP;

/// What is remembered of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) name: String,
    /// Whether it has podwire's mark.
    pub(super) ours: bool,
    pub(super) up: bool,
    running: bool,
    mtu: u32,
}

impl Known {
    fn of(link: &Link) -> Self {
        let Link { up, running, mtu, .. } = *link;
        Self { name: link.name.clone(), ours: link.is_ours(), up, running, mtu }
    }

    /// Whether it had what a plan gives it, and no longer has.
    pub(super) fn is_spoilt_in(&self, now: &Self, mtu: Option<u32>) -> bool {
        let has = |link: &Self| mtu.is_none_or(|mtu| mtu == link.mtu);
        (self.ours && !now.ours) || (has(self) && !has(now))
    }
}

/// By their indices.
#[derive(Debug, Clone, Default)]
pub(super) struct Links {
    known: HashMap<u32, Known>,
}

/// Pods' ends of veths and what shapes their traffic come and go by the thousand.
fn is_of_a_pod(link: &Link) -> bool {
    link.group == GROUP && !link.is_bridge() && !link.is_vxlan()
}

impl Links {
    pub(super) fn of(links: Vec<Link>) -> Self {
        let others = links.iter().filter(|link| !is_of_a_pod(link));
        Self { known: others.map(|link| (link.index, Known::of(link))).collect() }
    }

    pub(super) fn get(&self, index: u32) -> Option<&Known> {
        self.known.get(&index)
    }

    /// How it was, if it was, and how it is. None for a pod's.
    pub(super) fn changed(&mut self, link: &Link) -> Option<(Option<Known>, Known)> {
        if is_of_a_pod(link) {
            self.known.remove(&link.index);
            return None;
        }
        let now = Known::of(link);
        Some((self.known.insert(link.index, now.clone()), now))
    }

    pub(super) fn removed(&mut self, index: u32) -> Option<Known> {
        self.known.remove(&index)
    }
}
