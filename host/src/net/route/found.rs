//! What the kernel says of routes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::{DecodeError, NlaBuffer, NlasIterator, parse_ip, parse_u32};
use netlink_packet_route::route::{RouteFlags, RouteHeader, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use super::super::frame::attribute;
use super::super::{Error, address};
use super::{Hop, MAIN, Route, write_place, write_route};
use crate::net::socket::Socket;
use crate::plan::marks::PROTOCOL;

/// A route as the kernel says.
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
    /// In bytes, if it says so.
    pub mtu: Option<u32>,
    /// In bytes, if it says so.
    pub advmss: Option<u32>,
    /// 254 is the main table.
    pub table: u32,
    /// `rtm_scope`; in IPv6 always 0.
    pub scope: u8,
    /// The node's address that what it sends there itself comes from, if it says so.
    pub source: Option<IpAddr>,
}

impl Found {
    /// Whether podwire made it.
    pub fn is_ours(&self) -> bool {
        self.protocol == PROTOCOL
    }

    /// To name it when it is removed.
    pub fn as_route(&self) -> Option<Route> {
        let Self { destination, hop, metric, .. } = *self;
        hop.map(|hop| Route { metric: Some(metric), ..Route::to(destination, hop) })
    }

    /// Whether it is as a plan has it. What the plan does not say is not compared.
    pub fn is_as_planned(&self, planned: &Route) -> bool {
        let alike = |planned: Option<u32>, found| planned.is_none_or(|planned| found == Some(planned));
        let clamped = |planned: Option<u32>, most: u32| planned.map(|planned| planned.min(most));
        self.destination == planned.destination.trunc()
            && self.hop.is_some_and(|hop| way(hop) == way(planned.hop))
            && self.table == planned.table.unwrap_or(MAIN)
            && alike(planned.metric, Some(self.metric))
            && alike(clamped(planned.mtu, MOST_MTU), self.mtu)
            && alike(clamped(planned.advmss, MOST_ADVMSS), self.advmss)
            && (self.destination.addr().is_ipv6() || planned.scope.is_none_or(|scope| scope == self.scope))
    }
}

/// Gateway and interface.
fn way(hop: Hop) -> (Option<IpAddr>, Option<u32>) {
    match hop {
        Hop::Link { interface } => (None, Some(interface)),
        Hop::Via { gateway, interface, .. } => (Some(gateway), interface),
        Hop::Blackhole => (None, None),
    }
}

/// What the kernel keeps of more (`ip_metrics_convert` of net/ipv4/metrics.c).
const MOST_MTU: u32 = 65_535 - 15;
const MOST_ADVMSS: u32 = 65_535 - 40;

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hop {
            Some(hop) => write_route(f, self.destination, hop)?,
            None => write!(f, "{} of another type", self.destination)?,
        }
        write_place(f, self.destination, self.metric, self.table)?;
        write!(f, " proto {}", self.protocol)
    }
}

/// The main table's routes of both families.
pub fn all(socket: &mut Socket) -> Result<Vec<Found>, Error> {
    of_families(socket, RouteHeader::RT_TABLE_MAIN)
}

/// Every table's routes of both families, the kernel's own among them.
pub fn of_all_tables(socket: &mut Socket) -> Result<Vec<Found>, Error> {
    of_families(socket, RouteHeader::RT_TABLE_UNSPEC)
}

fn of_families(socket: &mut Socket, table: u8) -> Result<Vec<Found>, Error> {
    let mut found = of_family(socket, AddressFamily::Inet, table)?;
    found.extend(of_family(socket, AddressFamily::Inet6, table)?);
    Ok(found)
}

fn of_family(socket: &mut Socket, family: AddressFamily, table: u8) -> Result<Vec<Found>, Error> {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.table = table;
    // A kernel without IPv6 answers the question for it with what it has.
    let wanted = |found: &Found| {
        address::family(found.destination.addr()) == family
            && (table == RouteHeader::RT_TABLE_UNSPEC || found.table == u32::from(table))
    };
    let decode = |body: &[u8]| Ok(decode(body)?.filter(wanted));
    match socket.dump(&RouteNetlinkMessage::GetRoute(message), "routes", decode) {
        // A table is made with its first route.
        Err(Error::Refused(refused)) if refused.errno == Errno::NOENT => Ok(Vec::new()),
        found => found,
    }
}

/// The length of struct rtmsg.
const ROUTE_HEADER: usize = 12;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_TABLE: u16 = 15;
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;

/// What is read from a route's attributes.
#[derive(Default)]
struct Attributes {
    destination: Option<IpAddr>,
    gateway: Option<IpAddr>,
    interface: Option<u32>,
    metric: u32,
    table: Option<u32>,
    mtu: Option<u32>,
    advmss: Option<u32>,
    source: Option<IpAddr>,
}

impl Attributes {
    fn take(&mut self, attribute: &NlaBuffer<&[u8]>) -> Result<(), DecodeError> {
        let value = attribute.value();
        match attribute.kind() {
            RTA_DST => self.destination = Some(parse_ip(value)?),
            RTA_OIF => self.interface = Some(parse_u32(value)?),
            RTA_GATEWAY => self.gateway = Some(parse_ip(value)?),
            RTA_PRIORITY => self.metric = parse_u32(value)?,
            RTA_PREFSRC => self.source = Some(parse_ip(value)?),
            RTA_TABLE => self.table = Some(parse_u32(value)?),
            RTA_METRICS => {
                self.mtu = number(value, RTAX_MTU)?;
                self.advmss = number(value, RTAX_ADVMSS)?;
            }
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

fn number(attributes: &[u8], kind: u16) -> Result<Option<u32>, DecodeError> {
    attribute(attributes, kind)?.map(|number| parse_u32(number.value())).transpose()
}

/// Only what is asked for: see [`super::super::link`]. None for cached routes, which kernels that cannot filter
/// return too.
pub(in crate::net) fn decode(body: &[u8]) -> Result<Option<Found>, DecodeError> {
    let header = RouteHeader::parse(body)?;
    let unspecified = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return Ok(None),
    };
    if header.flags.contains(RouteFlags::Cloned) {
        return Ok(None);
    }
    let mut attributes = Attributes::default();
    for attribute in NlasIterator::new(&body[ROUTE_HEADER..]) {
        attributes.take(&attribute?)?;
    }
    let address = attributes.destination.unwrap_or(unspecified);
    let destination = IpNet::new(address, header.destination_prefix_length)
        .map_err(|_| DecodeError::from("a route's prefix is longer than its address"))?;
    Ok(Some(Found {
        destination,
        hop: attributes.hop(&header),
        metric: attributes.metric,
        protocol: header.protocol.into(),
        mtu: attributes.mtu,
        advmss: attributes.advmss,
        table: attributes.table.unwrap_or(header.table.into()),
        scope: header.scope.into(),
        source: attributes.source,
    }))
}
