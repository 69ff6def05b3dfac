//! One pod's wiring: a veth pair, its host end connected as the plan says, its other end in the pod's
//! namespace with addresses and routes. Whole or not at all.

use std::net::IpAddr;
use std::os::fd::AsFd;

use ipnet::IpNet;
use rustix::io::Errno;

use crate::names::{InterfaceName, MacAddress};
use crate::plan::derived::{node_interface, routed_addresses, vlan_gateway};
use crate::plan::{Checked, Wiring};

use super::link::{self, Interface, Veth};
use super::namespace::Namespace;
use super::route::{self, Hop, Route};
use super::socket::{Request, Socket};
use super::sysctl::{Families, enable_ipv6};
use super::{Error, Refused, address, announcement, bridge, rules, shaping, vlan};

mod container;
mod gateway;
mod ground;
mod last;

pub(super) use container::container_routes;

use container::configure_container;
use ground::{Found, Prepared, look_around, prepare};
use last::finish;

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
    /// Of the interface by which the node speaks to the pod: the bridge's, or that of a VLAN on it.
    index: u32,
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

/// Tells the other pods of the bridge who has the addresses now, if they may remember somebody else. Those that
/// nobody had before are remembered by nobody: the announcement, which goes to every port, is spared.
pub fn announce(wired: &Wired, plan: &Checked, never_held: &[IpAddr]) {
    if let Some(bridge) = &wired.bridge {
        announcement::send(bridge.index, plan, never_held);
    }
}

fn link_up(host: &mut Socket, pod: &Namespace, plan: &Checked, found: Found) -> Result<Wired, Error> {
    let mut prepared = prepare(host, pod, plan, found)?;
    let index = create_veth(host, pod, plan, &mut prepared)?;
    let end = Interface { index, name: plan.host_interface.as_str() };
    connect(host, end, pod, plan, &prepared).map_err(|error| undo(host, end, plan, error))?;
    if let Some(bridge) = &mut prepared.wired.bridge {
        let gateway = node_interface(plan).filter(|name| *name != bridge.name);
        bridge.index = gateway.and_then(|gateway| index_of(host, &gateway).ok()).unwrap_or(bridge.index);
    }
    Ok(prepared.wired)
}

/// Has the veth made together with the requests before it, and returns the host end's index.
fn create_veth(
    host: &mut Socket,
    pod: &Namespace,
    plan: &Checked,
    prepared: &mut Prepared,
) -> Result<u32, Error> {
    let veth = Veth {
        near: &plan.host_interface,
        near_mac: Some(plan.host_mac),
        far: &plan.container_interface,
        far_mac: Some(plan.mac),
        mtu: prepared.wired.mtu,
        master: prepared.bridge.as_ref().map(|bridge| bridge.index),
    };
    let mut requests = std::mem::take(&mut prepared.before);
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
        if vlans.is_some() {
            bridge::filter_by_vlan(host, before, bridge)?;
        }
        if let Some(gateway) = vlan_gateway(bridge, vlans.as_ref()) {
            gateway::ensure(host, before, &gateway, plan)?;
        }
        // With all ports that it gets.
        bridge::keep_address(host, before, bridge)?;
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
