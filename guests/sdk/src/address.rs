//! Arithmetic on addresses and blocks: on numbers of 128 bits, the same for both families.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::RangeInclusive;

use ipnet::IpNet;

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, IPv4 first.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// Of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// An address for the gateway of pods that are wired point to point: the customary one, 169.254.1.1 or fe80::1.
    /// The node answers for it, and nobody has it.
    pub fn point_to_point_gateway(self) -> IpAddr {
        match self {
            Self::V4 => [169, 254, 1, 1].into(),
            Self::V6 => [0xfe80, 0, 0, 0, 0, 0, 0, 1].into(),
        }
    }

    /// 0.0.0.0/0 or ::/0.
    pub fn everything(self) -> IpNet {
        match self {
            Self::V4 => IpNet::V4(ipnet::Ipv4Net::default()),
            Self::V6 => IpNet::V6(ipnet::Ipv6Net::default()),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// Whether the address lies in the block, the network and broadcast addresses included.
pub fn contains(block: IpNet, address: IpAddr) -> bool {
    Family::of(block.addr()) == Family::of(address) && numbers(block).contains(&number(address))
}

/// The address so many places after the first (the network address) of a block; none if the block is
/// smaller than that.
pub fn nth(block: IpNet, n: u32) -> Option<IpAddr> {
    let first = *numbers(block).start();
    address_in(block, first.checked_add(n.into())?)
}

/// The next address of a block after one in it; none after the last.
pub fn after(block: IpNet, address: IpAddr) -> Option<IpAddr> {
    address_in(block, number(address).checked_add(1)?)
}

/// An address of a block with the length of the block's prefix, as a link has it.
///
/// # Panics
/// If they are of different families.
pub fn on_link(block: IpNet, address: IpAddr) -> IpNet {
    IpNet::new(address, block.prefix_len()).expect("an address has the family of the block that holds it")
}

// Wherever it is inlined, it is a tenth of a kilobyte.
#[inline(never)]
pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

pub(crate) fn numbers(block: IpNet) -> RangeInclusive<u128> {
    let host_bits = block.max_prefix_len() - block.prefix_len();
    let host_mask = 1_u128.unbounded_shl(host_bits.into()).wrapping_sub(1);
    let number = number(block.addr());
    number & !host_mask..=number | host_mask
}

pub(crate) fn address_in(block: IpNet, number: u128) -> Option<IpAddr> {
    let address = match block {
        IpNet::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
        IpNet::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(number)),
    };
    numbers(block).contains(&number).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_stays_in_the_block() {
        let block: IpNet = "10.244.1.0/30".parse().expect("a block");
        assert_eq!(nth(block, 1), "10.244.1.1".parse().ok());
        assert_eq!(nth(block, 4), None);
        assert_eq!(after(block, "10.244.1.2".parse().expect("an address")), "10.244.1.3".parse().ok());
        assert_eq!(after(block, "10.244.1.3".parse().expect("an address")), None);
    }

    #[test]
    fn blocks_contain_as_ipnet_says() {
        let addresses =
            ["0.0.0.0", "10.244.1.0", "10.244.1.255", "10.244.2.0", "::", "::af4:100", "fd00::ffff"];
        for block in ["0.0.0.0/0", "10.244.1.7/24", "10.244.1.255/32", "::/0", "fd00::1/112", "::/128"] {
            let block: IpNet = block.parse().expect("a block");
            for address in addresses.map(|address| address.parse().expect("an address")) {
                assert_eq!(contains(block, address), block.contains(&address), "{block} {address}");
            }
        }
    }

    #[test]
    fn counting_ends_with_the_family() {
        let last: IpNet = "255.255.255.252/30".parse().expect("a block");
        assert_eq!(nth(last, 4), None);
        assert_eq!(after(last, last.broadcast()), None);
        let last: IpNet = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126".parse().expect("a block");
        assert_eq!(after(last, last.broadcast()), None);
    }
}
