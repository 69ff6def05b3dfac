//! Parts of blocks from which addresses are given.

use core::fmt;
use core::net::IpAddr;

use ipnet::IpNet;

use crate::address::{address_in, number, numbers};
use crate::{Address, after, nth, on_link};

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

    /// All of a block, its first address after the network address being the gateway. None if the block has host bits,
    /// or no room for a gateway and a machine.
    pub fn with_gateway(block: IpNet) -> Option<Self> {
        let has_room = block.prefix_len() + 2 <= block.max_prefix_len();
        (has_room && block == block.trunc()).then(|| Self::of(block, nth(block, 1)))
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

    /// Without what of its subnet no machine may have: its first address, and in IPv4 its last.
    #[must_use]
    pub fn hosts(self) -> Self {
        let (network, end) = numbers(self.subnet).into_inner();
        if end - network < 2 {
            return self;
        }
        let last = if self.last.is_ipv4() { end - 1 } else { end };
        self.part(number(self.first).max(network + 1), number(self.last).min(last))
    }

    /// Its lower and its upper half; of an odd number the upper has one more.
    ///
    /// None of a single address.
    pub fn halves(self) -> Option<[Self; 2]> {
        let (first, last) = (number(self.first), number(self.last));
        let middle = first + (last - first).div_ceil(2);
        (first < last).then(|| [self.part(first, middle - 1), self.part(middle, last)])
    }

    /// The address at a [place](crate::hash::stable): as many places after the first, going round.
    pub fn at(&self, place: u64) -> IpAddr {
        let first = number(self.first);
        // Of 2^64 addresses and more every place is one. Arithmetic of 64 bits takes a tenth of the code.
        let places = u64::try_from(number(self.last) - first).ok().and_then(|steps| steps.checked_add(1));
        let offset = places.map_or(place, |places| place % places);
        address_in(self.subnet, first + u128::from(offset)).unwrap_or(self.first)
    }

    /// An address of it as a pod has it: with the prefix of the link, and its gateway.
    pub fn address(&self, address: IpAddr) -> Address {
        Address { prefix: on_link(self.subnet, address), gateway: self.gateway }
    }

    fn part(self, first: u128, last: u128) -> Self {
        let at = |number, otherwise| address_in(self.subnet, number).unwrap_or(otherwise);
        Self { first: at(first, self.first), last: at(last, self.last), ..self }
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

    use super::AddressRange;
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
    fn a_gateway_needs_room_beside_it() {
        let gateway = |block: &str| AddressRange::with_gateway(block.parse().expect("a block"))?.gateway;
        assert_eq!(gateway("10.244.1.128/30"), "10.244.1.129".parse().ok());
        assert_eq!(gateway("fd00::/126"), "fd00::1".parse().ok());
        for block in ["10.244.1.128/31", "10.244.1.129/30", "fd00::/127"] {
            assert_eq!(gateway(block), None, "{block}");
        }
    }

    #[test]
    fn nobody_has_the_ends_of_a_subnet() {
        for (subnet, first, last, of_hosts) in [
            ("10.244.1.0/29", "10.244.1.0", "10.244.1.7", ["10.244.1.1", "10.244.1.6"]),
            ("10.244.1.0/29", "10.244.1.2", "10.244.1.4", ["10.244.1.2", "10.244.1.4"]),
            ("10.244.1.0/31", "10.244.1.0", "10.244.1.1", ["10.244.1.0", "10.244.1.1"]),
            ("fd00::/126", "fd00::", "fd00::3", ["fd00::1", "fd00::3"]),
        ] {
            let hosts = range(subnet, first, last).hosts();
            assert_eq!([hosts.first, hosts.last].map(|address| address.to_string()), of_hosts);
        }
    }

    #[test]
    fn halves_are_all_of_it() {
        for (last, ends) in [(6, [1, 3, 4, 6]), (7, [1, 3, 4, 7]), (2, [1, 1, 2, 2])] {
            let [lower, upper] = range("10.244.1.0/24", "10.244.1.1", &alloc::format!("10.244.1.{last}"))
                .halves()
                .expect("two addresses or more");
            let ends = ends.map(|end| alloc::format!("10.244.1.{end}"));
            assert_eq!([lower.first, lower.last, upper.first, upper.last].map(|a| a.to_string()), ends);
        }
        assert_eq!(range("10.244.1.0/24", "10.244.1.1", "10.244.1.1").halves(), None);
    }

    #[test]
    fn places_go_round() {
        let three = range("10.244.1.0/24", "10.244.1.5", "10.244.1.7");
        assert_eq!(
            [0, 2, 3, u64::MAX].map(|at| three.at(at).to_string()[7..].to_string()),
            ["1.5", "1.7", "1.5", "1.5"]
        );
        let large = range("fd00::/64", "fd00::", "fd00::ffff:ffff:ffff:ffff");
        assert_eq!(large.at(u64::MAX), large.last);
        let largest = range("fd00::/48", "fd00::", "fd00::ffff:ffff:ffff:ffff:ffff");
        assert_eq!(largest.at(u64::MAX).to_string(), "fd00::ffff:ffff:ffff:ffff");
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
