//! Tenants: each has blocks of addresses, a bridge and rules of its own, and the namespaces that are its.
//!
//! | module | owns |
//! | --- | --- |
//! | crate root | the answers |
//! | `tenants` | the configuration, and whose a pod is |

#![no_std]

extern crate alloc;

mod tenants;

use alloc::format;
use alloc::vec::Vec;

use podwire_sdk::ways::Ways;
use podwire_sdk::{
    AddPlan, AddRequest, Address, AddressRange, Bridge, BridgePort, Leases, Node, NodePlan, NodeRequest,
    Policy, Refusal, SpoofCheck, choose, hash, on_link, sets_of,
};

use tenants::{Isolation, Tenant, Tenants};

#[cfg(test)]
mod tests;

podwire_sdk::export!(Tenants);

impl Policy for Tenants {
    fn check(&self) -> Result<(), Refusal> {
        self.keep_apart()
    }

    fn add(&self, request: &AddRequest, leases: &dyn Leases) -> Result<AddPlan, Refusal> {
        // Isolation must hold where nobody asked whether the configuration is right, too.
        self.keep_apart()?;
        let tenant = self.of(request)?;
        let ranges = ranges(tenant, &request.node);
        if ranges.is_empty() {
            return Err(Refusal::invalid_config(format!(
                "no block of tenant {} lies in a pool of node {}: give it one",
                tenant.name, request.node.name
            )));
        }
        let mut plan = AddPlan::port_of(port(tenant, &request.node)).spoof_check(SpoofCheck::ALL);
        for Address { prefix, gateway } in choose(&sets_of(&ranges), request, leases)? {
            plan = plan.address(prefix, gateway.filter(|_| tenant.isolation != Isolation::Tenant));
        }
        plan.host_interface = tenant.host_interface(hash::stable([&*request.container_id, &*request.ifname]));
        Ok(plan.default_routes().mac(request.requested_mac.clone()).masquerade(self.ip_masq))
    }

    fn node(&self, request: &NodeRequest) -> Result<NodePlan, Refusal> {
        self.keep_apart()?;
        let mut plan = Ways::default().plan(request)?;
        let mtu = plan.pod_mtu(request);
        for tenant in self.tenants.iter().filter(|tenant| !ranges(tenant, &request.node).is_empty()) {
            let bridge = port(tenant, &request.node).bridge;
            plan = plan.bridge(Bridge { mtu: bridge.mtu.or(mtu), ..bridge });
            if tenant.isolation == Isolation::Tenant {
                // Nothing that is meant for them goes out by the node's default route.
                plan = ranges(tenant, &request.node)
                    .iter()
                    .fold(plan, |plan, range| plan.blackhole(range.subnet));
            }
        }
        Ok(plan)
    }
}

/// The tenant's blocks on this node. The first address of each is kept for the gateway, whether there is one or not:
/// isolation can then be changed under pods that live.
fn ranges(tenant: &Tenant, node: &Node) -> Vec<AddressRange> {
    let here = tenant.blocks.iter().filter(|block| node.pools.iter().any(|pool| pool.contains(*block)));
    here.filter_map(|block| AddressRange::with_gateway(*block)).collect()
}

/// A bridge that carries no address is nobody's way out.
fn port(tenant: &Tenant, node: &Node) -> BridgePort {
    let bridge = Bridge { mtu: tenant.mtu, ..Bridge::named(tenant.bridge.as_str()) };
    let gateways = ranges(tenant, node).into_iter().filter(|_| tenant.isolation != Isolation::Tenant);
    let carried = gateways.filter_map(|range| Some(on_link(range.subnet, range.gateway?)));
    BridgePort {
        hairpin: true,
        isolated: tenant.isolation == Isolation::Ports,
        ..BridgePort::of(carried.fold(bridge, Bridge::address))
    }
}
