//! Telling the pods of a bridge who has an address from now on, for they may remember somebody else.
//!
//! The kernel would say it itself when the pod's interface comes up (`arp_notify`, `ndisc_notify`), but at that
//! moment the bridge does not forward yet what comes from a new port, so that nobody hears it. So the node says it
//! for the pod, through the bridge. It reaches the ports in the bridge's own VLAN.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with, sockopt};

use crate::names::MacAddress;
use crate::plan::Checked;
use crate::plan::derived::newly_paired;

use super::sys;

/// Announces those addresses of a pod that somebody may remember with another hardware address. Whoever does not
/// hear of it finds out by asking, some seconds later: that it could not be said is no failure.
pub(super) fn send(bridge: u32, plan: &Checked, never_held: &[IpAddr]) {
    for address in newly_paired(plan).filter(|address| !never_held.contains(address)) {
        let _ = match address {
            IpAddr::V4(address) => sys::send_frame(bridge, &arp(plan.mac, address)),
            // One that is being asked for on the link may turn out to be somebody else's.
            IpAddr::V6(_) if plan.duplicate_address_detection => Ok(()),
            IpAddr::V6(address) => send_icmpv6(bridge, &neighbour_advertisement(plan.mac, address)),
        };
    }
}

/// An ARP announcement (RFC 5227, section 3): a request for the address, from who has it. With its Ethernet header,
/// for the kernel sends no ARP in another's name.
fn arp(mac: MacAddress, address: Ipv4Addr) -> Vec<u8> {
    let everybody = [0xff; 6];
    let ethertype = [0x08, 0x06];
    // Ethernet and IPv4, addresses of 6 and 4 bytes, a request.
    let kind = [0, 1, 0x08, 0, 6, 4, 0, 1];
    let address = address.octets();
    [&everybody[..], &mac.0, &ethertype, &kind, &mac.0, &address, &[0; 6], &address].concat()
}

/// An unsolicited neighbour advertisement (RFC 4861, sections 4.4 and 7.2.6) with the flag "override" and the
/// hardware address as an option of 8 bytes. The kernel fills in the checksum.
fn neighbour_advertisement(mac: MacAddress, address: Ipv6Addr) -> Vec<u8> {
    [&[136, 0, 0, 0, 0x20, 0, 0, 0][..], &address.octets(), &[2, 1], &mac.0].concat()
}

/// All nodes of the link (RFC 4291, section 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// From the bridge's own address: unlike a packet socket's, this socket's end waits for nobody (RCU).
fn send_icmpv6(bridge: u32, message: &[u8]) -> Result<(), Errno> {
    let protocol = Some(ipproto::ICMPV6);
    let socket = socket_with(AddressFamily::INET6, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    // Which proves that it comes from this link (RFC 4861, section 7.1.2).
    sockopt::set_ipv6_multicast_hops(&socket, 255)?;
    sendto(&socket, message, SendFlags::empty(), &SocketAddrV6::new(ALL_NODES, 0, 0, bridge)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddress = MacAddress([0x02, 0, 0, 0, 0, 0x07]);

    #[test]
    fn an_arp_announcement_asks_for_its_own_address() {
        let expected = "ff ff ff ff ff ff 02 00 00 00 00 07 08 06 00 01 08 00 06 04 00 01 \
                        02 00 00 00 00 07 0a f4 01 07 00 00 00 00 00 00 0a f4 01 07";
        assert_eq!(hex(&arp(MAC, Ipv4Addr::new(10, 244, 1, 7))), expected);
    }

    #[test]
    fn a_neighbour_advertisement_overrides() {
        let expected = "88 00 00 00 20 00 00 00 fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 07 \
                        02 01 02 00 00 00 00 07";
        assert_eq!(hex(&neighbour_advertisement(MAC, "fd00::7".parse().expect("valid"))), expected);
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
    }
}
