//! Compares the kernel with the plan that was applied, for CHECK.
//!
//! Asks whether what podwire made is still there and right. What plugins later in the chain add (addresses,
//! routes, rules) is no difference.

use std::fmt::{self, Display};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use ipnet::IpNet;
use netlink_packet_core::{DecodeError, NlasIterator, parse_i32};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};

use crate::names::{InterfaceName, MacAddress};
use crate::plan::derived::routed_addresses;
use crate::plan::{Bridge, Checked, Wiring, marks};

use super::link::{self, Link};
use super::namespace::Namespace;
use super::route::{self, Hop, Route};
use super::socket::Socket;
use super::wiring::{container_routes, routes_to_pod};
use super::{Error, address};

/// Something that is not as planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which thing: "MTU of eth0 in the container".
    pub what: String,
    /// As planned.
    pub expected: String,
    /// As it is.
    pub found: String,
}

impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.what, self.expected, self.found)
    }
}

/// All that differs between the kernel and a plan that was applied; empty if nothing does. The calling
/// thread is in the node's network namespace.
pub fn inspect(pod: &Namespace, plan: &Checked) -> Result<Vec<Difference>, Error> {
    let mut host = Socket::route()?;
    let mut report = Report::default();
    let container = pod.run(|| End::read(&plan.container_interface))??;
    let near = End::read_with(&mut host, &plan.host_interface)?;
    if let Some(container) = &container {
        report.container(container, plan);
    } else {
        report.missing(format!("interface {} in the container", plan.container_interface));
    }
    let Some(near) = near else {
        report.missing(format!("host interface {}", plan.host_interface));
        return Ok(report.differences);
    };
    report.host_end(&near.link, plan);
    if let Some(container) = &container {
        let expected = (Some(container.link.index), namespace_number(&mut host, pod)?);
        report.peer(&near.link, expected, plan);
    }
    match &plan.wiring {
        Wiring::Bridge { bridge, .. } => report.bridge(bridge, read_bridge(&mut host, bridge)?, &near.link),
        Wiring::Routed => report.routed(&near, plan),
    }
    Ok(report.differences)
}

/// An interface with its addresses, and the routes of its namespace.
struct End {
    link: Link,
    addresses: Vec<IpNet>,
    routes: Vec<route::Found>,
}

impl End {
    fn read(name: &InterfaceName) -> Result<Option<Self>, Error> {
        Self::read_with(&mut Socket::route()?, name)
    }

    fn read_with(socket: &mut Socket, name: &InterfaceName) -> Result<Option<Self>, Error> {
        let Some(link) = link::find(socket, name)? else { return Ok(None) };
        let addresses = prefixes(socket, link.index)?;
        Ok(Some(Self { link, addresses, routes: route::all(socket)? }))
    }
}

fn prefixes(socket: &mut Socket, index: u32) -> Result<Vec<IpNet>, Error> {
    Ok(address::of(socket, index)?.into_iter().map(|found| found.prefix).collect())
}

fn read_bridge(host: &mut Socket, plan: &Bridge) -> Result<Option<(Link, Vec<IpNet>)>, Error> {
    let Some(link) = link::find(host, &plan.name)? else { return Ok(None) };
    let addresses = prefixes(host, link.index)?;
    Ok(Some((link, addresses)))
}

/// The number by which this namespace calls another one, if it has one for it.
fn namespace_number(host: &mut Socket, other: &Namespace) -> Result<Option<i32>, Error> {
    let mut message = NsidMessage::default();
    message.attributes.push(NsidAttribute::Fd(other.as_fd().as_raw_fd() as u32));
    let number = host.get(RouteNetlinkMessage::GetNsId(message), "name the container's namespace", nsid)?;
    Ok(number.flatten())
}

/// The length of struct rtgenmsg with its padding.
const NSID_HEADER: usize = 4;
const NETNSA_NSID: u16 = 1;

fn nsid(body: &[u8]) -> Result<Option<i32>, DecodeError> {
    for attribute in NlasIterator::new(body.get(NSID_HEADER..).unwrap_or_default()) {
        let attribute = attribute?;
        if attribute.kind() == NETNSA_NSID {
            return parse_i32(attribute.value()).map(|number| Some(number).filter(|number| *number >= 0));
        }
    }
    Ok(None)
}

#[derive(Default)]
struct Report {
    differences: Vec<Difference>,
}

impl Report {
    fn differs(&mut self, what: String, expected: impl Display, found: impl Display) {
        self.differences.push(Difference { what, expected: expected.to_string(), found: found.to_string() });
    }

    fn missing(&mut self, what: String) {
        self.differs(what, "present", "none");
    }

    fn compare<T: Display + PartialEq>(&mut self, what: String, expected: T, found: T) {
        if expected != found {
            self.differs(what, expected, found);
        }
    }

    fn container(&mut self, end: &End, plan: &Checked) {
        let name = format!("{} in the container", plan.container_interface);
        self.veth(&end.link, &name, plan.mac, plan.mtu);
        for planned in &plan.addresses {
            self.address(planned.prefix, &end.addresses, &name);
        }
        for planned in container_routes(end.link.index, plan) {
            self.route(&planned, &end.routes, "in the container");
        }
    }

    fn host_end(&mut self, end: &Link, plan: &Checked) {
        let name = format!("host interface {}", plan.host_interface);
        self.veth(end, &name, plan.host_mac, plan.mtu);
        self.compare(format!("group of {name}"), marks::GROUP, end.group);
    }

    /// What both ends have.
    fn veth(&mut self, end: &Link, name: &str, mac: MacAddress, mtu: Option<u32>) {
        self.compare(format!("type of {name}"), "veth", end.kind.as_deref().unwrap_or("hardware"));
        self.compare(format!("hardware address of {name}"), mac.to_string(), shown(end.mac));
        self.compare(format!("state of {name}"), "up", if end.up { "up" } else { "down" });
        if let Some(mtu) = mtu {
            self.compare(format!("MTU of {name}"), mtu, end.mtu);
        }
    }

    fn peer(&mut self, end: &Link, expected: (Option<u32>, Option<i32>), plan: &Checked) {
        if (end.peer, end.peer_namespace) != expected {
            let what = format!("peer of host interface {}", plan.host_interface);
            self.differs(what, format!("{} in the container", plan.container_interface), "another interface");
        }
    }

    fn bridge(&mut self, plan: &Bridge, found: Option<(Link, Vec<IpNet>)>, port: &Link) {
        let name = format!("bridge {}", plan.name);
        let Some((bridge, addresses)) = found else { return self.missing(name) };
        self.compare(format!("type of {name}"), "bridge", bridge.kind.as_deref().unwrap_or("hardware"));
        self.compare(format!("state of {name}"), "up", if bridge.up { "up" } else { "down" });
        for planned in &plan.addresses {
            self.address(*planned, &addresses, &name);
        }
        if port.master != Some(bridge.index) {
            let found = port.master.map_or("none".to_owned(), |index| format!("interface number {index}"));
            self.differs(format!("bridge of host interface {}", port.name), &plan.name, found);
        }
    }

    fn routed(&mut self, end: &End, plan: &Checked) {
        for planned in routed_addresses(plan) {
            self.address(planned, &end.addresses, &format!("host interface {}", plan.host_interface));
        }
        for planned in routes_to_pod(end.link.index, plan) {
            self.route(&planned, &end.routes, "on the node");
        }
    }

    fn address(&mut self, planned: IpNet, found: &[IpNet], of: &str) {
        if !found.contains(&planned) {
            self.missing(format!("address {planned} of {of}"));
        }
    }

    fn route(&mut self, planned: &Route, found: &[route::Found], place: &str) {
        if !found.iter().any(|found| is_as_planned(planned, found)) {
            self.missing(format!("route {planned} {place}"));
        }
    }
}

/// A metric that the plan does not name is not compared.
fn is_as_planned(planned: &Route, found: &route::Found) -> bool {
    found.destination == planned.destination.trunc()
        && planned.metric.is_none_or(|metric| metric == found.metric)
        && found.hop.is_some_and(|hop| way(hop) == way(planned.hop))
}

/// Gateway and interface.
fn way(hop: Hop) -> (Option<IpAddr>, Option<u32>) {
    match hop {
        Hop::Link { interface } => (None, Some(interface)),
        Hop::Via { gateway, interface, .. } => (Some(gateway), interface),
        Hop::Blackhole => (None, None),
    }
}

fn shown(mac: Option<MacAddress>) -> String {
    mac.map_or("none".to_owned(), |mac| mac.to_string())
}
