//! Which block a node gets: pure functions over what is reserved.
//!
//! The rules: a node keeps its block; a new one gets the lowest that overlaps nothing reserved; only if there is none,
//! one of a node that is no member any more. Knows nothing of etcd but that a reservation has a key and a revision.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A block that belongs to a node, whether it lives or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reservation {
    /// The block as its key has it, which need not be how it is usually written.
    pub(super) text: String,
    /// Without host bits.
    pub(super) block: IpNet,
    /// The node's name.
    pub(super) owner: String,
    /// When it was last renewed; higher is later.
    pub(super) revision: i64,
}

/// How a node comes to a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// By a reservation of its own.
    Kept(Reservation),
    /// Nothing that is reserved overlaps it.
    Free(IpNet),
    /// From a node that is no member any more.
    TakenOver(Reservation),
}

impl Choice {
    /// The block.
    pub(super) fn block(&self) -> IpNet {
        match self {
            Self::Kept(reservation) | Self::TakenOver(reservation) => reservation.block,
            Self::Free(block) => *block,
        }
    }
}

/// No block is left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// None of the cluster's blocks is as large as a node's.
    #[error(
        "no block of /{length} for a node fits into the cluster's {family} blocks ({cluster}): enlarge `cluster` in \
         node.json, or `nodeBlock` in agent.json"
    )]
    TooSmall {
        /// `IPv4` or `IPv6`
        family: &'static str,
        /// Of a node's block.
        length: u8,
        /// The cluster's blocks of this family.
        cluster: String,
    },
    /// All belong to members.
    #[error(
        "the cluster's {family} blocks ({cluster}) hold {size} blocks of /{length} for nodes, and none is left: \
         {reserved} are reserved, all by nodes that are members now or in other sizes; enlarge `cluster` in node.json \
         on all nodes, or take nodes away"
    )]
    Full {
        /// `IPv4` or `IPv6`
        family: &'static str,
        /// Of a node's block.
        length: u8,
        /// The cluster's blocks of this family.
        cluster: String,
        /// How many such blocks there can be.
        size: u128,
        /// How many reservations lie in the cluster's blocks.
        reserved: usize,
    },
}

/// Where a node's block may come from: the cluster's blocks of one family, the lowest first.
#[derive(Debug, Clone)]
pub(super) struct Space {
    cluster: Vec<IpNet>,
    length: u8,
}

impl Space {
    /// One for each family that the cluster has.
    pub(super) fn of_families(cluster: &[IpNet], length_in: impl Fn(&IpNet) -> u8) -> Vec<Self> {
        let is_v4 = |block: &IpNet| matches!(block, IpNet::V4(_));
        let (v4, v6): (Vec<_>, Vec<_>) = cluster.iter().partition(|block| is_v4(block));
        let space = |mut cluster: Vec<IpNet>| {
            cluster.sort_unstable();
            cluster.dedup();
            let length = cluster.first().map(&length_in)?;
            Some(Self { cluster, length })
        };
        [v4, v6].into_iter().filter_map(space).collect()
    }

    /// The block of the node of that name.
    pub(super) fn choose(
        &self,
        name: &str,
        reserved: &[Reservation],
        members: &BTreeSet<&str>,
    ) -> Result<Choice, Exhausted> {
        let usable = || reserved.iter().filter(|reservation| self.fits(reservation));
        if let Some(own) = usable().filter(|reservation| reservation.owner == name).min_by_key(|r| r.block) {
            return Ok(Choice::Kept(own.clone()));
        }
        if let Some(block) = self.lowest_free(reserved) {
            return Ok(Choice::Free(block));
        }
        let left = usable().filter(|reservation| !members.contains(reservation.owner.as_str()));
        let oldest = left.min_by_key(|reservation| reservation.revision);
        oldest.cloned().map(Choice::TakenOver).ok_or_else(|| self.exhausted(reserved))
    }

    /// One whose key is written otherwise than podwire would is nobody's to use: it would be reserved twice.
    fn fits(&self, Reservation { text, block, .. }: &Reservation) -> bool {
        let is_inside = || self.cluster.iter().any(|cluster| cluster.contains(block));
        block.prefix_len() == self.length && *text == block.to_string() && is_inside()
    }

    fn lowest_free(&self, reserved: &[Reservation]) -> Option<IpNet> {
        let mut taken: Vec<Span> = reserved.iter().filter_map(|r| self.span(r.block)).collect();
        taken.sort_unstable_by_key(|span| span.first);
        let fitting = self.cluster.iter().filter(|block| block.prefix_len() <= self.length);
        fitting.filter_map(|block| self.span(*block)).find_map(|span| self.lowest_in(span, &taken))
    }

    /// Goes from one reservation to the next, not from block to block: of those there may be 2^64.
    fn lowest_in(&self, space: Span, taken: &[Span]) -> Option<IpNet> {
        let rest = self.size() - 1;
        let mut first = space.first;
        for span in taken.iter().filter(|span| span.last >= space.first && span.first <= space.last) {
            if first | rest < span.first {
                break;
            }
            // The next that begins behind it.
            first = first.max((span.last | rest).checked_add(1)?);
        }
        (first | rest <= space.last).then(|| self.block_at(first)).flatten()
    }

    /// How many addresses a node's block has.
    fn size(&self) -> u128 {
        1 << (self.bits() - u32::from(self.length))
    }

    fn bits(&self) -> u32 {
        self.cluster.first().map_or(32, |block| block.max_prefix_len().into())
    }

    fn block_at(&self, first: u128) -> Option<IpNet> {
        match self.bits() {
            32 => Ipv4Net::new(u32::try_from(first).ok()?.into(), self.length).ok().map(IpNet::V4),
            _ => Ipv6Net::new(first.into(), self.length).ok().map(IpNet::V6),
        }
    }

    /// None if it is of the other family.
    fn span(&self, block: IpNet) -> Option<Span> {
        let same = u32::from(block.max_prefix_len()) == self.bits();
        same.then(|| Span { first: number(block.network()), last: number(block.broadcast()) })
    }

    fn exhausted(&self, reserved: &[Reservation]) -> Exhausted {
        let family = if self.bits() == 32 { "IPv4" } else { "IPv6" };
        let cluster = self.cluster.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ");
        let within = |block: IpNet| self.cluster.iter().any(|c| c.contains(&block) || block.contains(c));
        let blocks_in = |c: &IpNet| self.length.checked_sub(c.prefix_len()).map_or(0, |bits| 1u128 << bits);
        match self.cluster.iter().map(blocks_in).sum() {
            0 => Exhausted::TooSmall { family, length: self.length, cluster },
            size => {
                let reserved = reserved.iter().filter(|reservation| within(reservation.block)).count();
                Exhausted::Full { family, length: self.length, cluster, size, reserved }
            }
        }
    }
}

/// First and last address of a block, as numbers.
#[derive(Debug, Clone, Copy)]
struct Span {
    first: u128,
    last: u128,
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

#[cfg(test)]
#[path = "blocks_tests.rs"]
mod tests;
