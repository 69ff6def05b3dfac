//! Routes of the main table: the requests that add, replace and remove podwire's, and what the kernel says
//! of all.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::{
    DecodeError, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NlaBuffer, NlasIterator, parse_ip, parse_u32,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use super::Error;
use super::address::family;
use super::socket::{Request, Socket};
use crate::plan::marks::PROTOCOL;

/// The metric of an IPv6 route for which none was given (`IP6_RT_PRIO_USER`, net/ip6_route.h).
const IPV6_METRIC: u32 = 1024;

/// A route to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// A block, or a default route.
    pub destination: IpNet,
    /// What becomes of packets there.
    pub hop: Hop,
    /// In bytes.
    pub mtu: Option<u32>,
    /// Less is preferred.
    pub metric: Option<u32>,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// It goes to whoever has its address on an interface's link.
    Link {
        /// The interface's index.
        interface: u32,
    },
    /// It goes to a gateway.
    Via {
        /// The gateway.
        gateway: IpAddr,
        /// The interface's index; none: the one that reaches the gateway.
        interface: Option<u32>,
        /// Whether the gateway is on the link though no prefix says so.
        onlink: bool,
    },
    /// It is dropped.
    Blackhole,
}

impl Route {
    /// The metric that the kernel will show.
    pub fn effective_metric(&self) -> u32 {
        self.metric.unwrap_or(customary_metric(self.destination))
    }
}

fn customary_metric(destination: IpNet) -> u32 {
    if destination.addr().is_ipv4() { 0 } else { IPV6_METRIC }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_route(f, self.destination, self.hop)?;
        write_metric(f, self.destination, self.effective_metric())
    }
}

/// One that is as if none had been given says nothing to the operator.
fn write_metric(f: &mut fmt::Formatter<'_>, destination: IpNet, metric: u32) -> fmt::Result {
    if metric == customary_metric(destination) { Ok(()) } else { write!(f, " metric {metric}") }
}

fn write_route(f: &mut fmt::Formatter<'_>, destination: IpNet, hop: Hop) -> fmt::Result {
    match hop {
        Hop::Link { .. } => write!(f, "{destination} on the link"),
        Hop::Via { gateway, .. } => write!(f, "{destination} via {gateway}"),
        Hop::Blackhole => write!(f, "blackhole {destination}"),
    }
}

/// Adds a route; one of the same destination and metric is an error.
pub fn add(route: &Route) -> Request {
    let step = format!("add route {route}");
    Request::new(RouteNetlinkMessage::NewRoute(message(route, PROTOCOL)), NLM_F_CREATE | NLM_F_EXCL, step)
}

/// Adds a route as a person would, who wants podwire to leave it alone.
pub fn add_static(route: &Route) -> Request {
    let step = format!("add route {route}");
    let message = message(route, RouteProtocol::Static.into());
    Request::new(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL, step)
}

/// Puts a route in the place of the one with the same destination and metric.
pub fn replace(route: &Route) -> Request {
    let step = format!("replace route {route}");
    Request::new(RouteNetlinkMessage::NewRoute(message(route, PROTOCOL)), NLM_F_CREATE | NLM_F_REPLACE, step)
}

/// Removes a route of podwire's: the kernel leaves those of another protocol number alone.
pub fn delete(route: &Route) -> Request {
    let step = format!("delete route {route}");
    Request::new(RouteNetlinkMessage::DelRoute(message(route, PROTOCOL)), 0, step).tolerating(&[Errno::SRCH])
}

fn message(route: &Route, protocol: u8) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(route.destination.addr()),
        destination_prefix_length: route.destination.prefix_len(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: protocol.into(),
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes.push(RouteAttribute::Destination(route.destination.network().into()));
    message.attributes.extend(route.metric.map(RouteAttribute::Priority));
    message.attributes.extend(route.mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])));
    set_hop(&mut message, route.hop);
    message
}

fn set_hop(message: &mut RouteMessage, hop: Hop) {
    match hop {
        Hop::Link { interface } => {
            message.header.scope = RouteScope::Link;
            message.attributes.push(RouteAttribute::Oif(interface));
        }
        Hop::Via { gateway, interface, onlink } => {
            if onlink {
                message.header.flags = RouteFlags::Onlink;
            }
            message.attributes.push(RouteAttribute::Gateway(gateway.into()));
            message.attributes.extend(interface.map(RouteAttribute::Oif));
        }
        Hop::Blackhole => message.header.kind = RouteType::BlackHole,
    }
}

/// A route of the main table, as the kernel says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its destination.
    pub destination: IpNet,
    /// What becomes of packets; none for what podwire never makes: several next hops, "unreachable", …
    pub hop: Option<Hop>,
    /// Less is preferred.
    pub metric: u32,
    /// Who made it: a number of iproute2's rt_protos.
    pub protocol: u8,
}

impl Found {
    /// Whether podwire made it.
    pub fn is_ours(&self) -> bool {
        self.protocol == PROTOCOL
    }

    /// To name it when it is removed.
    pub fn as_route(&self) -> Option<Route> {
        let Self { destination, hop, metric, .. } = *self;
        hop.map(|hop| Route { destination, hop, mtu: None, metric: Some(metric) })
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hop {
            Some(hop) => write_route(f, self.destination, hop)?,
            None => write!(f, "{} of another type", self.destination)?,
        }
        write_metric(f, self.destination, self.metric)?;
        write!(f, " proto {}", self.protocol)
    }
}

/// The main table's routes of both families.
pub fn all(socket: &mut Socket) -> Result<Vec<Found>, Error> {
    let mut found = of_family(socket, AddressFamily::Inet)?;
    found.extend(of_family(socket, AddressFamily::Inet6)?);
    Ok(found)
}

fn of_family(socket: &mut Socket, family: AddressFamily) -> Result<Vec<Found>, Error> {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    // A kernel without IPv6 answers the question for it with what it has.
    let of_family = |found: &Found| self::family(found.destination.addr()) == family;
    let decode = |body: &[u8]| Ok(decode(body)?.filter(of_family));
    socket.dump(&RouteNetlinkMessage::GetRoute(message), "routes", decode)
}

/// Asks for the way to an address.
pub(super) fn to(address: IpAddr) -> RouteNetlinkMessage {
    let host = IpNet::from(address);
    let mut message = RouteMessage::default();
    message.header.address_family = family(address);
    message.header.destination_prefix_length = host.prefix_len();
    // The route as it is, without the source address that IPv6 would choose among all of the node's.
    message.header.flags = RouteFlags::FibMatch;
    message.attributes.push(RouteAttribute::Destination(address.into()));
    RouteNetlinkMessage::GetRoute(message)
}

/// What the kernel says to [`to`]: whether the node answers for the address itself, its route being a local one.
pub(super) fn is_local(socket: &mut Socket, asked: u32) -> Result<bool, Error> {
    let kind = |body: &[u8]| Ok(RouteHeader::parse(body)?.kind);
    match socket.answer(asked, "look a route up", kind) {
        Ok(kind) => Ok(kind == Some(RouteType::Local)),
        // There is none, or it leads nowhere.
        Err(Error::Refused(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The length of struct rtmsg.
const ROUTE_HEADER: usize = 12;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_TABLE: u16 = 15;

/// What is read from a route's attributes.
#[derive(Default)]
struct Attributes {
    destination: Option<IpAddr>,
    gateway: Option<IpAddr>,
    interface: Option<u32>,
    metric: u32,
    table: Option<u32>,
}

impl Attributes {
    fn take(&mut self, attribute: &NlaBuffer<&[u8]>) -> Result<(), DecodeError> {
        let value = attribute.value();
        match attribute.kind() {
            RTA_DST => self.destination = Some(parse_ip(value)?),
            RTA_OIF => self.interface = Some(parse_u32(value)?),
            RTA_GATEWAY => self.gateway = Some(parse_ip(value)?),
            RTA_PRIORITY => self.metric = parse_u32(value)?,
            RTA_TABLE => self.table = Some(parse_u32(value)?),
            _ => (),
        }
        Ok(())
    }

    fn hop(&self, header: &RouteHeader) -> Option<Hop> {
        match (header.kind, self.gateway, self.interface) {
            (RouteType::BlackHole, _, _) => Some(Hop::Blackhole),
            (RouteType::Unicast, Some(gateway), interface) => {
                let onlink = header.flags.contains(RouteFlags::Onlink);
                Some(Hop::Via { gateway, interface, onlink })
            }
            (RouteType::Unicast, None, Some(interface)) => Some(Hop::Link { interface }),
            _ => None,
        }
    }
}

/// Only what is asked for: see [`super::link`]. None for other tables, and for cached routes, which
/// kernels that cannot filter return too.
fn decode(body: &[u8]) -> Result<Option<Found>, DecodeError> {
    let header = RouteHeader::parse(body)?;
    let unspecified = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return Ok(None),
    };
    let mut attributes = Attributes::default();
    for attribute in NlasIterator::new(&body[ROUTE_HEADER..]) {
        attributes.take(&attribute?)?;
    }
    let table = attributes.table.unwrap_or(header.table.into());
    if table != u32::from(RouteHeader::RT_TABLE_MAIN) || header.flags.contains(RouteFlags::Cloned) {
        return Ok(None);
    }
    let address = attributes.destination.unwrap_or(unspecified);
    let destination = IpNet::new(address, header.destination_prefix_length)
        .map_err(|_| DecodeError::from("a route's prefix is longer than its address"))?;
    let hop = attributes.hop(&header);
    Ok(Some(Found { destination, hop, metric: attributes.metric, protocol: header.protocol.into() }))
}
