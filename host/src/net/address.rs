//! Addresses of interfaces: the requests that add and remove them, and what the kernel says of them.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{DecodeError, NLM_F_CREATE, NLM_F_EXCL, NlasIterator, parse_ip};
use netlink_packet_route::address::{
    AddressAttribute, AddressHeader, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use super::Error;
use super::link::Interface;
use super::socket::{Request, Socket};
use crate::plan::marks::PROTOCOL;

/// Gives an interface an address, at once in use: nobody else has it, the leases see to that, so that
/// IPv6 need not ask on the link first (duplicate address detection takes over a second).
pub fn add(interface: Interface<'_>, prefix: IpNet) -> Request {
    let at_once = if prefix.addr().is_ipv6() { AddressHeaderFlags::Nodad } else { Default::default() };
    request(interface, prefix, at_once)
}

/// As [`add`], but IPv6 asks on the link first. Does not wait for it: until then the address is not in use.
pub fn add_with_detection(interface: Interface<'_>, prefix: IpNet) -> Request {
    request(interface, prefix, AddressHeaderFlags::default())
}

fn request(interface: Interface<'_>, prefix: IpNet, flags: AddressHeaderFlags) -> Request {
    let mut message = message(interface.index, prefix);
    message.header.flags = flags;
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL)));
    let step = format!("add address {prefix} to {}", interface.name);
    Request::new(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL, step)
}

/// As [`add`], and content if it is there already.
pub fn ensure(interface: Interface<'_>, prefix: IpNet) -> Request {
    add(interface, prefix).tolerating(&[Errno::EXIST])
}

/// Takes an address from an interface.
pub fn delete(interface: Interface<'_>, prefix: IpNet) -> Request {
    let message = RouteNetlinkMessage::DelAddress(message(interface.index, prefix));
    let step = format!("remove address {prefix} from {}", interface.name);
    Request::new(message, 0, step).tolerating(&[Errno::ADDRNOTAVAIL, Errno::NODEV])
}

fn message(index: u32, prefix: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header = AddressHeader {
        family: family(prefix.addr()),
        prefix_len: prefix.prefix_len(),
        scope: scope(prefix.addr()),
        index,
        ..AddressHeader::default()
    };
    message.attributes.push(AddressAttribute::Local(prefix.addr()));
    message
}

/// The kernel's number for the address's family.
pub(super) fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// 169.254.0.0/16 is not forwarded, and must not be taken as the source of what is sent beyond the link.
/// With IPv6 the kernel knows by itself.
fn scope(address: IpAddr) -> AddressScope {
    match address {
        IpAddr::V4(address) if address.is_link_local() => AddressScope::Link,
        _ => AddressScope::Universe,
    }
}

/// An address of an interface, as the kernel says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The interface.
    pub index: u32,
    /// The address with its link's prefix length.
    pub prefix: IpNet,
    /// Whether podwire gave it. Linux before 5.18 does not remember, so that it is false there.
    pub ours: bool,
    /// Whether it is not in use, because duplicate address detection found it elsewhere on the link.
    pub duplicate: bool,
}

/// The addresses of an interface.
pub fn of(socket: &mut Socket, index: u32) -> Result<Vec<Found>, Error> {
    let mut message = AddressMessage::default();
    message.header.index = index;
    let decode = |body: &[u8]| Ok(decode(body)?.filter(|found| found.index == index));
    socket.dump(&RouteNetlinkMessage::GetAddress(message), "addresses", decode)
}

/// Those of all interfaces.
pub fn all(socket: &mut Socket) -> Result<Vec<Found>, Error> {
    socket.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()), "addresses", decode)
}

/// The length of struct ifaddrmsg.
const ADDRESS_HEADER: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_PROTO: u16 = 11;

/// Only what is asked for: see [`super::link`]. None for families other than IP.
fn decode(body: &[u8]) -> Result<Option<Found>, DecodeError> {
    let header = AddressHeader::parse(body)?;
    if !matches!(header.family, AddressFamily::Inet | AddressFamily::Inet6) {
        return Ok(None);
    }
    let (mut address, mut local, mut ours) = (None, None, false);
    for attribute in NlasIterator::new(&body[ADDRESS_HEADER..]) {
        let attribute = attribute?;
        match attribute.kind() {
            IFA_ADDRESS => address = Some(parse_ip(attribute.value())?),
            // Differs from IFA_ADDRESS on point-to-point links, where that is the other side's.
            IFA_LOCAL => local = Some(parse_ip(attribute.value())?),
            IFA_PROTO => ours = attribute.value() == [PROTOCOL],
            _ => (),
        }
    }
    let duplicate = header.flags.contains(AddressHeaderFlags::Dadfailed);
    let prefix = local.or(address).and_then(|address| IpNet::new(address, header.prefix_len).ok());
    Ok(prefix.map(|prefix| Found { index: header.index, prefix, ours, duplicate }))
}
