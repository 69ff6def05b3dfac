//! Routes: the requests that add, replace and remove podwire's, and what the kernel says of all.

mod found;

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{DecodeError, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, parse_u32};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
};
use rustix::io::Errno;

use super::Error;
use super::address::family;
use super::frame::attribute;
use super::socket::{Request, Socket};
use crate::plan::marks::PROTOCOL;

pub(super) use found::decode;
pub use found::{Found, all, of_all_tables};

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
    /// The largest TCP segment that the other side is told of, in bytes.
    pub advmss: Option<u32>,
    /// None: the main table.
    pub table: Option<u32>,
    /// `rtm_scope`, of which IPv6 has none; none: the link's where there is no gateway, else universal.
    pub scope: Option<u8>,
    /// The node's address that what it sends there itself comes from, unless the sender chose one.
    pub source: Option<IpAddr>,
}

/// The main table's number.
pub(super) const MAIN: u32 = RouteHeader::RT_TABLE_MAIN as u32;

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
    /// With nothing said but where it leads.
    pub fn to(destination: IpNet, hop: Hop) -> Self {
        Self {
            destination,
            hop,
            mtu: None,
            metric: None,
            advmss: None,
            table: None,
            scope: None,
            source: None,
        }
    }

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
        write_place(f, self.destination, self.effective_metric(), self.table.unwrap_or(MAIN))?;
        let details = [("mtu", self.mtu), ("advmss", self.advmss), ("scope", self.scope.map(u32::from))];
        let mut said = details.into_iter().filter_map(|(name, value)| Some((name, value?)));
        said.try_for_each(|(name, value)| write!(f, " {name} {value}"))
    }
}

/// What is as if nothing had been said of it says nothing to the operator.
fn write_place(f: &mut fmt::Formatter<'_>, destination: IpNet, metric: u32, table: u32) -> fmt::Result {
    if metric != customary_metric(destination) {
        write!(f, " metric {metric}")?;
    }
    if table != MAIN { write!(f, " table {table}") } else { Ok(()) }
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

/// Adds a route behind those that are there: what another interface of the pod has to the same destination stays
/// preferred.
pub fn append(route: &Route) -> Request {
    let step = format!("add route {route}");
    Request::new(RouteNetlinkMessage::NewRoute(message(route, PROTOCOL)), NLM_F_CREATE | NLM_F_APPEND, step)
}

/// Sets a route as a person would, who wants podwire to leave it alone.
pub fn set_static(route: &Route) -> Request {
    let step = format!("set route {route}");
    let message = message(route, RouteProtocol::Static.into());
    Request::new(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE, step)
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

/// Removes podwire's route with the same destination and metric, wherever it leads.
pub fn vacate(route: &Route) -> Request {
    let mut message = message(route, PROTOCOL);
    message.header.flags = RouteFlags::default();
    let is_of_hop = |attribute: &RouteAttribute| {
        matches!(
            attribute,
            RouteAttribute::Gateway(_) | RouteAttribute::Oif(_) | RouteAttribute::PrefSource(_)
        )
    };
    message.attributes.retain(|attribute| !is_of_hop(attribute));
    let step = format!("delete the route to {}", route.destination);
    Request::new(RouteNetlinkMessage::DelRoute(message), 0, step).tolerating(&[Errno::SRCH])
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
    // It counts more than the header's, which has room for 256 tables only.
    message.attributes.extend(route.table.map(RouteAttribute::Table));
    message.attributes.extend(metrics(route));
    message.attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(source.into())));
    set_hop(&mut message, route.hop);
    if let Some(scope) = route.scope {
        message.header.scope = scope.into();
    }
    message
}

fn metrics(route: &Route) -> Option<RouteAttribute> {
    let metrics = [route.mtu.map(RouteMetric::Mtu), route.advmss.map(RouteMetric::Advmss)];
    let metrics: Vec<_> = metrics.into_iter().flatten().collect();
    (!metrics.is_empty()).then_some(RouteAttribute::Metrics(metrics))
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

/// How the node reaches an address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// It answers for it itself.
    pub(super) is_local: bool,
    /// Over the link of an address of its own: on the interface of that index, that address with the link's prefix.
    /// IPv6 does not tell.
    pub(super) link: Option<(u32, IpNet)>,
}

/// What the kernel says to [`to`].
pub(super) fn way(socket: &mut Socket, asked: u32) -> Result<Way, Error> {
    match socket.answer(asked, "look a route up", Way::decode) {
        Ok(way) => Ok(way.unwrap_or_default()),
        // There is none, or it leads nowhere.
        Err(Error::Refused(_)) => Ok(Way::default()),
        Err(error) => Err(error),
    }
}

impl Way {
    fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let header = RouteHeader::parse(body)?;
        let value = |kind| attribute(body.get(ROUTE_HEADER..).unwrap_or_default(), kind);
        let interface = value(RTA_OIF)?.map(|interface| parse_u32(interface.value())).transpose()?;
        let own = value(RTA_PREFSRC)?.and_then(|own| <[u8; 4]>::try_from(own.value()).ok());
        let link = own.and_then(|own| IpNet::new(own.into(), header.destination_prefix_length).ok());
        // The kernel makes one for each address; what somebody else made may say anything.
        let link = link.filter(|_| header.protocol == RouteProtocol::Kernel);
        Ok(Self { is_local: header.kind == RouteType::Local, link: interface.zip(link) })
    }
}

/// The length of struct rtmsg.
const ROUTE_HEADER: usize = 12;
const RTA_OIF: u16 = 4;
const RTA_PREFSRC: u16 = 7;
