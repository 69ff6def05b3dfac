//! An address that is handed out anew reaches its new owner at once, whatever others remember.

use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketType, recv, socket};

use super::super::namespace::Namespace;
use super::super::{Unwiring, announce, unwire, wire};
use super::*;

const V4: &str = "10.244.1.0/24";
const V6: &str = "fd00:244:1::/64";

/// One after the other with the same addresses, wired so far that the bridge forwards what it sends.
fn of_mac(last: u8) -> Namespace {
    let chosen = MacAddress([0x02, 0, 0, 0, 0, last]);
    let pod = wired(&Checked { mac: chosen, ..bridged(2, &[V4, V6]) });
    forwards("pw2");
    pod
}

fn forwards(port: &str) {
    let shown = || output(&format!("ip -json -details link show dev {port}"));
    eventually("the bridge forwards", || shown().contains(r#""state":"forwarding""#));
}

#[test]
fn an_address_that_is_used_again_leaves_no_stale_neighbour() {
    isolated(|| {
        let node = Namespace::current().expect("current");
        let other = wired(&bridged(9, &[V4, V6]));
        forwards("pw9");
        let ways = [
            (&other, "10.244.1.9", "10.244.1.2"),
            (&other, "fd00:244:1::9", "fd00:244:1::2"),
            (&node, "10.244.1.1", "10.244.1.2"),
            (&node, "fd00:244:1::1", "fd00:244:1::2"),
        ];
        let first = of_mac(1);
        for (from, own, target) in ways {
            assert!(reaches(from, own, &first, target));
        }
        unwire(&bridged(2, &[V4, V6])).and_then(Unwiring::finish).expect("gone");
        drop(first);
        let second = of_mac(2);
        for (from, own, target) in ways {
            assert!(reaches(from, own, &second, target), "the first datagram from {own} to {target}");
        }
    });
}

/// Hears every packet of that Ethernet type which reaches the pod (packet(7)).
fn hears(pod: &Namespace, ethertype: u16) -> OwnedFd {
    let protocol = Protocol::from_raw(u32::from(ethertype.to_be()).try_into().expect("not 0"));
    inside(pod, || socket(AddressFamily::PACKET, SocketType::RAW, Some(protocol)).expect("root"))
}

fn heard(socket: &OwnedFd) -> Vec<Vec<u8>> {
    let next = || {
        let mut frame = vec![0; 128];
        let (length, _) = recv(socket, &mut frame, RecvFlags::DONTWAIT).ok()?;
        Some(frame[..length].to_vec())
    };
    std::iter::from_fn(next).collect()
}

#[test]
fn only_an_address_that_others_may_know_wrongly_is_announced() {
    isolated(|| {
        let other = wired(&bridged(9, &[V4]));
        forwards("pw9");
        let arp = hears(&other, 0x0806);
        let _derived = wired(&bridged(3, &[V4]));
        assert_eq!(heard(&arp).len(), 0, "nothing is flooded without need");
        let _chosen = wired(&Checked { mac: MacAddress([0x02, 0, 0, 0, 0, 4]), ..bridged(4, &[V4]) });
        assert_eq!(heard(&arp).len(), 1);
        assert_eq!(
            output("ip neighbour show dev cni0").matches("lladdr 02:").count(),
            0,
            "nobody asked for it"
        );
    });
}

#[test]
fn an_address_that_is_still_being_asked_for_is_not_announced() {
    isolated(|| {
        let other = wired(&bridged(9, &[V4, V6]));
        forwards("pw9");
        let ipv6 = hears(&other, 0x86dd);
        // Neighbour advertisements from the node's own hardware address.
        let announced = || {
            let of_node = |frame: &&Vec<u8>| frame[6..12] == mac(1).0 && frame.get(54) == Some(&136);
            heard(&ipv6).iter().filter(of_node).count()
        };
        let _asking = wired(&Checked { duplicate_address_detection: true, ..bridged(3, &[V4, V6]) });
        assert_eq!(announced(), 0);
        let in_use = bridged(4, &[V4, V6]);
        let pod = new_namespace();
        let done = wire(&pod, &in_use).expect("wired");
        announce(&done, &in_use, &["fd00:244:1::4".parse().expect("valid")]);
        assert_eq!(announced(), 0, "nobody remembers what was never there");
        announce(&done, &in_use, &[]);
        assert_eq!(announced(), 1);
    });
}
