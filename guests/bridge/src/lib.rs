//! podwire's default policy, which is a script in three parts:
//!
//! - per node: a bridge that carries the first address of every pool, which is its gateway;
//! - per container: a veth to a port of that bridge, the next free address of each family, and a default
//!   route by way of the bridge;
//! - per peer: a route to each of its pools by way of the peer.
//!
//! It owns the choice of addresses; whether a plan may be done is the host's to say.

#![no_std]

extern crate alloc;

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::net::IpAddr;

use podwire_sdk::config::check_interface_name;
use podwire_sdk::{
    AddPlan, AddRequest, Bridge, BridgePort, Family, IpNet, Leases, NextHop, Node, NodePlan, NodeRequest,
    Policy, Refusal, log, nth,
};
use serde::Deserialize;

#[cfg(test)]
mod tests;

/// What the operator may configure.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Script {
    /// The bridge's name.
    bridge: String,
    /// Of the bridge, and so of the veths, in bytes; none: 1,500, or what the bridge already has.
    mtu: Option<u32>,
    /// Whether a pod reaches itself by the address of a service that it backs.
    hairpin: bool,
    /// Whether the pods of a node are kept from reaching each other.
    isolated: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self { bridge: "cni0".to_string(), mtu: None, hairpin: true, isolated: false }
    }
}

podwire_sdk::export!(Script);

impl Policy for Script {
    fn check(&self) -> Result<(), Refusal> {
        check_interface_name("bridge", &self.bridge)?;
        match self.mtu.filter(|mtu| !(68..=65_535).contains(mtu)) {
            Some(mtu) => Err(Refusal::invalid_config(format!(
                "config: mtu {mtu} is out of range: use 68 to 65535 bytes, with IPv6 1280 at least"
            ))),
            None => Ok(()),
        }
    }

    fn add(&self, request: &AddRequest, leases: &dyn Leases) -> Result<AddPlan, Refusal> {
        let bridge = self.bridge(&request.node)?;
        let port = BridgePort { bridge, hairpin: self.hairpin, isolated: self.isolated };
        let mut plan = AddPlan::port_of(port);
        for (address, pool) in addresses(request, leases)? {
            let gateway = gateway_of(pool)?;
            plan = plan.address(on_link_of(pool, address), Some(gateway));
            if !plan.has_default_route(Family::of(gateway)) {
                plan = plan.default_route(gateway);
            }
        }
        plan.mac = request.requested_mac.clone();
        Ok(plan)
    }

    fn node(&self, request: &NodeRequest) -> Result<NodePlan, Refusal> {
        let mut plan = NodePlan::default().bridge(self.bridge(&request.node)?);
        for peer in &request.peers {
            for pool in &peer.pools {
                let family = Family::of(pool.addr());
                match peer.address_of(family) {
                    Some(via) => plan = plan.route(*pool, NextHop::Via(via)),
                    // The others must not lose their routes by it.
                    None => log::warn(&format!(
                        "peer {} has no {family} address by which to reach its pool {pool}: give it one",
                        peer.name
                    )),
                }
            }
        }
        Ok(plan)
    }
}

impl Script {
    fn bridge(&self, node: &Node) -> Result<Bridge, Refusal> {
        let carried = |pool: &IpNet| Ok(on_link_of(*pool, gateway_of(*pool)?));
        let addresses = node.pools.iter().map(carried).collect::<Result<_, Refusal>>()?;
        Ok(Bridge { name: self.bridge.clone(), addresses, mtu: self.mtu })
    }
}

/// What somebody asked for; and of every family that has pools and of which nobody asked for an address,
/// the next free one.
fn addresses(request: &AddRequest, leases: &dyn Leases) -> Result<Vec<(IpAddr, IpNet)>, Refusal> {
    let asked = request.requested_addresses.iter();
    let mut chosen =
        asked.map(|asked| granted(asked.addr(), &request.node, leases)).collect::<Result<Vec<_>, _>>()?;
    for family in Family::BOTH {
        let missing = !chosen.iter().any(|(address, _)| Family::of(*address) == family);
        if missing && request.node.pools_of(family).next().is_some() {
            chosen.push(next_free(family, &request.node, leases)?);
        }
    }
    Ok(chosen)
}

fn granted(asked: IpAddr, node: &Node, leases: &dyn Leases) -> Result<(IpAddr, IpNet), Refusal> {
    let denied = |why| Refusal::denied(format!("requested address {asked} {why}: ask for another, or none"));
    let Some(pool) = node.pool_with(asked) else {
        let pools: Vec<_> = node.pools.iter().map(IpNet::to_string).collect();
        return Err(denied(format!("is in no pool of node {}, which has {}", node.name, pools.join(", "))));
    };
    if asked == gateway_of(pool)? {
        return Err(denied(format!("is the bridge's own, the gateway of {pool}")));
    }
    match leases.holder_of(asked) {
        Some(holder) => Err(denied(format!("is held by {holder}"))),
        None => Ok((asked, pool)),
    }
}

fn next_free(family: Family, node: &Node, leases: &dyn Leases) -> Result<(IpAddr, IpNet), Refusal> {
    for pool in node.pools_of(family) {
        if let Some(address) = leases.next_free(pool, &[gateway_of(pool)?]) {
            return Ok((address, pool));
        }
    }
    let full = |pool| format!("{pool} ({} held)", leases.taken(pool));
    let full: Vec<_> = node.pools_of(family).map(full).collect();
    Err(Refusal::exhausted(format!(
        "no {family} address is left in {} on node {}: delete pods, or give the node another pool",
        full.join(", "),
        node.name
    )))
}

/// The first address after the network address.
fn gateway_of(pool: IpNet) -> Result<IpAddr, Refusal> {
    // Beside the network address and the gateway there must be room for a pod, and in IPv4 for broadcast.
    let longest = pool.max_prefix_len() - 2;
    nth(pool, 1).filter(|_| pool.prefix_len() <= longest).ok_or_else(|| {
        Refusal::invalid_config(format!(
            "pool {pool} is too small for a bridge and a pod: give the node a /{longest} or a larger one"
        ))
    })
}

fn on_link_of(pool: IpNet, address: IpAddr) -> IpNet {
    IpNet::new(address, pool.prefix_len()).expect("an address has the family of the pool that holds it")
}
