//! podwire's default policy, which is a script in three parts:
//!
//! - per node: a bridge that carries the first address of every pool, which is its gateway;
//! - per container: a veth to a port of that bridge, the next free address of each family, and a default
//!   route by way of the bridge;
//! - per peer: a route to each of its pools, by way of the peer, of a router, or through a tunnel.
//!
//! It has the keys of the reference plugin `bridge`. A network that says by `ipam` where its addresses come
//! from has that plugin's defaults too: a bridge that is no gateway, and no routes but those of `ipam`.
//!
//! | module | owns |
//! | --- | --- |
//! | crate root | the answers |
//! | `keys` | the configuration |
//! | `addresses` | the choice of addresses |
//!
//! Whether a plan may be done is the host's to say.

#![no_std]

extern crate alloc;

mod addresses;
mod keys;

use alloc::vec::Vec;

use podwire_sdk::{
    AddPlan, AddRequest, Address, Family, IpNet, Leases, Node, NodePlan, NodeRequest, Policy, Refusal, Role,
    Route, nth, on_link,
};

use addresses::gateway_of;
use keys::{DEFAULT_VLAN, Keys, Network, Settings};

#[cfg(test)]
mod tests;

/// `RT_SCOPE_LINK` of linux/rtnetlink.h: from here on, a destination has no next hop.
const SCOPE_LINK: u8 = 253;

podwire_sdk::export!(Keys);

impl Policy for Keys {
    fn check(&self) -> Result<(), Refusal> {
        self.note();
        self.ways().check()?;
        // With these defaults nothing is on that is not given: what disagrees does so for every network.
        self.settings(Network::Reference).map(drop)
    }

    fn add(&self, request: &AddRequest, leases: &dyn Leases) -> Result<AddPlan, Refusal> {
        let settings = self.settings(Network::of(request))?;
        let mut addresses = addresses::chosen(request, leases)?;
        if self.disable_container_interface && !addresses.is_empty() {
            return Err(Refusal::invalid_config(
                "config: disableContainerInterface is true, but the network has addresses, which an interface that \
                 is down cannot use: set `ipam` to {}",
            ));
        }
        let mut port = settings.port;
        if settings.is_gateway {
            complete_gateways(&mut addresses);
            port.bridge.addresses = carried(request, &addresses)?;
        }
        let mut plan = AddPlan::port_of(port).spoof_check(settings.spoof_check);
        plan.addresses = addresses;
        plan.routes = routes(request, &plan.addresses);
        if settings.is_default_gateway {
            plan = plan.default_routes();
        }
        plan.mac = request.requested_mac.clone();
        plan.masquerade = self.ip_masq;
        plan.duplicate_address_detection = self.enabledad;
        plan.interface_down = self.disable_container_interface;
        Ok(plan)
    }

    fn node(&self, request: &NodeRequest) -> Result<NodePlan, Refusal> {
        let plan = self.ways().plan(request)?;
        if request.role == Role::Router {
            return Ok(plan);
        }
        let Settings { is_gateway, port, .. } = self.settings(Network::Native)?;
        let mut bridge = port.bridge;
        bridge.mtu = bridge.mtu.or_else(|| plan.pod_mtu(request));
        // The pods' own VLAN is made with its first pod, and its gateway with it.
        if is_gateway && port.vlans.is_none_or(|vlans| vlans.native == DEFAULT_VLAN) {
            bridge.addresses = gateways_of(&request.node)?;
        }
        let masqueraded = request.node.pools.iter().filter(|_| self.ip_masq).copied();
        Ok(masqueraded.fold(plan.bridge(bridge), NodePlan::masquerade))
    }
}

/// The bridge's own addresses: with pools the gateway of each, else those of the pod's addresses.
fn carried(request: &AddRequest, addresses: &[Address]) -> Result<Vec<IpNet>, Refusal> {
    if Network::of(request) == Network::Native {
        return gateways_of(&request.node);
    }
    let mut carried = Vec::new();
    for Address { prefix, gateway } in addresses {
        // One of another family is the host's to refuse: it is no address's gateway.
        let gateway = gateway.and_then(|gateway| IpNet::new(gateway, prefix.prefix_len()).ok());
        carried.extend(gateway.filter(|gateway| !carried.contains(gateway)));
    }
    Ok(carried)
}

fn gateways_of(node: &Node) -> Result<Vec<IpNet>, Refusal> {
    node.pools.iter().map(|pool| Ok(on_link(*pool, gateway_of(*pool)?))).collect()
}

/// Not every plugin that lends addresses names one: then it is the first address of the link.
fn complete_gateways(addresses: &mut [Address]) {
    for Address { prefix, gateway } in addresses {
        *gateway = gateway.or_else(|| nth(*prefix, 1));
    }
}

/// What the network configuration asks for, with next hops.
fn routes(request: &AddRequest, addresses: &[Address]) -> Vec<Route> {
    let gateway = |family| {
        let first = addresses.iter().find(|address| Family::of(address.prefix.addr()) == family);
        first.and_then(|address| address.gateway)
    };
    let complete = |route: &Route| {
        let on_link = route.scope.is_some_and(|scope| scope >= SCOPE_LINK);
        let missing = || gateway(Family::of(route.destination.addr())).filter(|_| !on_link);
        Route { via: route.via.or_else(missing), ..*route }
    };
    request.requested_routes.iter().map(complete).collect()
}
