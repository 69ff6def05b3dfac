//! Parts of blocks from which addresses are given.

use core::fmt;
use core::net::IpAddr;

use ipnet::IpNet;

use crate::address::{number, numbers};
use crate::after;

/// A part of a pool from which addresses are given: a range of host-local's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    /// The prefix of the addresses' link.
    pub subnet: IpNet,
    /// The first address, itself included.
    pub first: IpAddr,
    /// The last address, itself included. Never less than `first`.
    pub last: IpAddr,
    /// The link's gateway, which nobody is given.
    pub gateway: Option<IpAddr>,
}

impl AddressRange {
    /// All of a block. The host keeps back what of it nobody may have.
    pub fn of(subnet: IpNet, gateway: Option<IpAddr>) -> Self {
        Self { subnet, first: subnet.network(), last: subnet.broadcast(), gateway }
    }

    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        // IPv4 addresses come before all others: one of another family is never between.
        self.first <= address && address <= self.last
    }

    /// The address after one in it, going round: after the last comes the first.
    pub fn after(&self, address: IpAddr) -> IpAddr {
        let next = after(self.subnet, address).filter(|next| self.contains(*next));
        next.unwrap_or(self.first)
    }

    /// The smallest block around it, by which its last address is remembered apart from those of other
    /// ranges of the subnet.
    pub(crate) fn block(&self) -> IpNet {
        let differing = u128::BITS - (number(self.first) ^ number(self.last)).leading_zeros();
        let length = self.subnet.max_prefix_len().saturating_sub(differing as u8);
        IpNet::new(self.first, length).map_or(self.subnet, |block| block.trunc())
    }

    /// Whether nothing of its subnet that a machine may have lies outside.
    fn is_whole(&self) -> bool {
        let (network, end) = numbers(self.subnet).into_inner();
        number(self.first).saturating_sub(network) <= 1 && end.saturating_sub(number(self.last)) <= 1
    }
}

/// The subnet, and which part of it.
impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_whole() {
            write!(f, "{}-{} of ", self.first, self.last)?;
        }
        write!(f, "{}", self.subnet)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use crate::testing::range;

    #[test]
    fn a_range_has_its_first_and_its_last() {
        let range = range("10.244.1.0/24", "10.244.1.10", "10.244.1.20");
        for (address, inside) in
            [("10.244.1.9", false), ("10.244.1.10", true), ("10.244.1.20", true), ("10.244.1.21", false)]
        {
            assert_eq!(range.contains(address.parse().expect("an address")), inside, "{address}");
        }
        assert!(!range.contains("::10.244.1.15".parse().expect("an address")), "another family");
    }

    #[test]
    fn after_the_last_comes_the_first() {
        for (first, last, address, next) in [
            ("10.244.1.7", "10.244.1.9", "10.244.1.7", "10.244.1.8"),
            ("10.244.1.7", "10.244.1.9", "10.244.1.9", "10.244.1.7"),
            ("10.244.1.7", "10.244.1.255", "10.244.1.255", "10.244.1.7"),
            ("10.244.1.7", "10.244.1.7", "10.244.1.7", "10.244.1.7"),
        ] {
            let after = range("10.244.1.0/24", first, last).after(address.parse().expect("an address"));
            assert_eq!(after.to_string(), next, "{first} to {last}: {address}");
        }
    }

    #[test]
    fn a_range_is_remembered_by_the_block_around_it() {
        for (subnet, first, last, block) in [
            ("10.244.1.0/24", "10.244.1.1", "10.244.1.254", "10.244.1.0/24"),
            ("10.244.1.0/24", "10.244.1.130", "10.244.1.200", "10.244.1.128/25"),
            ("10.244.1.0/24", "10.244.1.9", "10.244.1.9", "10.244.1.9/32"),
            ("fd00::/64", "fd00::1", "fd00::ffff:ffff:ffff:ffff", "fd00::/64"),
            ("::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"),
        ] {
            assert_eq!(range(subnet, first, last).block().to_string(), block);
        }
    }

    #[test]
    fn a_part_is_called_one() {
        for (subnet, first, last, text) in [
            ("10.244.1.0/24", "10.244.1.1", "10.244.1.254", "10.244.1.0/24"),
            ("10.244.1.0/24", "10.244.1.0", "10.244.1.255", "10.244.1.0/24"),
            ("fd00::/64", "fd00::1", "fd00::ffff:ffff:ffff:ffff", "fd00::/64"),
            ("::/0", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"),
            ("10.244.1.0/24", "10.244.1.2", "10.244.1.254", "10.244.1.2-10.244.1.254 of 10.244.1.0/24"),
            ("10.244.1.0/24", "10.244.1.1", "10.244.1.253", "10.244.1.1-10.244.1.253 of 10.244.1.0/24"),
        ] {
            assert_eq!(range(subnet, first, last).to_string(), text);
        }
    }
}
