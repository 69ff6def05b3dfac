//! What the kernel says of changes, held against a plan.
//!
//! Says that something contradicts the plan, not what: whoever hears it compares. Cheap for what is not the node's, for
//! thousands of pods come and go in a minute; and silent about what podwire itself does as planned, for else it would
//! never come to rest.

mod expected;
mod hearing;
mod links;
mod ruleset;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, bind, netlink, recv, socket_with,
};

use super::frame::frames;
use super::socket::Socket;
use super::{Error, link, sys};
pub use expected::Expected;
use hearing::Hearing;
use links::Links;
use ruleset::Ruleset;

/// What was seen of the kernel's changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Something contradicts the plan, or may: compare.
    pub suspicious: bool,
    /// An interface that is neither podwire's nor a pod's has changed its addresses, MTU or state, or a default route
    /// did.
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

/// Groups of messages (linux/rtnetlink.h, linux/netfilter/nfnetlink.h).
const RTNLGRP_LINK: libc::c_int = 1;
const RTNLGRP_NEIGH: libc::c_int = 3;
const RTNLGRP_IPV4_IFADDR: libc::c_int = 5;
const RTNLGRP_IPV4_ROUTE: libc::c_int = 7;
const RTNLGRP_IPV6_IFADDR: libc::c_int = 9;
const RTNLGRP_IPV6_ROUTE: libc::c_int = 11;
const RTNLGRP_IPV4_NETCONF: libc::c_int = 24;
const RTNLGRP_IPV6_NETCONF: libc::c_int = 25;
const NFNLGRP_NFTABLES: libc::c_int = 7;

const ROUTING: [libc::c_int; 8] = [
    RTNLGRP_LINK,
    RTNLGRP_NEIGH,
    RTNLGRP_IPV4_IFADDR,
    RTNLGRP_IPV4_ROUTE,
    RTNLGRP_IPV6_IFADDR,
    RTNLGRP_IPV6_ROUTE,
    RTNLGRP_IPV4_NETCONF,
    RTNLGRP_IPV6_NETCONF,
];

/// Room for what the kernel says while a plan of thousands of routes is carried out, in bytes. None of it is taken
/// before it is needed.
const WAITING: usize = 32 << 20;

/// More than the kernel puts into one message to many.
const RECEIVED_AT_ONCE: usize = 64 << 10;

/// Sockets that hear of the changes of the network namespace in which they were opened. Its file is readable when there
/// is something to read.
#[derive(Debug)]
pub struct Watch {
    both: OwnedFd,
    routing: OwnedFd,
    /// None: the kernel has no nftables, or nobody may hear of them here.
    rules: Option<OwnedFd>,
    received: Vec<u8>,
    links: Links,
}

impl Watch {
    /// Begins to listen.
    pub fn open() -> Result<Self, Error> {
        let routing = listening(None, &ROUTING)?;
        let rules = match listening(Some(netlink::NETFILTER), &[NFNLGRP_NFTABLES]) {
            Err(Error::Socket { errno: Errno::PROTONOSUPPORT | Errno::PERM, .. }) => None,
            socket => Some(socket?),
        };
        let failed = |errno| Error::Socket { action: "wait for several sockets", errno };
        let both = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)?;
        for socket in [Some(&routing), rules.as_ref()].into_iter().flatten() {
            let (data, flags) = (epoll::EventData::new_u64(0), epoll::EventFlags::IN);
            epoll::add(&both, socket, data, flags).map_err(failed)?;
        }
        // After they listen: what changes meanwhile is heard of too.
        let links = Links::of(link::all(&mut Socket::route()?)?);
        Ok(Self { both, routing, rules, received: Vec::with_capacity(RECEIVED_AT_ONCE), links })
    }

    /// Takes in what is there, without waiting. What goes and comes back in one go, as podwire itself makes some things
    /// anew, is nothing.
    pub fn read(&mut self, expected: &Expected) -> Result<Seen, Error> {
        let mut hearing = Hearing::new(expected, &mut self.links);
        while let Some(heard) = receive(&self.routing, &mut self.received)? {
            hearing.seen.overrun |= heard == Heard::Overrun;
            frames(&self.received).for_each(|frame| hearing.hear(&frame));
        }
        let mut seen = hearing.end();
        let mut ruleset = Ruleset::default();
        if let Some(rules) = &self.rules {
            while let Some(heard) = receive(rules, &mut self.received)? {
                seen.overrun |= heard == Heard::Overrun;
                frames(&self.received).for_each(|frame| ruleset.hear(&frame, expected));
            }
        }
        seen.suspicious |= ruleset.is_contradicted();
        if seen.overrun {
            // What was lost may have been of any link.
            self.links = Links::of(link::all(&mut Socket::route()?)?);
            seen.uplinks_changed = true;
        }
        self.rearm()?;
        Ok(seen)
    }

    /// Both are empty: what is said from now on makes the file readable again.
    fn rearm(&self) -> Result<(), Error> {
        let failed = |errno| Error::Socket { action: "wait for several sockets", errno };
        let mut events = Vec::with_capacity(2);
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        retry_on_intr(|| epoll::wait(&self.both, spare_capacity(&mut events), Some(&at_once)))
            .map_err(failed)?;
        Ok(())
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.both.as_fd()
    }
}

fn listening(protocol: Option<Protocol>, groups: &[libc::c_int]) -> Result<OwnedFd, Error> {
    let failed = |errno| Error::Socket { action: "listen for the kernel's changes", errno };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol).map_err(failed)?;
    // Refused to who may not use more than is customary: that much then has to do.
    let _ = set_socket_recv_buffer_size_force(&socket, WAITING);
    bind(&socket, &netlink::SocketAddrNetlink::new(0, 0)).map_err(failed)?;
    for group in groups {
        sys::set_netlink_option(socket.as_fd(), libc::NETLINK_ADD_MEMBERSHIP, *group).map_err(failed)?;
    }
    Ok(socket)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Something,
    Overrun,
}

/// The next message into the buffer; none if there is none now.
fn receive(socket: &OwnedFd, into: &mut Vec<u8>) -> Result<Option<Heard>, Error> {
    into.clear();
    match retry_on_intr(|| recv(socket, spare_capacity(into), RecvFlags::TRUNC)) {
        Ok((kept, length)) if kept < length => Ok(Some(Heard::Overrun)),
        Ok(_) => Ok(Some(Heard::Something)),
        Err(Errno::NOBUFS) => Ok(Some(Heard::Overrun)),
        Err(Errno::AGAIN) => Ok(None),
        Err(errno) => Err(Error::Socket { action: "hear of the kernel's changes", errno }),
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;
    use crate::net::node::{Target, apply};
    use crate::net::tests::{isolated, run};
    use crate::plan::{Bridge, NodePlan};

    fn readable(watch: &Watch) -> bool {
        let mut files = [PollFd::new(watch, PollFlags::IN)];
        poll(&mut files, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("polled") == 1
    }

    #[test]
    fn links_that_found_no_room_are_known_afterwards() {
        isolated(|| {
            let addresses = vec!["10.244.1.1/24".parse().expect("valid")];
            let bridge = Bridge::plain("cni0".parse().expect("valid"), addresses);
            let plan = NodePlan { bridges: vec![bridge], ..NodePlan::nothing() };
            let expected = Expected::of(&Target::of(&plan, &[]));
            apply(&plan, &[]).expect("applied");
            let mut watch = Watch::open().expect("listening");
            set_socket_recv_buffer_size_force(&watch.routing, 0).expect("as little as there is");
            for turn in 0..20 {
                run(&format!("ip route add blackhole 10.0.{turn}.0/24"));
            }
            run("ip link del cni0");
            apply(&plan, &[]).expect("made anew");
            let seen = watch.read(&expected).expect("read");
            assert!(seen.overrun && seen.uplinks_changed, "{seen:?}");
            set_socket_recv_buffer_size_force(&watch.routing, WAITING).expect("room");
            run("ip address del 10.244.1.1/24 dev cni0");
            assert!(watch.read(&expected).expect("read").suspicious, "the new bridge is not known");
        });
    }

    #[test]
    fn what_finds_no_room_is_known_to_be_lost() {
        isolated(|| {
            let expected = Expected::of(&Target::of(&NodePlan::nothing(), &[]));
            let mut watch = Watch::open().expect("listening");
            assert!(!readable(&watch));
            set_socket_recv_buffer_size_force(&watch.routing, 0).expect("as little as there is");
            for turn in 0..20 {
                run(&format!("ip route add blackhole 10.0.{turn}.0/24"));
            }
            assert!(readable(&watch));
            assert!(watch.read(&expected).expect("read").overrun);
            assert!(!readable(&watch));
            run("ip route add blackhole 10.1.0.0/24");
            assert!(readable(&watch));
            assert!(watch.read(&expected).expect("read").is_nothing());
            run("nft add table inet podwire");
            assert!(readable(&watch), "the other socket");
            assert!(watch.read(&expected).expect("read").is_nothing() && !readable(&watch));
        });
    }
}
