//! The kernel's memory of connections (conntrack): what it remembers of a pod that is gone would befall the next with
//! the same address, for as long as packets keep coming.
//!
//! Attribute numbers are those of linux/netfilter/nfnetlink_conntrack.h.

use std::net::IpAddr;

use rustix::io::Errno;
use rustix::net::AddressFamily;

use super::super::Error;
use super::super::netfilter::{Attributes, CONNTRACK, GENERIC_HEADER, Message, attribute, nested, number};
use super::super::socket::{Request, Socket};
use super::mapping;
use super::rule::octets;
use crate::plan::{Checked, PortMapping, Protocol};

const IPCTNL_MSG_CT_GET: u8 = 1;
const IPCTNL_MSG_CT_DELETE: u8 = 2;
const IPCTNL_MSG_CT_GET_STATS: u8 = 5;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;

/// What counts of a tuple: the bits of the kernel's net/netfilter/nf_conntrack_netlink.c.
const IP_SRC: u32 = 1 << 0;
const IP_DST: u32 = 1 << 1;
const PROTO_NUM: u32 = 1 << 3;
const PROTO_DST_PORT: u32 = 1 << 5;

/// Which connections are meant, by what one of their two directions has.
#[derive(Debug, Clone, Copy)]
struct Selector {
    direction: u16,
    ipv4: bool,
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    port: Option<(Protocol, u16)>,
}

impl Selector {
    /// Those that the address began, whatever others saw as their source.
    fn begun_by(address: IpAddr) -> Self {
        let ipv4 = address.is_ipv4();
        Self { direction: CTA_TUPLE_ORIG, ipv4, source: Some(address), destination: None, port: None }
    }

    /// Those that the address answers, whatever address their clients asked for.
    fn answered_by(address: IpAddr) -> Self {
        Self { direction: CTA_TUPLE_REPLY, ..Self::begun_by(address) }
    }

    fn to_port(mapping: &PortMapping, ipv4: bool) -> Self {
        let destination = mapping.host_ip.filter(|address| !address.is_unspecified());
        let port = Some((mapping.protocol, mapping.host_port));
        Self { direction: CTA_TUPLE_ORIG, ipv4, source: None, destination, port }
    }

    /// What has to be there, and the bit that says that it counts.
    fn parts(&self) -> Vec<([u16; 2], Vec<u8>, u32)> {
        let (source, destination) =
            if self.ipv4 { (CTA_IP_V4_SRC, CTA_IP_V4_DST) } else { (CTA_IP_V6_SRC, CTA_IP_V6_DST) };
        let address = |kind, bit| move |address| ([CTA_TUPLE_IP, kind], octets(address), bit);
        let mut parts: Vec<_> = self.source.map(address(source, IP_SRC)).into_iter().collect();
        parts.extend(self.destination.map(address(destination, IP_DST)));
        if let Some((protocol, port)) = self.port {
            let number = mapping::number(protocol);
            parts.push(([CTA_TUPLE_PROTO, CTA_PROTO_NUM], vec![number], PROTO_NUM));
            parts.push(([CTA_TUPLE_PROTO, CTA_PROTO_DST_PORT], port.to_be_bytes().into(), PROTO_DST_PORT));
        }
        parts
    }

    /// For the kernel.
    fn attributes(&self) -> Attributes {
        let (mut ip, mut protocol, mut bits) = (Attributes::default(), Attributes::default(), 0u32);
        for ([group, kind], value, bit) in self.parts() {
            bits |= bit;
            match group {
                CTA_TUPLE_IP => ip = ip.bytes(kind, &value),
                _ => protocol = protocol.bytes(kind, &value),
            }
        }
        let tuple = Attributes::default().nested(CTA_TUPLE_IP, ip).nested(CTA_TUPLE_PROTO, protocol);
        let (counting, other) = match self.direction {
            CTA_TUPLE_ORIG => (CTA_FILTER_ORIG_FLAGS, CTA_FILTER_REPLY_FLAGS),
            _ => (CTA_FILTER_REPLY_FLAGS, CTA_FILTER_ORIG_FLAGS),
        };
        let filter = Attributes::default().bytes(counting, &bits.to_ne_bytes()).bytes(other, &[0; 4]);
        Attributes::default().nested(self.direction, tuple).nested(CTA_FILTER, filter)
    }

    fn matches(&self, entry: &[u8]) -> bool {
        let has = |([group, kind], value, _): ([u16; 2], Vec<u8>, u32)| {
            nested(entry, &[self.direction, group, kind]) == Some(value.as_slice())
        };
        self.parts().into_iter().all(has)
    }

    fn message(&self, kind: u8, attributes: Attributes) -> Message {
        let family = if self.ipv4 { AddressFamily::INET } else { AddressFamily::INET6 };
        Message::new(CONNTRACK, kind, family.as_raw() as u8, attributes)
    }

    fn forget(&self) -> Request<Message> {
        forget_request(self.message(IPCTNL_MSG_CT_DELETE, self.attributes()))
    }
}

fn forget_request(message: Message) -> Request<Message> {
    Request::new(message, 0, "forget connections".to_owned()).tolerating(&[Errno::NOENT])
}

/// Has the kernel forget the connections of addresses that nobody has any more. To be called when no packet of theirs
/// can come any more: after the pod's link is gone, and before another gets its addresses.
pub fn forget(addresses: &[IpAddr]) -> Result<(), Error> {
    match forget_each(addresses) {
        // A kernel without netfilter, or without its table of connections, remembers none.
        Err(Error::Socket { errno: Errno::PROTONOSUPPORT, .. }) => Ok(()),
        Err(Error::Refused(refused)) if refused.errno == Errno::INVAL => Ok(()),
        outcome => outcome,
    }
}

fn forget_each(addresses: &[IpAddr]) -> Result<(), Error> {
    let of = |address: &IpAddr| [Selector::begun_by(*address), Selector::answered_by(*address)];
    let selectors: Vec<_> = addresses.iter().flat_map(of).collect();
    let mut socket = Socket::netfilter()?;
    forget_selected(&mut socket, &selectors)?;
    socket.close_unattended();
    Ok(())
}

/// Has the kernel forget what it remembers of a plan's UDP ports: a client that has sent to the node before the
/// mapping was there would not reach the pod as long as it goes on.
pub(super) fn forget_mapped_ports(socket: &mut Socket, plan: &Checked) -> Result<(), Error> {
    let udp = plan.traffic.port_mappings.iter().filter(|mapping| mapping.protocol == Protocol::Udp);
    let has = |ipv4: bool| plan.addresses.iter().any(|address| address.prefix.addr().is_ipv4() == ipv4);
    let of = |mapping: &PortMapping| {
        let host_ip = mapping.host_ip;
        [true, false]
            .into_iter()
            .filter(|ipv4| has(*ipv4) && host_ip.is_none_or(|address| address.is_ipv4() == *ipv4))
            .map(|ipv4| Selector::to_port(mapping, ipv4))
            .collect::<Vec<_>>()
    };
    forget_selected(socket, &udp.flat_map(of).collect::<Vec<_>>())
}

fn forget_selected(socket: &mut Socket, selectors: &[Selector]) -> Result<(), Error> {
    let requests: Vec<_> = selectors.iter().map(Selector::forget).collect();
    if requests.is_empty() {
        return Ok(());
    }
    let refused = socket.attempt(&requests)?;
    // Linux before 6.8 does not select what it forgets.
    if refused.iter().all(|refused| matches!(refused.errno, Errno::OPNOTSUPP | Errno::INVAL)) {
        return refused.iter().try_for_each(|refused| forget_listed(socket, &selectors[refused.position]));
    }
    Error::from_refusals(refused)
}

/// As [`Selector::forget`], one connection after the other.
fn forget_listed(socket: &mut Socket, selector: &Selector) -> Result<(), Error> {
    if remembers_nothing(socket, selector) {
        return Ok(());
    }
    let question = selector.message(IPCTNL_MSG_CT_GET, selector.attributes());
    // Linux before 5.8 lists everything.
    let found = socket.dump(&question, "connections", |body| {
        let entry = body.get(GENERIC_HEADER..).unwrap_or_default();
        Ok(selector.matches(entry).then(|| identity(entry)))
    })?;
    let requests: Vec<_> = found
        .into_iter()
        .map(|identity| forget_request(selector.message(IPCTNL_MSG_CT_DELETE, identity)))
        .collect();
    if requests.is_empty() { Ok(()) } else { Error::from_refusals(socket.attempt(&requests)?) }
}

/// Also where the kernel cannot remember connections.
fn remembers_nothing(socket: &mut Socket, selector: &Selector) -> bool {
    let question = selector.message(IPCTNL_MSG_CT_GET_STATS, Attributes::default());
    let count =
        |body: &[u8]| Ok(number(body.get(GENERIC_HEADER..).unwrap_or_default(), CTA_STATS_GLOBAL_ENTRIES));
    !matches!(socket.get(question, "count connections", count), Ok(Some(Some(1..))))
}

/// What tells a connection from all others.
fn identity(entry: &[u8]) -> Attributes {
    let copy = |attributes: Attributes, kind: u16| match attribute(entry, kind) {
        Some(value) if kind == CTA_TUPLE_ORIG => attributes.nested_bytes(kind, value),
        Some(value) => attributes.bytes(kind, value),
        None => attributes,
    };
    [CTA_TUPLE_ORIG, CTA_ZONE, CTA_ID].into_iter().fold(Attributes::default(), copy)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::net::tests::{isolated, run};

    /// How many connections the kernel remembers.
    fn remembered() -> usize {
        std::fs::read_to_string("/proc/thread-self/net/nf_conntrack").expect("readable").lines().count()
    }

    /// Datagrams from each of two addresses to two ports of the other.
    fn connections() -> [Selector; 3] {
        run("ip link set lo up");
        run("nft add table ip watch");
        run("nft add chain ip watch out { type filter hook output priority 0; }");
        run("nft add rule ip watch out ct state new accept");
        for (from, to) in [("127.0.0.1", "127.0.0.2"), ("127.0.0.2", "127.0.0.1")] {
            let socket = UdpSocket::bind((from, 4000)).expect("bound");
            for port in [53, 54] {
                socket.send_to(b"ping", (to, port)).expect("sent");
            }
        }
        let address = "127.0.0.1".parse().expect("valid");
        let mapping =
            PortMapping { protocol: Protocol::Udp, host_ip: Some(address), host_port: 53, container_port: 1 };
        [Selector::to_port(&mapping, true), Selector::begun_by(address), Selector::answered_by(address)]
    }

    #[test]
    fn what_is_listed_first_is_what_the_kernel_selects() {
        let by_the_kernel = |socket: &mut Socket, selector| forget_selected(socket, &[selector]);
        let one_by_one = |socket: &mut Socket, selector| forget_listed(socket, &selector);
        type Way = fn(&mut Socket, Selector) -> Result<(), Error>;
        for forget in [by_the_kernel as Way, one_by_one] {
            isolated(|| {
                let mut socket = Socket::netfilter().expect("socket");
                let selectors = connections();
                assert_eq!(remembered(), 4);
                for (selector, left) in selectors.into_iter().zip([3, 1, 0]) {
                    forget(&mut socket, selector).expect("forgotten");
                    assert_eq!(remembered(), left, "{selector:?}");
                }
                forget(&mut socket, selectors[0]).expect("nothing is left");
            });
        }
    }
}
