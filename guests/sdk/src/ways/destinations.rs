//! Which blocks of the peers are routed at all. The host refuses a whole plan for one route that leads where none may:
//! such a block is left out here, so that no peer can take the others' routes away.
//!
//! There may be thousands: blocks are compared as numbers, and found by hashing.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::naming::Naming;
use crate::address::{number, numbers};
use crate::{IpNet, Node, NodeRequest, Peer};

/// A block as numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    ipv6: bool,
    first: u128,
    last: u128,
}

impl Span {
    pub(super) fn of(block: IpNet) -> Self {
        let (first, last) = numbers(block).into_inner();
        Self { ipv6: block.addr().is_ipv6(), first, last }
    }

    fn contains(&self, other: &Self) -> bool {
        self.ipv6 == other.ipv6 && self.first <= other.first && other.last <= self.last
    }

    pub(super) fn holds(&self, address: IpAddr) -> bool {
        let number = number(address);
        self.ipv6 == address.is_ipv6() && self.first <= number && number <= self.last
    }

    /// Its addresses, less one: in binary, a one for each bit of them that is free.
    fn size(&self) -> u128 {
        self.last - self.first
    }

    /// The block of that size around it.
    fn within(&self, size: u128) -> Self {
        let first = self.first & !size;
        Self { first, last: first | size, ..*self }
    }
}

/// A peer's block.
#[derive(Clone, Copy)]
pub(super) struct Destination<'a> {
    pub(super) peer: &'a Peer,
    pub(super) block: IpNet,
    span: Span,
}

/// The blocks in the order of the peers, each with the peer that has it. The first to have a block keeps it.
pub(super) fn destinations<'a>(request: &'a NodeRequest, naming: &mut Naming) -> Vec<Destination<'a>> {
    let land = Land::of(request);
    let mut sound = Owners::with_room(request.peers.iter().map(|peer| peer.pools.len()).sum());
    for peer in &request.peers {
        for pool in &peer.pools {
            let destination = Destination { peer, block: *pool, span: Span::of(*pool) };
            let outcome = match land.unfit(&request.node, &destination.span) {
                None => sound.insert(destination),
                Some(why) => Err(why),
            };
            if let Err(why) = outcome {
                naming.warn(|| format!("pool {pool} of peer {} gets no route: {why}", peer.name));
            }
        }
    }
    sound.name_nested(naming);
    sound.all
}

/// What a peer's block is held against.
struct Land {
    cluster: Vec<Span>,
    pools: Vec<Span>,
    machines: Vec<IpAddr>,
}

impl Land {
    fn of(request: &NodeRequest) -> Self {
        let spans = |blocks: &[IpNet]| blocks.iter().copied().map(Span::of).collect();
        let Node { cluster, pools, .. } = &request.node;
        Self { cluster: spans(cluster), pools: spans(pools), machines: machines_in_cluster(request) }
    }

    /// Why no route may lead to a block, whoever has it.
    fn unfit(&self, node: &Node, block: &Span) -> Option<String> {
        if !self.cluster.iter().any(|wide| wide.contains(block)) {
            return Some("it lies outside of the cluster's blocks".into());
        }
        if let Some(i) = self.pools.iter().position(|own| own.contains(block) || block.contains(own)) {
            return Some(format!("it overlaps this node's own pool {}", node.pools[i]));
        }
        let covered = self.machines.iter().find(|machine| block.holds(**machine))?;
        Some(format!("it covers {covered}, the address of a node"))
    }
}

/// The nodes' own addresses among those of pods: where all is in order, none.
pub(super) fn machines_in_cluster(request: &NodeRequest) -> Vec<IpAddr> {
    let cluster: Vec<_> = request.node.cluster.iter().copied().map(Span::of).collect();
    let peers = request.peers.iter().flat_map(|peer| &peer.addresses);
    let is_inside = |machine: &&IpAddr| cluster.iter().any(|block| block.holds(**machine));
    request.node.addresses.iter().chain(peers).filter(is_inside).copied().collect()
}

/// More sizes of blocks than that are not looked through.
const SIZES: usize = 8;

/// A place in the table that is free.
const NOBODY: u32 = u32::MAX;

/// Blocks by what they are, in a table of places in the list, which is at least twice as long as there are blocks.
struct Owners<'a> {
    all: Vec<Destination<'a>>,
    table: Vec<u32>,
}

impl<'a> Owners<'a> {
    fn with_room(blocks: usize) -> Self {
        let table = alloc::vec![NOBODY; (2 * blocks).next_power_of_two()];
        Self { all: Vec::with_capacity(blocks), table }
    }

    /// Where the block is, or would be.
    fn slot(&self, block: &Span) -> usize {
        // Fibonacci hashing: the product's upper bits depend on all of the number's.
        let folded = (block.first >> 64) as u64 ^ block.first as u64 ^ block.size() as u64;
        let hash = folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let last = self.table.len() - 1;
        let mut slot = hash as usize & last;
        while self.owner_at(slot).is_some_and(|owner| owner.span != *block) {
            slot = (slot + 1) & last;
        }
        slot
    }

    fn owner_at(&self, slot: usize) -> Option<&Destination<'a>> {
        self.all.get(self.table[slot] as usize)
    }

    fn find(&self, block: &Span) -> Option<&Destination<'a>> {
        self.owner_at(self.slot(block))
    }

    /// Fails if somebody has that block already.
    fn insert(&mut self, owner: Destination<'a>) -> Result<(), String> {
        let slot = self.slot(&owner.span);
        if let Some(first) = self.owner_at(slot) {
            return Err(format!("peer {} has it too", first.peer.name));
        }
        self.table[slot] = self.all.len() as u32;
        self.all.push(owner);
        Ok(())
    }

    /// The longest prefix wins, so both are routed; but one of the two takes what the other may give to pods.
    fn name_nested(&self, naming: &mut Naming) {
        let mut sizes: Vec<(bool, u128)> = Vec::new();
        for owner in &self.all {
            let size = (owner.span.ipv6, owner.span.size());
            if sizes.len() < SIZES && !sizes.contains(&size) {
                sizes.push(size);
            }
        }
        for inner in &self.all {
            let larger = |size: &&(bool, u128)| size.0 == inner.span.ipv6 && size.1 > inner.span.size();
            let mut around = sizes.iter().filter(larger).map(|size| inner.span.within(size.1));
            if let Some(outer) = around.find_map(|block| self.find(&block)) {
                naming.warn(|| nested(inner, outer));
            }
        }
    }
}

fn nested(inner: &Destination<'_>, outer: &Destination<'_>) -> String {
    let (small, large) = (inner.block, outer.block);
    let (one, other) = (&inner.peer.name, &outer.peer.name);
    format!("pool {small} of peer {one} lies in {large} of peer {other}: give each its own")
}
