//! One go of listening to changes of links, addresses, routes and neighbours.

use std::collections::HashSet;

use netlink_packet_core::{DecodeError, parse_i32, parse_u32};
use rustix::net::AddressFamily;

use super::expected::{Planned, Verdict};
use super::links::{Known, Links};
use super::{Expected, Seen};
use crate::net::frame::{Frame, attribute};
use crate::net::link::Link;
use crate::net::tunnel::Entry;
use crate::net::{address, route};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_NEWNETCONF: u16 = 80;

pub(super) struct Hearing<'a> {
    expected: &'a Expected,
    links: &'a mut Links,
    /// What went, and did not come back yet.
    lost: HashSet<Planned>,
    /// Planned links that went down, and did not go altogether.
    down: HashSet<u32>,
    pub(super) seen: Seen,
}

impl<'a> Hearing<'a> {
    pub(super) fn new(expected: &'a Expected, links: &'a mut Links) -> Self {
        Self { expected, links, lost: HashSet::new(), down: HashSet::new(), seen: Seen::default() }
    }

    /// All of it.
    pub(super) fn end(mut self) -> Seen {
        self.seen.suspicious |= !self.lost.is_empty() || !self.down.is_empty();
        self.seen
    }

    pub(super) fn hear(&mut self, frame: &Frame<'_>) {
        // What is not understood may be anything.
        self.understand(frame).unwrap_or_else(|_| self.seen.suspicious = true);
    }

    fn understand(&mut self, frame: &Frame<'_>) -> Result<(), DecodeError> {
        match frame.kind {
            RTM_NEWLINK if is_of_links(frame) => self.link(Link::decode(frame.body)?),
            RTM_DELLINK if is_of_links(frame) => self.no_link(Link::decode(frame.body)?.index),
            RTM_NEWADDR | RTM_DELADDR => self.address(frame.body, frame.kind == RTM_DELADDR)?,
            RTM_NEWROUTE | RTM_DELROUTE => self.route(frame.body, frame.kind == RTM_DELROUTE)?,
            RTM_NEWNEIGH | RTM_DELNEIGH => self.neighbour(frame.body, frame.kind == RTM_DELNEIGH)?,
            RTM_NEWNETCONF => self.seen.suspicious |= stops_forwarding(frame.body, self.expected)?,
            _ => (),
        }
        Ok(())
    }

    fn judge(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Nothing => (),
            Verdict::Lost(planned) => drop(self.lost.insert(planned)),
            Verdict::There(planned) => drop(self.lost.remove(&planned)),
            Verdict::Contradicts => self.seen.suspicious = true,
        }
    }

    fn link(&mut self, link: Link) {
        let Some((before, now)) = self.links.changed(&link) else { return };
        match self.expected.link(&now.name) {
            // One that is new is being made; only what it once was can be lost.
            Some(mtu) => {
                let before = before.unwrap_or_else(|| now.clone());
                self.seen.suspicious |= before.is_spoilt_in(&now, mtu);
                if before.up && !now.up {
                    // With it go routes of which the kernel says nothing, also if it comes up again.
                    self.down.insert(link.index);
                }
                self.lost.remove(&Planned::Link(now.name));
            }
            None => {
                let renamed = before.as_ref().filter(|before| before.name != now.name);
                self.seen.suspicious |=
                    renamed.is_some_and(|before| self.expected.link(&before.name).is_some());
                if !now.ours {
                    self.uplink(before, &now);
                }
            }
        }
    }

    fn uplink(&mut self, before: Option<Known>, now: &Known) {
        self.seen.suspicious |= before.as_ref().is_some_and(|before| before.up != now.up);
        self.seen.uplinks_changed |= before.as_ref() != Some(now);
    }

    fn no_link(&mut self, index: u32) {
        let Some(before) = self.links.removed(index) else { return };
        self.down.remove(&index);
        if self.expected.link(&before.name).is_some() {
            self.lost.insert(Planned::Link(before.name));
        } else if !before.ours {
            (self.seen.suspicious, self.seen.uplinks_changed) = (true, true);
        }
    }

    fn address(&mut self, body: &[u8], gone: bool) -> Result<(), DecodeError> {
        let Some(found) = address::decode(body)? else { return Ok(()) };
        // Of pods' links nothing is known, for nothing is to be known.
        let Some(link) = self.links.get(found.index) else { return Ok(()) };
        if self.expected.link(&link.name).is_some() {
            self.judge(self.expected.address(&link.name, found.prefix, gone));
        } else if !link.ours {
            // With an address go routes of which the kernel says nothing.
            self.seen.suspicious |= gone;
            self.seen.uplinks_changed = true;
        }
        Ok(())
    }

    fn route(&mut self, body: &[u8], gone: bool) -> Result<(), DecodeError> {
        let Some(found) = route::decode(body)? else { return Ok(()) };
        self.judge(self.expected.route(&found, gone));
        self.seen.uplinks_changed |= found.destination.prefix_len() == 0 && found.table == route::MAIN;
        Ok(())
    }

    fn neighbour(&mut self, body: &[u8], gone: bool) -> Result<(), DecodeError> {
        let Some(index) = body.get(4..8).map(parse_u32).transpose()? else { return Ok(()) };
        if self.links.get(index).is_some_and(|link| self.expected.is_vxlan(&link.name)) {
            self.judge(self.expected.entry(&Entry::decode(body)?, gone));
        }
        Ok(())
    }
}

/// A bridge says more of its ports, in a family of its own.
fn is_of_links(frame: &Frame<'_>) -> bool {
    frame.body.first() == Some(&0)
}

/// The length of struct netconfmsg, aligned.
const NETCONF_HEADER: usize = 4;
const NETCONFA_IFINDEX: u16 = 1;
const NETCONFA_FORWARDING: u16 = 2;
const ALL_INTERFACES: i32 = -1;

fn stops_forwarding(body: &[u8], expected: &Expected) -> Result<bool, DecodeError> {
    let attributes = body.get(NETCONF_HEADER..).unwrap_or_default();
    let number = |kind| attribute(attributes, kind)?.map(|number| parse_i32(number.value())).transpose();
    let off = number(NETCONFA_FORWARDING)? == Some(0) && number(NETCONFA_IFINDEX)? == Some(ALL_INTERFACES);
    let family = body.first().copied().map(u16::from);
    Ok(off && family.is_some_and(|family| expected.forwards(family == AddressFamily::INET.as_raw())))
}
