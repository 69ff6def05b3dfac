//! What a policy may see of the addresses in use.

use alloc::string::String;
use core::fmt;
use core::net::IpAddr;

use ipnet::IpNet;

use crate::{AddressRange, after, raw};

/// The attachment that holds an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// `name` of the network configuration.
    pub network: String,
    /// CNI_CONTAINERID.
    pub container_id: String,
    /// CNI_IFNAME.
    pub ifname: String,
    /// "namespace/name", if the runtime said.
    pub pod: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pod) = &self.pod {
            write!(f, "pod {pod}, ")?;
        }
        write!(f, "{} of container {} in network {}", self.ifname, self.container_id, self.network)
    }
}

/// Addresses in use: what it says stays true until the plan is recorded. Empty in
/// [`check`](crate::Policy::check) and [`node`](crate::Policy::node).
pub trait Leases {
    /// Who holds the address. One that rests after a DEL is held by the attachment that had it.
    fn holder_of(&self, address: IpAddr) -> Option<Holder>;

    /// The first free address of the block at or after `start`, wrapping round once. A start outside of
    /// the block is taken as none. Never the network or broadcast address, nor one that the plan of an
    /// attachment on record names as a gateway or gives to a bridge.
    fn first_free(&self, block: IpNet, start: Option<IpAddr>) -> Option<IpAddr>;

    /// The address in the block that was handed out last.
    fn last_taken(&self, block: IpNet) -> Option<IpAddr>;

    /// How many addresses of the block are held.
    fn taken(&self, block: IpNet) -> u64;

    /// The next free address of the block, going round: an address that was given back rests as long as
    /// the others last. Never one of those that are `kept` back, such as a gateway.
    fn next_free(&self, block: IpNet, kept: &[IpAddr]) -> Option<IpAddr> {
        let mut start = self.last_taken(block).and_then(|last| after(block, last));
        // Free addresses come in turn, so that one after all the kept ones the round is complete.
        for _ in 0..=kept.len() {
            let free = self.first_free(block, start)?;
            if !kept.contains(&free) {
                return Some(free);
            }
            start = after(block, free);
        }
        None
    }

    /// The address of a range whose turn it is, free or not: the one after that which was handed out last. If
    /// nobody asked for a certain one, it has been held, or has rested, for the longest time.
    fn turn_in(&self, range: &AddressRange) -> IpAddr {
        if range.first == range.last {
            // The host would remember it for nothing.
            return range.first;
        }
        let last = self.last_taken(range.block()).filter(|last| range.contains(*last));
        last.map_or(range.first, |last| range.after(last))
    }

    /// The next free address of a range, going round in it: as [`next_free`](Leases::next_free) does in a
    /// block. Never its gateway.
    fn next_free_in(&self, range: &AddressRange) -> Option<IpAddr> {
        // The host goes round the subnet: where that leads out of the range, the search begins at its first.
        [self.turn_in(range), range.first].into_iter().find_map(|start| {
            let mut free = self.first_free(range.subnet, Some(start))?;
            if range.gateway == Some(free) {
                free = self.first_free(range.subnet, Some(range.after(free)))?;
            }
            (range.contains(free) && range.gateway != Some(free)).then_some(free)
        })
    }
}

/// The host's own.
pub(crate) struct Imported;

impl Leases for Imported {
    fn holder_of(&self, address: IpAddr) -> Option<Holder> {
        let raw::leases::Holder { network, container_id, ifname, pod } =
            raw::leases::holder_of(address.into())?;
        Some(Holder { network, container_id, ifname, pod })
    }

    fn first_free(&self, block: IpNet, start: Option<IpAddr>) -> Option<IpAddr> {
        raw::leases::first_free(block.into(), start.map(Into::into)).map(Into::into)
    }

    fn last_taken(&self, block: IpNet) -> Option<IpAddr> {
        raw::leases::last_taken(block.into()).map(Into::into)
    }

    fn taken(&self, block: IpNet) -> u64 {
        raw::leases::taken(block.into())
    }
}
