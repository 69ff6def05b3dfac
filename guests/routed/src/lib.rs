//! Pods without a bridge, a script in three parts:
//!
//! - per container: a veth, the next free address of each family as /32 or /128, a default route by way of a gateway
//!   that is nowhere;
//! - on the node: a route to each of these addresses by its veth, and an answer to whoever asks for the gateway, both
//!   of which the host makes of `routed`;
//! - per peer: a route to each of its pools.
//!
//! There is no subnet on a link, so pods share no broadcast, and every packet passes the node's routing.

#![no_std]

extern crate alloc;

use alloc::format;
use alloc::vec::Vec;
use core::net::IpAddr;

use podwire_sdk::config::check_mtu;
use podwire_sdk::ways::Ways;
use podwire_sdk::{
    AddPlan, AddRequest, AddressRange, Family, IpNet, Leases, NodePlan, NodeRequest, Policy, Refusal, Route,
    choose, contains, sets_of,
};
use serde::Deserialize;

#[cfg(test)]
mod tests;

/// Where the host lets a gateway be that nobody has.
const LINK_LOCAL: [&str; 2] = ["169.254.1.0/24", "fe80::/10"];

/// `config` of the network configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Routed {
    /// Of both ends of the veth, in bytes.
    mtu: Option<u32>,
    /// What pods take for their gateway, one for each family; else the customary ones.
    gateways: Vec<IpAddr>,
    /// Whether packets leave the cluster with the node's address.
    ip_masq: bool,
}

podwire_sdk::export!(Routed);

impl Policy for Routed {
    fn check(&self) -> Result<(), Refusal> {
        check_mtu("mtu", self.mtu)?;
        let blocks = LINK_LOCAL.map(|block| block.parse::<IpNet>().expect("a block"));
        for (i, gateway) in self.gateways.iter().enumerate() {
            if !blocks.iter().any(|block| contains(*block, *gateway)) {
                return Err(unusable(gateway, "a node answers only in 169.254.1.0/24 and fe80::/10"));
            }
            if self.gateways[..i].iter().any(|other| other.is_ipv4() == gateway.is_ipv4()) {
                return Err(unusable(gateway, "it is the second of its family; leave one of them out"));
            }
        }
        Ok(())
    }

    fn add(&self, request: &AddRequest, leases: &dyn Leases) -> Result<AddPlan, Refusal> {
        let pools: Vec<_> = request.node.pools.iter().map(|pool| AddressRange::of(*pool, None)).collect();
        let sets = request.range_sets.clone().unwrap_or_else(|| sets_of(&pools));
        let mut plan = AddPlan::routed();
        for route in &request.requested_routes {
            let via = self.gateway_of(Family::of(route.destination.addr()));
            plan = plan.route(Route { via: route.via.or(Some(via)), ..*route });
        }
        for address in choose(&sets, request, leases)? {
            let address = address.prefix.addr();
            plan = plan.address(address.into(), Some(self.gateway_of(Family::of(address))));
        }
        Ok(plan.default_routes().mtu(self.mtu).mac(request.requested_mac.clone()).masquerade(self.ip_masq))
    }

    fn node(&self, request: &NodeRequest) -> Result<NodePlan, Refusal> {
        Ways::default().plan(request)
    }
}

impl Routed {
    fn gateway_of(&self, family: Family) -> IpAddr {
        let own = self.gateways.iter().copied().find(|gateway| Family::of(*gateway) == family);
        own.unwrap_or(family.point_to_point_gateway())
    }
}

fn unusable(gateway: &IpAddr, why: &str) -> Refusal {
    Refusal::invalid_config(format!("config: gateways has {gateway}, but {why}"))
}
