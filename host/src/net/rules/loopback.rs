//! Port mappings on 127.0.0.1.

use netlink_packet_core::DefaultNla;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};

use super::super::Error;
use super::super::inspect::Difference;
use super::super::netfilter::Attributes;
use super::super::socket::{Request, Socket};
use super::super::sysctl::Sysctl;
use crate::names::InterfaceName;
use crate::plan::{Checked, PortMapping, Wiring};

const IFLA_AF_SPEC: u16 = 26;
const AF_INET: u16 = 2;
/// linux/if_link.h.
const IFLA_INET_CONF: u16 = 1;
/// `IPV4_DEVCONF_ROUTE_LOCALNET` of linux/ip.h.
const ROUTE_LOCALNET: u16 = 26;

/// Lets the node's processes reach a plan's ports at 127.0.0.1 too: has the kernel take answers from the interface
/// that leads to the pod (net.ipv4.conf.INTERFACE.route_localnet). Anything else for 127.0.0.0/8 is dropped by the
/// rules that [`super::apply`] makes, which therefore goes first. To be called once the interface is there. Of IPv6's
/// ::1, the kernel has no such switch.
pub fn serve_loopback(plan: &Checked) -> Result<(), Error> {
    if !is_served(plan) {
        return Ok(());
    }
    let interface = leading_to_pod(plan);
    let mut socket = Socket::route()?;
    let index =
        socket.index_of(interface.as_str())?.ok_or_else(|| Error::InterfaceGone(interface.clone()))?;
    socket.apply(&[route_localnet(index, interface)])
}

/// What keeps the node's processes from a plan's ports at 127.0.0.1. That there is no interface, others say.
pub(super) fn inspect(plan: &Checked) -> Option<Difference> {
    let switch = |interface: &str| Sysctl::of_interface("ipv4", interface, "route_localnet");
    let own = switch(leading_to_pod(plan).as_str());
    let found = own.get().filter(|value| is_served(plan) && value != "1")?;
    let for_all = switch("all").get().as_deref() == Some("1");
    (!for_all).then(|| Difference { what: own.name(), expected: "1".to_owned(), found })
}

fn is_served(plan: &Checked) -> bool {
    plan.traffic.port_mappings.iter().any(is_on_loopback)
}

fn is_on_loopback(mapping: &PortMapping) -> bool {
    mapping
        .host_ip
        .is_none_or(|address| address.is_ipv4() && (address.is_unspecified() || address.is_loopback()))
}

fn leading_to_pod(plan: &Checked) -> &InterfaceName {
    match &plan.wiring {
        Wiring::Bridge { bridge, .. } => &bridge.name,
        Wiring::Routed => &plan.host_interface,
    }
}

fn route_localnet(index: u32, interface: &InterfaceName) -> Request {
    let switch = Attributes::default().bytes(ROUTE_LOCALNET, &1u32.to_ne_bytes());
    let ipv4 = Attributes::default().nested(IFLA_INET_CONF, switch);
    let families = Attributes::default().nested(AF_INET, ipv4).into_bytes();
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::Other(DefaultNla::new(IFLA_AF_SPEC, families)));
    let step = format!("let answers to 127.0.0.0/8 in by {interface}");
    Request::new(RouteNetlinkMessage::SetLink(message), 0, step)
}
