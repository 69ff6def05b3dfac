//! Telling the pods of a bridge who has an address from now on, for they may remember somebody else.
//!
//! The kernel would say it itself when the pod's interface comes up (`arp_notify`, `ndisc_notify`), but at that
//! moment the bridge does not forward yet what comes from a new port, so that nobody hears it. So the node says it,
//! through the bridge, in the pod's name. It reaches the ports in the bridge's own VLAN.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::names::MacAddress;
use crate::plan::Checked;
use crate::plan::derived::newly_paired;

use super::sys;

/// Announces those addresses of a pod that somebody may remember with another hardware address. Whoever does not
/// hear of it finds out by asking, some seconds later: that it could not be said is no failure.
pub(super) fn send(bridge: u32, plan: &Checked) {
    // One that is being asked for on the link may turn out to be somebody else's.
    let in_use = |address: &IpAddr| address.is_ipv4() || !plan.duplicate_address_detection;
    for address in newly_paired(plan).filter(in_use) {
        let _ = sys::send_frame(bridge, &frame(plan.mac, address));
    }
}

fn frame(mac: MacAddress, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(mac, address),
        IpAddr::V6(address) => neighbour_advertisement(mac, address),
    }
}

const EVERYBODY: [u8; 6] = [0xff; 6];
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
/// All nodes of the link (RFC 4291, section 2.7.1), and its hardware address (RFC 2464, section 7).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const ICMPV6: u8 = 58;

/// An ARP announcement (RFC 5227, section 3): a request for the address, from who has it.
fn arp(mac: MacAddress, address: Ipv4Addr) -> Vec<u8> {
    // Ethernet and IPv4, addresses of 6 and 4 bytes, a request.
    let kind = [0, 1, 0x08, 0, 6, 4, 0, 1];
    let address = address.octets();
    [&EVERYBODY[..], &mac.0, &ETHERTYPE_ARP, &kind, &mac.0, &address, &[0; 6], &address].concat()
}

/// An unsolicited neighbour advertisement (RFC 4861, sections 4.4 and 7.2.6) that overrides what is remembered.
fn neighbour_advertisement(mac: MacAddress, address: Ipv6Addr) -> Vec<u8> {
    let own = address.octets();
    // The flag "override"; then the target's hardware address as an option of 8 bytes.
    let mut icmp = [&[136, 0, 0, 0, 0x20, 0, 0, 0][..], &own, &[2, 1], &mac.0].concat();
    let checksum = checksum(address, &icmp).to_be_bytes();
    icmp[2..4].copy_from_slice(&checksum);
    let [high, low] = (icmp.len() as u16).to_be_bytes();
    // Version 6; a hop limit of 255 proves that it comes from this link.
    let header = [0x60, 0, 0, 0, high, low, ICMPV6, 255];
    [&ALL_NODES_MAC[..], &mac.0, &ETHERTYPE_IPV6, &header, &own, &ALL_NODES.octets(), &icmp].concat()
}

/// Over the message and what it is sent with (RFC 4443, section 2.3).
fn checksum(source: Ipv6Addr, message: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u32 {
        bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum()
    };
    let sent_with = words(&source.octets()) + words(&ALL_NODES.octets()) + u32::from(ICMPV6);
    let mut sum = sent_with + message.len() as u32 + words(message);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddress = MacAddress([0x02, 0, 0, 0, 0, 0x07]);

    #[test]
    fn an_arp_announcement_asks_for_its_own_address() {
        let frame = frame(MAC, IpAddr::from([10, 244, 1, 7]));
        let expected = "ff ff ff ff ff ff 02 00 00 00 00 07 08 06 00 01 08 00 06 04 00 01 \
                        02 00 00 00 00 07 0a f4 01 07 00 00 00 00 00 00 0a f4 01 07";
        assert_eq!(hex(&frame), expected);
    }

    #[test]
    fn a_neighbour_advertisement_overrides() {
        let address: Ipv6Addr = "fd00::7".parse().expect("valid");
        let frame = frame(MAC, address.into());
        let expected = "33 33 00 00 00 01 02 00 00 00 00 07 86 dd 60 00 00 00 00 20 3a ff \
                        fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 07 \
                        ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00 01 88 00 5a 89 20 00 00 00 \
                        fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 07 02 01 02 00 00 00 00 07";
        assert_eq!(hex(&frame), expected);
        // With the checksum in it, a message sums up to nothing.
        assert_eq!(checksum(address, &frame[14 + 40..]), 0);
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
    }
}
