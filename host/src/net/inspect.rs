//! Compares the kernel with the plan that was applied, for CHECK.
//!
//! Asks whether what podwire made is still there and right. What plugins later in the chain add (addresses,
//! routes, rules) is no difference.

use std::fmt::{self, Display};
use std::os::fd::{AsFd, AsRawFd};

use ipnet::IpNet;
use netlink_packet_core::{DecodeError, NlasIterator, parse_i32};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};

use crate::names::{InterfaceName, MacAddress};
use crate::plan::derived::{VlanGateway, bridge_mac, divided, is_in_the_way, is_podwires, routed_addresses};
use crate::plan::{Bridge, Checked, PortVlans, Wiring, marks};

use super::link::{self, Link};
use super::namespace::Namespace;
use super::route::{self, Route};
use super::socket::Socket;
use super::sysctl::forwarding_for;
use super::vlan::Memberships;
use super::wiring::{container_routes, routes_to_pod};
use super::{DEFAULT_MTU, Error, address, rules, shaping};

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
    let routes =
        if plan.routes.iter().any(|route| route.table.is_some()) { route::of_all_tables } else { route::all };
    let container = pod.run(|| End::read(&mut Socket::route()?, &plan.container_interface, routes))??;
    let near = End::read(&mut host, &plan.host_interface, route::all)?;
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
        report.room_for_packets(&container.link, &near.link, plan);
    }
    match &plan.wiring {
        Wiring::Bridge { bridge, hairpin, isolated, vlans } => {
            let found = read_bridge(&mut host, bridge)?;
            if let Some((vlans, (bridge, _))) = vlans.as_ref().zip(found.as_ref()) {
                let port = &near.link;
                report.vlans(vlans, bridge, port, &Memberships::of(&mut host, port.index, vlans)?);
            }
            let (bridge, gateway) = &divided(bridge, vlans.as_ref());
            let index = found.as_ref().map(|(bridge, _)| bridge.index);
            report.bridge(bridge, found, &near.link, (*hairpin, *isolated));
            if let Some(gateway) = gateway {
                report.gateway(gateway, index, &mut host)?;
            }
        }
        Wiring::Routed => report.routed(&near, plan),
    }
    if let Some(bandwidth) = &plan.traffic.bandwidth {
        let limits = shaping::inspect(&mut host, near.link.interface(), bandwidth, near.link.mtu)?;
        report.differences.extend(limits);
    }
    report.forwarding(plan);
    report.differences.extend(rules::inspect(plan)?);
    Ok(report.differences)
}

/// An interface with its addresses, and the routes of its namespace.
struct End {
    link: Link,
    addresses: Vec<address::Found>,
    routes: Vec<route::Found>,
}

impl End {
    fn read(
        socket: &mut Socket,
        name: &InterfaceName,
        routes: impl Fn(&mut Socket) -> Result<Vec<route::Found>, Error>,
    ) -> Result<Option<Self>, Error> {
        let Some(link) = link::find(socket, name)? else { return Ok(None) };
        let addresses = address::of(socket, link.index)?;
        Ok(Some(Self { link, addresses, routes: routes(socket)? }))
    }
}

fn read_bridge(host: &mut Socket, plan: &Bridge) -> Result<Option<(Link, Vec<address::Found>)>, Error> {
    let Some(link) = link::find(host, &plan.name)? else { return Ok(None) };
    let addresses = address::of(host, link.index)?;
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
        self.compare(format!("state of {name}"), state(!plan.interface_down), state(end.link.up));
        for planned in &plan.addresses {
            self.address(planned.prefix, &end.addresses, &name);
        }
        for planned in container_routes(end.link.index, plan) {
            self.route(&planned, &end.routes, "in the container");
        }
    }

    fn host_end(&mut self, end: &Link, plan: &Checked) {
        let name = format!("host interface {}", plan.host_interface);
        self.veth(end, &name, plan.host_mac, planned_mtu(plan));
        self.compare(format!("state of {name}"), state(true), state(end.up));
        self.compare(format!("group of {name}"), marks::GROUP, end.group);
    }

    /// What both ends have.
    fn veth(&mut self, end: &Link, name: &str, mac: MacAddress, mtu: Option<u32>) {
        self.compare(format!("type of {name}"), "veth", end.kind.as_deref().unwrap_or("hardware"));
        self.compare(format!("hardware address of {name}"), mac.to_string(), shown(end.mac));
        if let Some(mtu) = mtu {
            self.compare(format!("MTU of {name}"), mtu, end.mtu);
        }
    }

    /// What is longer than the host's end takes, it drops. Plugins later in the chain may have the container send
    /// shorter packets, unless the plan itself says how long they are.
    fn room_for_packets(&mut self, container: &Link, near: &Link, plan: &Checked) {
        let most = near.mtu.max(planned_mtu(plan).unwrap_or_default());
        if plan.mtu.is_none() && container.mtu > most {
            let what = format!("MTU of {} in the container", plan.container_interface);
            self.differs(what, format!("at most {most}"), container.mtu);
        }
    }

    /// What [`super::wire`] switches on and others may have switched off.
    fn forwarding(&mut self, plan: &Checked) {
        for switch in forwarding_for(plan) {
            self.compare(switch.name(), "1", switch.get().as_deref().unwrap_or("none"));
        }
    }

    fn peer(&mut self, end: &Link, expected: (Option<u32>, Option<i32>), plan: &Checked) {
        if (end.peer, end.peer_namespace) != expected {
            let what = format!("peer of host interface {}", plan.host_interface);
            self.differs(what, format!("{} in the container", plan.container_interface), "another interface");
        }
    }

    fn bridge(
        &mut self,
        plan: &Bridge,
        found: Option<(Link, Vec<address::Found>)>,
        port: &Link,
        (hairpin, isolated): (bool, bool),
    ) {
        let name = format!("bridge {}", plan.name);
        let Some((bridge, addresses)) = found else { return self.missing(name) };
        self.compare(format!("type of {name}"), "bridge", bridge.kind.as_deref().unwrap_or("hardware"));
        self.compare(format!("state of {name}"), state(true), state(bridge.up));
        if plan.promiscuous && !bridge.promiscuous {
            self.differs(format!("promiscuous mode of {name}"), "on", "off");
        }
        if let Some(mtu) = plan.mtu {
            self.compare(format!("MTU of {name}"), mtu, bridge.mtu);
        }
        // Which of those it is depends on the plan by which it was made: another network's, perhaps.
        if bridge.group == marks::GROUP && !is_podwires(bridge.hardware_address()) {
            let expected = format!("{}, or another of podwire's", bridge_mac(plan));
            self.differs(format!("hardware address of {name}"), expected, bridge.hardware_address());
        }
        self.carried(plan, &addresses, &name);
        if port.master != Some(bridge.index) {
            let found = port.master.map_or("none".to_owned(), |index| format!("interface number {index}"));
            self.differs(format!("bridge of host interface {}", port.name), &plan.name, found);
            return;
        }
        for (option, planned, found) in
            [("hairpin mode", hairpin, port.hairpin), ("isolation", isolated, port.isolated)]
        {
            self.compare(format!("{option} of host interface {}", port.name), on(planned), on(found));
        }
    }

    /// What a bridge, or a gateway in its place, has of the plan's addresses.
    fn carried(&mut self, plan: &Bridge, found: &[address::Found], name: &str) {
        for planned in &plan.addresses {
            self.address(*planned, found, name);
        }
        for other in found.iter().filter(|found| is_in_the_way(plan, &found.prefix)) {
            self.differs(format!("address {} of {name}", other.prefix), "none", "present");
        }
    }

    fn gateway(&mut self, plan: &VlanGateway, bridge: Option<u32>, host: &mut Socket) -> Result<(), Error> {
        let name = format!("interface {}", plan.interface.name);
        let Some((link, addresses)) = read_bridge(host, &plan.interface)? else {
            self.missing(name);
            return Ok(());
        };
        self.compare(format!("state of {name}"), state(true), state(link.up));
        self.carried(&plan.interface, &addresses, &name);
        let Some(port) = link::find(host, &plan.port)? else { return Ok(()) };
        if port.master != bridge || !port.up {
            self.differs(
                format!("interface {}", port.name),
                "a port of the bridge, and up",
                "something else",
            );
        }
        let found = Memberships::of(host, port.index, &plan.vlans)?;
        self.compare(format!("VLANs of interface {}", port.name), Memberships::planned(&plan.vlans), found);
        Ok(())
    }

    fn vlans(&mut self, plan: &PortVlans, bridge: &Link, port: &Link, found: &Memberships) {
        if !bridge.vlan_filtering {
            self.differs(format!("VLAN filtering of bridge {}", bridge.name), "on", "off");
        }
        let planned = Memberships::planned(plan);
        if *found != planned {
            self.differs(format!("VLANs of host interface {}", port.name), planned, found);
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

    /// One that is still being asked for on the link is as planned.
    fn address(&mut self, planned: IpNet, found: &[address::Found], of: &str) {
        let what = || format!("address {planned} of {of}");
        match found.iter().find(|found| found.prefix == planned) {
            None => self.missing(what()),
            Some(found) if found.duplicate => self.differs(what(), "in use", "somebody else's on the link"),
            Some(_) => (),
        }
    }

    fn route(&mut self, planned: &Route, found: &[route::Found], place: &str) {
        if !found.iter().any(|found| found.is_as_planned(planned)) {
            self.missing(format!("route {planned} {place}"));
        }
    }
}

/// Of the host's end; none: as the bridge had it.
fn planned_mtu(plan: &Checked) -> Option<u32> {
    plan.mtu.or(match &plan.wiring {
        Wiring::Bridge { bridge, .. } => bridge.mtu,
        Wiring::Routed => Some(DEFAULT_MTU),
    })
}

fn on(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn state(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}

fn shown(mac: Option<MacAddress>) -> String {
    mac.map_or("none".to_owned(), |mac| mac.to_string())
}
