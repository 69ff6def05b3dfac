//! Which addresses a pod has: one of each set of ranges, a requested one or the next that is free.
//!
//! A network without sets of its own has one for each family, of the node's pools.

use alloc::format;
use alloc::vec::Vec;
use core::net::IpAddr;

use podwire_sdk::{AddRequest, Address, AddressRange, IpNet, Leases, Node, Refusal, choose, nth, sets_of};

/// One address of each set, and with pools all that somebody asked for.
pub(crate) fn chosen(request: &AddRequest, leases: &dyn Leases) -> Result<Vec<Address>, Refusal> {
    match &request.range_sets {
        Some(sets) => choose(sets, request, leases),
        None => choose(&sets_of(&pools(&request.node)?), request, leases),
    }
}

fn pools(node: &Node) -> Result<Vec<AddressRange>, Refusal> {
    let mut pools = Vec::new();
    for pool in &node.pools {
        pools.push(AddressRange::of(*pool, Some(gateway_of(*pool)?)));
    }
    Ok(pools)
}

/// Of a pool: the first address after the network address.
pub(crate) fn gateway_of(pool: IpNet) -> Result<IpAddr, Refusal> {
    // Beside the network address and the gateway there must be room for a pod, and in IPv4 for broadcast.
    let longest = pool.max_prefix_len() - 2;
    nth(pool, 1).filter(|_| pool.prefix_len() <= longest).ok_or_else(|| {
        Refusal::invalid_config(format!(
            "pool {pool} is too small for a bridge and a pod: give the node a /{longest} or a larger one"
        ))
    })
}
