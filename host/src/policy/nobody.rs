//! The leases of nobody: what a policy sees where it is not asked for addresses.

use std::net::IpAddr;

use ipnet::IpNet;

/// The first address of the block that a pod could have, at or after `start`, wrapping round once.
pub(super) fn first_free(block: IpNet, start: Option<IpAddr>) -> Option<IpAddr> {
    let start = start.filter(|start| usable(&block, *start));
    start.or_else(|| {
        [block.network(), after(block.network())].into_iter().find(|first| usable(&block, *first))
    })
}

/// Not the network address, nor the broadcast address in IPv4, where the block has room for them.
fn usable(block: &IpNet, address: IpAddr) -> bool {
    let has_room = block.prefix_len() + 1 < block.max_prefix_len();
    let broadcast = block.addr().is_ipv4() && address == block.broadcast();
    block.contains(&address) && !(has_room && (address == block.network() || broadcast))
}

fn after(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4(address.to_bits().wrapping_add(1).into()),
        IpAddr::V6(address) => IpAddr::V6(address.to_bits().wrapping_add(1).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_neither_network_nor_broadcast_address() {
        for (block, start, first) in [
            ("10.0.0.0/24", None, "10.0.0.1"),
            ("10.0.0.0/24", Some("10.0.0.9"), "10.0.0.9"),
            ("10.0.0.0/24", Some("10.0.0.255"), "10.0.0.1"),
            ("10.0.0.0/24", Some("192.0.2.1"), "10.0.0.1"),
            ("10.0.0.0/31", None, "10.0.0.0"),
            ("10.0.0.7/32", None, "10.0.0.7"),
            ("fd00::/64", None, "fd00::1"),
            ("fd00::/64", Some("fd00::ffff:ffff:ffff:ffff"), "fd00::ffff:ffff:ffff:ffff"),
            ("fd00::/127", None, "fd00::"),
        ] {
            let found = first_free(block.parse().unwrap(), start.map(|s| s.parse().unwrap()));
            assert_eq!(found, Some(first.parse().unwrap()), "{block} from {start:?}");
        }
    }
}
