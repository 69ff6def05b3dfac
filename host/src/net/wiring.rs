//! One pod's wiring: a veth pair, its host end connected as the plan says, its other end in the pod's
//! namespace with addresses and routes. Whole or not at all.

use std::net::IpAddr;
use std::os::fd::AsFd;

use ipnet::IpNet;
use netlink_packet_core::NetlinkSerializable;
use netlink_packet_route::RouteNetlinkMessage;
use rustix::io::Errno;

use crate::names::{InterfaceName, MacAddress};
use crate::plan::derived::{forwarded, routed_addresses};
use crate::plan::{Checked, Wiring};

use super::link::{self, Interface, Link, Veth};
use super::namespace::Namespace;
use super::route::{self, Hop, Route};
use super::socket::{Request, Socket};
use super::sysctl::{Families, Sysctl, enable_ipv6};
use super::{
    DEFAULT_MTU, Error, Refused, address, announcement, bridge, carrier, forwarding, neighbour, rules,
    shaping, vlan,
};

/// What became true beyond the plan, for the CNI result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wired {
    /// Of both ends of the veth, in bytes.
    pub mtu: u32,
    /// With bridge wiring.
    pub bridge: Option<WiredBridge>,
}

/// The bridge of which the host's end is a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WiredBridge {
    /// Its name.
    pub name: InterfaceName,
    /// Its hardware address.
    pub mac: MacAddress,
    /// In bytes.
    pub mtu: u32,
}

/// Wires a pod. The calling thread is in the node's network namespace.
///
/// If it fails, the veth and the pod's rules are gone again, and forwarding is as it was. A bridge that was made for
/// it stays: it is the node's, and other pods may be its ports already. So do the node's rules, and what a bridge that
/// was there has been given: addresses, its link set up. Nothing is taken from such a bridge, nor its MTU or modes
/// changed, before the pod's interface has all that it needs.
pub fn wire(pod: &Namespace, plan: &Checked) -> Result<Wired, Error> {
    let mut host = Socket::route()?;
    // The kernel would say so too, but only after the bridge was given an address.
    if host.index_of(plan.host_interface.as_str())?.is_some() {
        return Err(Error::HostInterfaceTaken(plan.host_interface.clone()));
    }
    let found = look_around(&mut host, plan)?;
    // They need no interface; and what the pod must not do is forbidden before it can do anything.
    rules::apply(plan)?;
    link_up(&mut host, pod, plan, found).map_err(|error| match rules::remove(plan) {
        Ok(()) => error,
        Err(left) => not_undone(plan, error, left),
    })
}

fn link_up(host: &mut Socket, pod: &Namespace, plan: &Checked, found: Found) -> Result<Wired, Error> {
    let prepared = prepare(host, pod, plan, found)?;
    let index = create_veth(host, pod, plan, &prepared)?;
    let end = Interface { index, name: plan.host_interface.as_str() };
    connect(host, end, pod, plan, &prepared).map_err(|error| undo(host, end, plan, error))?;
    if let Some(bridge) = &prepared.bridge {
        announcement::send(bridge.index, plan);
    }
    Ok(prepared.wired)
}

/// What is there before anything is done.
struct Found {
    bridge: Option<Link>,
    /// Addresses of the node on whose links the pod's addresses are, with their interfaces.
    links: Vec<(u32, IpNet)>,
}

impl Found {
    /// What a bridge is known to carry.
    fn carried_by(&self, bridge: u32) -> Vec<IpNet> {
        self.links.iter().filter(|(index, _)| *index == bridge).map(|(_, prefix)| *prefix).collect()
    }
}

/// The bridge, if it is there. An error if the node itself has one of the addresses: no lease knows of one that
/// an operator gave to an interface, or that a bridge still carries from a plan whose pods are gone.
fn look_around(host: &mut Socket, plan: &Checked) -> Result<Found, Error> {
    let addresses = || plan.addresses.iter().map(|address| address.prefix.addr());
    let bridge = match &plan.wiring {
        Wiring::Bridge { bridge, .. } => Some(bridge),
        Wiring::Routed => None,
    };
    let by_name = bridge.map(|bridge| link::by_name(&bridge.name));
    let questions: Vec<_> = addresses().map(route::to).chain(by_name).collect();
    let mut asked = host.ask(&questions)?..;
    let mut links = Vec::with_capacity(plan.addresses.len());
    for (address, asked) in addresses().zip(&mut asked) {
        let way = route::way(host, asked)?;
        if way.is_local {
            return Err(Error::AddressOfNode(address));
        }
        links.extend(way.link);
    }
    let Some((planned, asked)) = bridge.zip(asked.next()) else { return Ok(Found { bridge: None, links }) };
    let bridge = link::found(host, asked)?.map(|found| bridge::check(found, planned)).transpose()?;
    Ok(Found { bridge, links })
}

/// What is known before the veth is made.
struct Prepared {
    wired: Wired,
    /// As it was found, or made.
    bridge: Option<Link>,
    /// What gives the bridge what it lacks.
    before: Vec<Request>,
    /// The same, where others would miss what the bridge had.
    after: Vec<Request>,
}

impl Prepared {
    fn without_bridge(mtu: u32) -> Self {
        let wired = Wired { mtu, bridge: None };
        Self { wired, bridge: None, before: Vec::new(), after: Vec::new() }
    }
}

fn prepare(host: &mut Socket, pod: &Namespace, plan: &Checked, before: Found) -> Result<Prepared, Error> {
    let Wiring::Bridge { bridge: planned, vlans, .. } = &plan.wiring else {
        return Ok(Prepared::without_bridge(plan.mtu.unwrap_or(DEFAULT_MTU)));
    };
    let carried = before.bridge.as_ref().map(|bridge| before.carried_by(bridge.index)).unwrap_or_default();
    let is_new = before.bridge.is_none();
    let found = match before.bridge {
        Some(found) => found,
        None => {
            // What the kernel would say of the veth: no bridge is made for one that cannot be.
            taken(host, pod, plan).map_or(Ok(()), Err)?;
            bridge::create(host, planned, bridge::Vlans::needed(vlans.as_ref()))?
        }
    };
    let mac = found.hardware_address();
    let cleared = bridge::clear(host, &found, planned)?;
    let alters = !is_new && (!cleared.is_empty() || bridge::Lacks::of(&found, planned).alters());
    let mut requests = bridge::settle(&found, planned)?;
    requests.extend(cleared);
    requests.extend(bridge::ensure_addresses(found.interface(), mac, planned, &carried));
    requests.extend(neighbour::correct(found.interface(), plan));
    let (before, after) = if alters {
        (bridge::ensure_link_local(found.interface(), mac, planned).into_iter().collect(), requests)
    } else {
        (requests, Vec::new())
    };
    let mtu = planned.mtu.unwrap_or(found.mtu);
    let bridge = WiredBridge { name: planned.name.clone(), mac, mtu };
    let wired = Wired { mtu: plan.mtu.unwrap_or(mtu), bridge: Some(bridge) };
    Ok(Prepared { wired, bridge: Some(found), before, after })
}

/// Has the veth made together with the requests before it, and returns the host end's index.
fn create_veth(
    host: &mut Socket,
    pod: &Namespace,
    plan: &Checked,
    prepared: &Prepared,
) -> Result<u32, Error> {
    let veth = Veth {
        near: &plan.host_interface,
        near_mac: Some(plan.host_mac),
        far: &plan.container_interface,
        far_mac: Some(plan.mac),
        mtu: prepared.wired.mtu,
        master: prepared.bridge.as_ref().map(|bridge| bridge.index),
    };
    let mut requests = prepared.before.clone();
    let last = requests.len();
    requests.push(link::create_veth(&veth, pod.as_fd()));
    let mut refused = host.attempt(&requests)?;
    if let Some(refusal) = refused.pop_if(|refusal| refusal.position == last) {
        return Err(not_made(host, pod, plan, refusal));
    }
    let index = index_of(host, &plan.host_interface)?;
    let end = Interface { index, name: plan.host_interface.as_str() };
    Error::from_refusals(refused).map_err(|error| undo(host, end, plan, error))?;
    Ok(index)
}

/// Which of the two names the kernel meant, or else what it said.
fn not_made(host: &Socket, pod: &Namespace, plan: &Checked, refusal: Refused) -> Error {
    match (refusal.errno, &plan.wiring) {
        (Errno::EXIST, _) => taken(host, pod, plan).unwrap_or_else(|| refusal.into()),
        (Errno::XFULL, Wiring::Bridge { bridge, .. }) => Error::BridgeFull(bridge.name.clone()),
        _ => refusal.into(),
    }
}

/// Whether one of the veth's two names is in use.
fn taken(host: &Socket, pod: &Namespace, plan: &Checked) -> Option<Error> {
    let (near, far) = (&plan.host_interface, &plan.container_interface);
    let there = |name: &InterfaceName| Socket::route().and_then(|socket| socket.index_of(name.as_str()));
    if let Ok(Some(_)) = host.index_of(near.as_str()) {
        return Some(Error::HostInterfaceTaken(near.clone()));
    }
    match pod.run(|| there(far)) {
        Ok(Ok(Some(_))) => Some(Error::ContainerInterfaceTaken(far.clone())),
        _ => None,
    }
}

/// The host's end first: when the other end comes up, both have their carrier, and what the kernel shall
/// not do by itself must be said before.
fn connect(
    host: &mut Socket,
    end: Interface<'_>,
    pod: &Namespace,
    plan: &Checked,
    prepared: &Prepared,
) -> Result<(), Error> {
    if let (Some(before), Wiring::Bridge { bridge, vlans, .. }) = (&prepared.bridge, &plan.wiring) {
        bridge::keep_address(host, before, bridge)?;
        if vlans.is_some() {
            bridge::filter_by_vlan(host, before, bridge)?;
        }
    }
    let mut requests = match &plan.traffic.bandwidth {
        Some(bandwidth) => shaping::requests(host, end, bandwidth, prepared.wired.mtu)?,
        None => Vec::new(),
    };
    requests.extend(host_requests(host, end, plan)?);
    host.apply(&requests)?;
    pod.run(|| configure_container(plan))??;
    rules::serve_loopback(plan)?;
    host.apply(&prepared.after)?;
    finish(host, end, plan)
}

/// What is asked at the end, in one send.
enum Last {
    Carrier(RouteNetlinkMessage),
    Forwarding(forwarding::Question),
}

impl NetlinkSerializable for Last {
    fn message_type(&self) -> u16 {
        match self {
            Self::Carrier(question) => question.message_type(),
            Self::Forwarding(question) => question.message_type(),
        }
    }

    fn buffer_len(&self) -> usize {
        match self {
            Self::Carrier(question) => question.buffer_len(),
            Self::Forwarding(question) => question.buffer_len(),
        }
    }

    fn serialize(&self, buffer: &mut [u8]) {
        match self {
            Self::Carrier(question) => question.serialize(buffer),
            Self::Forwarding(question) => question.serialize(buffer),
        }
    }
}

/// Whoever hears that the pod is wired sends it packets.
fn finish(host: &mut Socket, end: Interface<'_>, plan: &Checked) -> Result<(), Error> {
    let carrier = (!plan.interface_down).then(|| Last::Carrier(carrier::question(end)));
    let waits = carrier.is_some();
    let families = Families::of(forwarded(plan));
    let questions: Vec<_> =
        carrier.into_iter().chain(forwarding::questions(families).map(Last::Forwarding)).collect();
    let mut asked = host.ask(&questions)?..;
    if let Some(asked) = waits.then(|| asked.next()).flatten() {
        carrier::wait(host, asked, end)?;
    }
    // Last, since it cannot be undone: others may count on it a moment later.
    forwarding::ensure(host, families, asked)
}

fn host_requests(host: &mut Socket, end: Interface<'_>, plan: &Checked) -> Result<Vec<Request>, Error> {
    // In this order: of a change to a link that is up and has no carrier, the kernel tells IPv6, which then walks
    // through the routes of all links.
    let mut requests = vec![link::no_link_local(end), link::set_up(end)];
    match &plan.wiring {
        Wiring::Bridge { hairpin, isolated, vlans, .. } => {
            requests.extend(vlans.iter().flat_map(|vlans| vlan::set(end, vlans)));
            if *hairpin || *isolated {
                requests.push(bridge::set_port(end, *hairpin, *isolated));
            }
        }
        Wiring::Routed => {
            if families(plan).ipv6 {
                with_ipv6(host, &plan.host_interface)?;
            }
            requests.extend(routed_addresses(plan).into_iter().map(|prefix| address::add(end, prefix)));
            requests.extend(routes_to_pod(end.index, plan).iter().map(route::add));
        }
    }
    Ok(requests)
}

/// The index of an end that shall have IPv6 addresses. Whether it can is asked of the kernel: a file below
/// /proc/sys is found among those of the same name of every other namespace, one by one.
fn with_ipv6(socket: &mut Socket, name: &InterfaceName) -> Result<u32, Error> {
    let end = link::find(socket, name)?.ok_or_else(|| Error::InterfaceGone(name.clone()))?;
    if !end.has_ipv6 {
        enable_ipv6(name.as_str())?;
    }
    Ok(end.index)
}

/// The node's routes to each of the pod's addresses.
pub(super) fn routes_to_pod(interface: u32, plan: &Checked) -> Vec<Route> {
    let to = |address: IpAddr| Route::to(IpNet::from(address), Hop::Link { interface });
    plan.addresses.iter().map(|address| to(address.prefix.addr())).collect()
}

/// Runs inside the pod's namespace.
fn configure_container(plan: &Checked) -> Result<(), Error> {
    let mut container = Socket::route()?;
    for (path, value) in &plan.sysctls {
        Sysctl::planned(path).set(value)?;
    }
    let (name, has_ipv6) = (&plan.container_interface, families(plan).ipv6);
    let index = if has_ipv6 { with_ipv6(&mut container, name)? } else { index_of(&container, name)? };
    let end = Interface { index, name: name.as_str() };
    if plan.duplicate_address_detection && has_ipv6 {
        // Only the kernel knows when an address is in use, and may be announced.
        Sysctl::of_interface("ipv6", name.as_str(), "ndisc_notify").set("1")?;
    }
    let mut requests = Vec::with_capacity(2 + plan.addresses.len() + plan.routes.len());
    if !has_ipv6 {
        // Its announcements would be flooded to every port of the bridge, for nothing.
        requests.push(link::no_link_local(end));
    }
    if !plan.interface_down {
        requests.push(link::set_up(end));
    }
    let add = if plan.duplicate_address_detection { address::add_with_detection } else { address::add };
    requests.extend(plan.addresses.iter().map(|planned| add(end, planned.prefix)));
    requests.extend(container_routes(index, plan).iter().map(route::append));
    container.apply(&requests)
}

/// The plan's routes, by the container's interface.
pub(super) fn container_routes(interface: u32, plan: &Checked) -> Vec<Route> {
    let onlink = plan.wiring == Wiring::Routed;
    let hop = |via: Option<IpAddr>| match via {
        Some(gateway) => Hop::Via { gateway, interface: Some(interface), onlink },
        None => Hop::Link { interface },
    };
    let route = |planned: &crate::plan::Route| Route {
        destination: planned.destination,
        hop: hop(planned.via),
        mtu: planned.mtu,
        metric: planned.metric,
        advmss: planned.advmss,
        table: planned.table,
        scope: planned.scope,
    };
    plan.routes.iter().map(route).collect()
}

fn families(plan: &Checked) -> Families {
    Families::of(plan.addresses.iter().map(|address| &address.prefix))
}

fn index_of(socket: &Socket, name: &InterfaceName) -> Result<u32, Error> {
    socket.index_of(name.as_str())?.ok_or_else(|| Error::InterfaceGone(name.clone()))
}

/// With the host's end go the other, and all addresses and routes of both.
fn undo(host: &mut Socket, end: Interface<'_>, plan: &Checked, error: Error) -> Error {
    let ifb = match &plan.traffic.bandwidth {
        Some(_) => shaping::find_ifb(host, end.name),
        None => Ok(None),
    };
    let mut requests = vec![link::delete(end)];
    let undone = ifb.and_then(|ifb| {
        requests.extend(ifb.iter().map(|ifb| link::delete(ifb.interface())));
        host.apply(&requests)
    });
    match undone {
        Ok(()) => error,
        Err(left) => not_undone(plan, error, left),
    }
}

fn not_undone(plan: &Checked, error: Error, left: Error) -> Error {
    let interface = plan.host_interface.clone();
    Error::NotUndone { error: Box::new(error), interface, left: Box::new(left) }
}
