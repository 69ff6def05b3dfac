//! The wires: a switch for each site, the machines on them, and the router between.
//!
//! Knows machines and addresses; nothing of pods, and nothing of podwire.

use std::net::IpAddr;
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::layout::{Lab, Shape, on_underlay};
use super::{namespace, namespaces, say};
use crate::names::{InterfaceName, MacAddress};
use crate::net::bridge::{self, Vlans};
use crate::net::link::{self, Interface, Veth};
use crate::net::namespace::Namespace;
use crate::net::route::{self, Hop, Route};
use crate::net::socket::{Request, Socket};
use crate::net::sysctl::Sysctl;
use crate::net::{DEFAULT_MTU, address};

/// A machine's interface in the network between nodes.
const UPLINK: &str = "eth0";

/// Where all cables end: a bridge for each site.
pub(super) fn switch(sites: u8) -> Result<()> {
    say("switch", "a bridge that stands for the wire between the nodes");
    let made = namespaces::make("switch")?;
    Namespace::open(&made)?.run(|| -> Result<()> {
        let mut socket = Socket::route()?;
        for site in 1..=sites {
            let bridge = bridge_of(site);
            let mac = MacAddress([0x0a, 0x58, 0xc0, 0xa8, site, 0x00]);
            socket.apply(&[bridge::creation(&name(&bridge)?, mac, Vlans::Ignored)])?;
            socket.apply(&[link::set_up(interface(&socket, &bridge)?)])?;
        }
        Ok(())
    })?
}

fn bridge_of(site: u8) -> String {
    format!("br{}", site - 1)
}

/// A machine on a site's switch, with its addresses.
pub(super) fn machine(of: &str, site: u8, addresses: &[IpAddr]) -> Result<()> {
    let machine = bare_machine(of)?;
    cable(of, &machine, site, UPLINK, addresses)
}

fn bare_machine(of: &str) -> Result<Namespace> {
    println!();
    let machine = Namespace::open(&namespaces::make(of)?)?;
    in_machine(&machine, |socket| Ok(vec![link::set_up(interface(socket, "lo")?)]))?;
    Ok(machine)
}

/// A cable to the switch, whose port has the machine's name.
fn cable(of: &str, machine: &Namespace, site: u8, uplink: &str, addresses: &[IpAddr]) -> Result<()> {
    let with_length: Vec<String> = addresses.iter().map(|a| on_underlay(*a).to_string()).collect();
    say(of, &format!("a machine: {uplink} {} on the switch", with_length.join(", ")));
    let port = port_of(of, uplink);
    Namespace::open(&namespace("switch"))?.run(|| -> Result<()> {
        let mut socket = Socket::route()?;
        let veth = Veth {
            near: &name(&port)?,
            near_mac: None,
            far: &name(uplink)?,
            far_mac: None,
            mtu: DEFAULT_MTU,
            master: Some(interface(&socket, &bridge_of(site))?.index),
        };
        socket.apply(&[link::create_veth(&veth, machine.as_fd())])?;
        Ok(socket.apply(&[link::set_up(interface(&socket, &port)?)])?)
    })??;
    in_machine(machine, |socket| {
        let uplink = interface(socket, uplink)?;
        let addresses = addresses.iter().map(|one| address::add(uplink, on_underlay(*one)));
        Ok([link::set_up(uplink)].into_iter().chain(addresses).collect())
    })
}

fn port_of(machine: &str, uplink: &str) -> String {
    match uplink {
        UPLINK => machine.to_owned(),
        other => format!("{machine}-{other}"),
    }
}

/// The lecture's better way: one router, and the nodes only know the router. With several sites it has an interface
/// in each.
pub(super) fn router(lab: &Lab) -> Result<()> {
    let router = bare_machine("router")?;
    for site in 1..=lab.shape.sites {
        let uplink = format!("eth{}", site - 1);
        cable("router", &router, site, &uplink, &lab.shape.router(site))?;
        // A router that sends packets out where they came in would tell the senders of a shorter way.
        router.run(|| Sysctl::of_interface("ipv4", &uplink, "send_redirects").set("0"))??;
    }
    let switches = [
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv4.conf.all.send_redirects", "0"),
        ("net.ipv6.conf.all.forwarding", "1"),
    ];
    Ok(router.run(|| switches.iter().try_for_each(|(switch, value)| Sysctl::named(switch).set(value)))??)
}

/// The routes of a router without an agent: to the pods of each node by way of the node.
pub(super) fn routes_of_router(lab: &Lab) -> Result<()> {
    let routes: Vec<Route> = lab.nodes.iter().flat_map(|node| ways(&node.pools, &node.addresses)).collect();
    in_machine(&Namespace::open(&namespace("router"))?, |_| {
        Ok(routes.iter().map(route::set_static).collect())
    })?;
    routes.iter().for_each(|route| say("router", &format!("route {route}")));
    Ok(())
}

/// Everything by way of the router.
pub(super) fn default_routes(machine: &str, site: u8, shape: &Shape) -> Result<()> {
    let router = shape.router(site);
    let everything = [IpNet::from(Ipv4Net::default()), IpNet::from(Ipv6Net::default())];
    say(machine, &format!("default route via {}", router[0]));
    let routes = ways(&everything, &router);
    in_machine(&Namespace::open(&namespace(machine))?, |_| Ok(routes.iter().map(route::set_static).collect()))
}

/// To each destination by way of the machine's address of that family.
fn ways(destinations: &[IpNet], machine: &[IpAddr]) -> Vec<Route> {
    let via = |destination: &IpNet| {
        let gateway = *machine.iter().find(|via| via.is_ipv4() == destination.addr().is_ipv4())?;
        Some(Route::to(*destination, Hop::Via { gateway, interface: None, onlink: false }))
    };
    destinations.iter().filter_map(via).collect()
}

/// Cuts a machine's cable, or mends it.
pub(super) fn connect(machine: &str, is_connected: bool) -> Result<()> {
    Namespace::open(&namespace("switch"))?.run(|| -> Result<()> {
        let mut socket = Socket::route()?;
        let port = interface(&socket, machine)?;
        let request = if is_connected { link::set_up(port) } else { link::set_down(port) };
        Ok(socket.apply(&[request])?)
    })?
}

/// Takes a machine from its switch to that of another site, where it has other addresses.
pub(super) fn carry(machine: &str, from: &[IpAddr], site: u8, to: &[IpAddr]) -> Result<()> {
    Namespace::open(&namespace("switch"))?.run(|| -> Result<()> {
        let mut socket = Socket::route()?;
        let bridge = bridge_of(site);
        let (port, bridge) = (interface(&socket, machine)?, interface(&socket, &bridge)?);
        Ok(socket.apply(&[link::set_master(port, bridge)])?)
    })??;
    in_machine(&Namespace::open(&namespace(machine))?, |socket| {
        let uplink = interface(socket, UPLINK)?;
        let old = from.iter().map(|one| address::delete(uplink, on_underlay(*one)));
        Ok(old.chain(to.iter().map(|one| address::add(uplink, on_underlay(*one)))).collect())
    })
}

fn in_machine(machine: &Namespace, requests: impl FnOnce(&Socket) -> Result<Vec<Request>>) -> Result<()> {
    machine.run(|| -> Result<()> {
        let mut socket = Socket::route()?;
        let requests = requests(&socket)?;
        Ok(socket.apply(&requests)?)
    })?
}

fn name(text: &str) -> Result<InterfaceName> {
    Ok(text.parse()?)
}

fn interface<'a>(socket: &Socket, name: &'a str) -> Result<Interface<'a>> {
    let index = socket.index_of(name)?.with_context(|| format!("{name} is gone"))?;
    Ok(Interface { index, name })
}
