//! Arithmetic on addresses and blocks.

use core::fmt;
use core::net::IpAddr;

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

/// The address so many places after the first (the network address) of a block; none if the block is
/// smaller than that.
pub fn nth(block: IpNet, n: u32) -> Option<IpAddr> {
    let address = match block.network() {
        IpAddr::V4(first) => IpAddr::V4(first.to_bits().checked_add(n)?.into()),
        IpAddr::V6(first) => IpAddr::V6(first.to_bits().checked_add(n.into())?.into()),
    };
    block.contains(&address).then_some(address)
}

/// The next address of a block after one in it; none after the last.
pub fn after(block: IpNet, address: IpAddr) -> Option<IpAddr> {
    let next = match address {
        IpAddr::V4(address) => IpAddr::V4(address.to_bits().checked_add(1)?.into()),
        IpAddr::V6(address) => IpAddr::V6(address.to_bits().checked_add(1)?.into()),
    };
    block.contains(&next).then_some(next)
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
    fn counting_ends_with_the_family() {
        let last: IpNet = "255.255.255.252/30".parse().expect("a block");
        assert_eq!(nth(last, 4), None);
        assert_eq!(after(last, last.broadcast()), None);
        let last: IpNet = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126".parse().expect("a block");
        assert_eq!(after(last, last.broadcast()), None);
    }
}
