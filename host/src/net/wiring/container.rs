//! The container's end, configured inside its namespace.

use std::net::IpAddr;

use super::super::link::{self, Interface};
use super::super::route::{self, Hop, Route};
use super::super::socket::Socket;
use super::super::sysctl::Sysctl;
use super::super::{Error, address};
use super::{families, index_of, with_ipv6};
use crate::plan::{Checked, Wiring};

/// Runs inside the pod's namespace.
pub(super) fn configure_container(plan: &Checked) -> Result<(), Error> {
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
pub(in crate::net) fn container_routes(interface: u32, plan: &Checked) -> Vec<Route> {
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
        source: None,
    };
    plan.routes.iter().map(route).collect()
}
