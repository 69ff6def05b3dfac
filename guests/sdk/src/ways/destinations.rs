//! Which blocks of the peers are routed at all. The host refuses a whole plan for one route that leads where none may:
//! such a block is left out here, so that no peer can take the others' routes away.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::naming::Naming;
use crate::{IpNet, NodeRequest, Peer};

/// The blocks in the order of the peers, each with the peer that has it.
pub(super) fn destinations<'a>(request: &'a NodeRequest, naming: &mut Naming) -> Vec<(&'a Peer, IpNet)> {
    let machines = machines_in_cluster(request);
    let mut owners = BTreeMap::new();
    let mut sound = Vec::with_capacity(request.peers.len());
    for peer in &request.peers {
        for pool in peer.pools.iter().map(IpNet::trunc) {
            let unfit = unfit(request, &machines, pool).or_else(|| match owners.insert(pool, peer) {
                Some(first) => {
                    owners.insert(pool, first);
                    Some(format!("peer {} has it too", first.name))
                }
                None => None,
            });
            match unfit {
                None => sound.push((peer, pool)),
                Some(why) => {
                    naming.warn(|| format!("pool {pool} of peer {} gets no route: {why}", peer.name))
                }
            }
        }
    }
    name_nested(&owners, naming);
    sound
}

/// Why no route may lead to a block, whoever has it.
fn unfit(request: &NodeRequest, machines: &[IpAddr], pool: IpNet) -> Option<String> {
    let node = &request.node;
    if !node.cluster.iter().any(|block| block.contains(&pool)) {
        return Some("it lies outside of the cluster's blocks".into());
    }
    if let Some(own) = node.pools.iter().find(|own| own.contains(&pool) || pool.contains(*own)) {
        return Some(format!("it overlaps this node's own pool {own}"));
    }
    let covered = machines.iter().find(|machine| pool.contains(*machine))?;
    Some(format!("it covers {covered}, the address of a node"))
}

/// The nodes' own addresses among those of pods: where all is in order, none.
pub(super) fn machines_in_cluster(request: &NodeRequest) -> Vec<IpAddr> {
    let peers = request.peers.iter().flat_map(|peer| &peer.addresses);
    let all = request.node.addresses.iter().chain(peers);
    all.filter(|machine| request.node.cluster.iter().any(|block| block.contains(*machine))).copied().collect()
}

/// The longest prefix wins, so both are routed; but one of the two takes what the other may give to pods. A block comes
/// before those within it.
fn name_nested(owners: &BTreeMap<IpNet, &Peer>, naming: &mut Naming) {
    let mut outer: Option<(&IpNet, &Peer)> = None;
    for (block, owner) in owners {
        match outer {
            Some((wide, first)) if wide.contains(block) => naming.warn(|| {
                format!(
                    "pool {block} of peer {} lies in {wide} of peer {}: give each its own",
                    owner.name, first.name
                )
            }),
            _ => outer = Some((block, owner)),
        }
    }
}
