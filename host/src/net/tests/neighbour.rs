//! An address that is handed out anew reaches its new owner at once, whatever others remember.

use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketType, recv, socket};

use super::super::namespace::Namespace;
use super::super::{Unwiring, unwire};
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

/// Hears every ARP packet that reaches the pod (packet(7)).
fn arp_in(pod: &Namespace) -> OwnedFd {
    let arp = Protocol::from_raw(u32::from(0x0806_u16.to_be()).try_into().expect("not 0"));
    inside(pod, || socket(AddressFamily::PACKET, SocketType::RAW, Some(arp)).expect("root"))
}

fn heard(socket: &OwnedFd) -> usize {
    std::iter::from_fn(|| recv(socket, &mut [0; 64], RecvFlags::DONTWAIT).ok()).count()
}

#[test]
fn only_an_address_that_others_may_know_wrongly_is_announced() {
    isolated(|| {
        let other = wired(&bridged(9, &[V4]));
        forwards("pw9");
        let arp = arp_in(&other);
        let _derived = wired(&bridged(3, &[V4]));
        assert_eq!(heard(&arp), 0, "nothing is flooded without need");
        let _chosen = wired(&Checked { mac: MacAddress([0x02, 0, 0, 0, 0, 4]), ..bridged(4, &[V4]) });
        assert_eq!(heard(&arp), 1);
        assert_eq!(
            output("ip neighbour show dev cni0").matches("lladdr 02:").count(),
            0,
            "nobody asked for it"
        );
    });
}
