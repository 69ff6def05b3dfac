//! Limits to what a pod receives and sends: token buckets on the node, out of the pod's reach.
//!
//! Owns the queueing disciplines of a host's end, and the interface behind which what the pod sends waits. Knows
//! rates; neither plans, nor when a pod comes and goes.
//!
//! What the pod receives leaves the node by the host's end, and waits there. What it sends arrives there, and on
//! arrival the kernel can only pass, drop or redirect: so it is redirected to an ifb of the pod's own, waits on its
//! way out of that, and goes on as if it had arrived only then.
//!
//! | other way to limit what a pod sends | why not |
//! | --- | --- |
//! | a bucket on the pod's own end | CAP_NET_ADMIN takes it off; CAP_NET_RAW, which runtimes give to every container, sends past it (`PACKET_QDISC_BYPASS`) |
//! | drop what is too much, by tc's `police` or nftables' `limit` | nothing waits, so TCP falls far below the rate, and a segment of 64 KiB never fits a small burst; a `limit` by bytes lets through what comes within a second at once; from Linux 6.16 on, a netdev chain outlives its interface |
//! | an eBPF program on arrival | drops too, and is loaded and verified for each pod |
//! | one ifb for all pods | all wait for one lock; a pod's class and filter there outlive its veth |
//!
//! | what | goes with | why |
//! | --- | --- | --- |
//! | buckets, redirection | the interface that has them | the kernel's way |
//! | ifb | nothing: it is to be removed | its name follows from that of the host's end, and it is of podwire's group from the first moment, so it is found again after whatever happened |

mod bucket;
mod redirection;

use std::fmt::Display;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::names::InterfaceName;
use crate::plan::Bandwidth;

use super::link::{self, Interface, Link};
use super::socket::{Request, Socket};
use super::{Difference, Error};
use bucket::{Bucket, Found};

/// The name of the ifb behind which waits what the pod sends: 48 bits of a hash, since the other name may be as
/// long as a name can be.
pub fn ifb_name(host_interface: &str) -> InterfaceName {
    use std::fmt::Write as _;
    let mut name = String::from("pwb");
    for byte in &Sha256::digest(host_interface)[..6] {
        let _ = write!(name, "{byte:02x}");
    }
    name.parse().expect("15 bytes of letters and digits are an interface name")
}

/// What limits the traffic over a host's end, to be carried out before that is set up: until then nothing passes.
/// The MTU is that of the veth, whose largest frame a bucket must hold.
///
/// With a limit to what the pod sends, the ifb is made by this call. If it fails, or the requests do, or what
/// follows, [`find_ifb`] finds what is left.
pub fn requests(
    socket: &mut Socket,
    end: Interface<'_>,
    bandwidth: &Bandwidth,
    mtu: u32,
) -> Result<Vec<Request>, Error> {
    let mut requests = Vec::with_capacity(6);
    if let Some(rate) = bandwidth.ingress {
        requests.push(limit(end, &Bucket::of(rate, mtu)));
    }
    if let Some(rate) = bandwidth.egress {
        let name = ifb_name(end.name);
        let ifb = Interface { index: ensure_ifb(socket, &name, mtu)?, name: name.as_str() };
        // What is redirected to an interface that is down is lost: so that one first.
        requests.extend([limit(ifb, &Bucket::of(rate, mtu)), link::no_link_local(ifb), link::set_up(ifb)]);
        requests.extend(redirection::requests(end, ifb));
    }
    Ok(requests)
}

/// The index of the ifb of that name. It may be left from a pod whose veth somebody else removed.
fn ensure_ifb(socket: &mut Socket, name: &InterfaceName, mtu: u32) -> Result<u32, Error> {
    let gone = || Error::InterfaceGone(name.clone());
    match socket.apply(&[redirection::create_ifb(name, mtu)]) {
        Ok(()) => socket.index_of(name.as_str())?.ok_or_else(gone),
        Err(Error::Refused(refused)) if refused.errno == Errno::EXIST => {
            let found = link::find(socket, name)?.ok_or_else(gone)?;
            if is_own_ifb(&found) { Ok(found.index) } else { Err(refused.into()) }
        }
        Err(error) => Err(error),
    }
}

/// The ifb that goes with a host's end, whether that is still there or not. None too if a link that podwire did not
/// make has its name: that one stays.
pub fn find_ifb(socket: &mut Socket, host_interface: &str) -> Result<Option<Link>, Error> {
    Ok(link::find(socket, &ifb_name(host_interface))?.filter(is_own_ifb))
}

fn is_own_ifb(link: &Link) -> bool {
    link.kind.as_deref() == Some("ifb") && link.is_ours()
}

fn limit(interface: Interface<'_>, bucket: &Bucket) -> Request {
    let mut message = TcMessage::with_index(interface.index.cast_signed());
    message.header.parent = TcHandle::ROOT;
    message.attributes = vec![TcAttribute::Kind(bucket::KIND.to_owned()), bucket.options()];
    let step = format!("limit {} by a token bucket (kernel option CONFIG_NET_SCH_TBF)", interface.name);
    let message = RouteNetlinkMessage::NewQueueDiscipline(message);
    Request::new(message, NLM_F_CREATE | NLM_F_REPLACE, step)
}

/// All in which a host's end differs from its limits; empty if nothing does. A direction without limit is not
/// looked at.
pub fn inspect(
    socket: &mut Socket,
    end: Interface<'_>,
    bandwidth: &Bandwidth,
    mtu: u32,
) -> Result<Vec<Difference>, Error> {
    let roots = bucket::roots(socket)?;
    let mut differences = Vec::new();
    if let Some(rate) = bandwidth.ingress {
        differences.extend(inspect_bucket(&roots, end, &Bucket::of(rate, mtu)));
    }
    if let Some(rate) = bandwidth.egress {
        let name = ifb_name(end.name);
        let Some(ifb) = find_ifb(socket, end.name)? else {
            differences.push(difference(format!("ifb {name}"), "present", "none"));
            return Ok(differences);
        };
        if !ifb.up {
            differences.push(difference(format!("state of ifb {name}"), "up", "down"));
        }
        differences.extend(inspect_bucket(&roots, ifb.interface(), &Bucket::of(rate, mtu)));
        differences.extend(inspect_redirection(socket, end, ifb.interface())?);
    }
    Ok(differences)
}

fn inspect_bucket(roots: &[(u32, Found)], interface: Interface<'_>, expected: &Bucket) -> Option<Difference> {
    let what = format!("limit of {}", interface.name);
    match roots.iter().find(|(index, _)| *index == interface.index) {
        None => Some(difference(what, expected, "none")),
        Some((_, found)) => (!found.is(expected)).then(|| difference(what, expected, found)),
    }
}

fn inspect_redirection(
    socket: &mut Socket,
    end: Interface<'_>,
    ifb: Interface<'_>,
) -> Result<Option<Difference>, Error> {
    let there = redirection::is_there(socket, end, ifb)?;
    let what = || format!("redirection of what arrives at {} to {}", end.name, ifb.name);
    Ok((!there).then(|| difference(what(), "present", "none")))
}

fn difference(what: String, expected: impl Display, found: impl Display) -> Difference {
    Difference { what, expected: expected.to_string(), found: found.to_string() }
}
