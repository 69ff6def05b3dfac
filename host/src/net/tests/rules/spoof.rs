use std::os::fd::AsRawFd;

use rustix::net::{AddressFamily, SocketType, socket};

use super::*;
use crate::plan::SpoofCheck;

const V4: &str = "10.244.1.0/24";
const V6: &str = "fd00:244:1::/64";
const RECEIVER: [&str; 2] = ["10.244.1.3", "fd00:244:1::3"];
/// Addresses that no plan has.
const OTHER: [&str; 2] = ["10.244.1.99", "fd00:244:1::99"];
const ALL: SpoofCheck = SpoofCheck { mac: true, address: true };
const MAC: SpoofCheck = SpoofCheck { mac: true, address: false };
const ADDRESS: SpoofCheck = SpoofCheck { mac: false, address: true };
const NONE: SpoofCheck = SpoofCheck { mac: false, address: false };

fn checked(number: u8, spoof_check: SpoofCheck) -> Checked {
    let mut plan = bridged(number, &[V4, V6]);
    plan.traffic.spoof_check = spoof_check;
    plan
}

fn own(number: u8) -> [String; 2] {
    [format!("10.244.1.{number}"), format!("fd00:244:1::{number}")]
}

/// Has a pod send to another, from each address in turn. The last that are `allowed` are heard, in any order: what
/// waits for the receiver's hardware address may be overtaken. Nobody has to wait for what does not come.
fn assert_heard(sender: &Namespace, sources: &[&str], allowed: usize, receiver: &Namespace, target: &str) {
    let listening = bound(receiver, target, 9000);
    for source in sources {
        bound(sender, source, 0).send_to(b"ping", socket_address(target, 9000)).expect("sent");
    }
    let mut expected = sources[sources.len() - allowed..].to_vec();
    while !expected.is_empty() {
        let (_, source) = receive(&listening, &mut [0; 8]).expect("whoever may send is heard");
        let source = source.ip().to_string();
        let place = expected.iter().position(|expected| **expected == source);
        expected.remove(place.unwrap_or_else(|| panic!("{source} may not send")));
    }
}

/// Gives a pod's interface addresses that are not the plan's.
fn pretend(pod: &Namespace) {
    inside(pod, || {
        run(&format!("ip address add {}/32 dev eth0", OTHER[0]));
        run(&format!("ip address add {}/128 dev eth0 nodad", OTHER[1]));
    });
}

/// Has a pod send from addresses of its own and from others, from which it is heard unless it is `kept` to its own.
fn sends_from_its_own_and_others(pod: &Namespace, number: u8, kept: bool, receiver: &Namespace) {
    pretend(pod);
    for ((own, other), target) in own(number).iter().zip(OTHER).zip(RECEIVER) {
        assert_heard(pod, &[other, own], if kept { 1 } else { 2 }, receiver, target);
    }
}

#[test]
fn a_bridged_pod_sends_from_its_own_addresses_only() {
    isolated(|| {
        let receiver = wired(&bridged(3, &[V4, V6]));
        for (number, check, kept) in [(2, ADDRESS, true), (4, ALL, true), (5, MAC, false), (6, NONE, false)] {
            let plan = checked(number, check);
            let pod = treated(&plan);
            sends_from_its_own_and_others(&pod, number, kept, &receiver);
            // To send from an address is to have asked from there for the receiver's hardware address.
            let neighbours = inside(&receiver, || output("ip neighbour show"));
            assert_eq!(
                OTHER.map(|other| neighbours.contains(&format!("{other} "))),
                [!kept; 2],
                "{neighbours}"
            );
            assert_eq!(differences(&plan), [""; 0]);
            inside(&receiver, || run("ip neighbour flush dev eth0"));
        }
    });
}

#[test]
fn a_routed_pod_sends_from_its_own_addresses_only() {
    isolated(|| {
        let plan = |number: u8, check| {
            let [own4, own6] = own(number);
            let addresses = [(&*format!("{own4}/32"), "169.254.1.1"), (&*format!("{own6}/128"), "fe80::1")];
            let mut plan = routed(number, &addresses);
            plan.traffic.spoof_check = check;
            plan
        };
        let receiver = wired(&plan(3, NONE));
        for (number, check, kept) in [(2, ADDRESS, true), (4, ALL, true), (5, MAC, false), (6, NONE, false)] {
            let plan = plan(number, check);
            let pod = treated(&plan);
            sends_from_its_own_and_others(&pod, number, kept, &receiver);
            assert_eq!(differences(&plan), [""; 0]);
        }
    });
}

#[test]
fn a_pod_sends_from_its_own_hardware_address_only() {
    isolated(|| {
        let receiver = wired(&bridged(3, &[V4, V6]));
        for (number, check, kept) in [(2, MAC, true), (4, ALL, true), (5, ADDRESS, false), (6, NONE, false)] {
            let pod = treated(&checked(number, check));
            let own = own(number)[0].clone();
            let listening = bound(&receiver, RECEIVER[0], 9000);
            let send_as = |address: MacAddress| {
                inside(&pod, || run(&format!("ip link set dev eth0 address {address}")));
                let text = address.to_string();
                bound(&pod, &own, 0)
                    .send_to(text.as_bytes(), socket_address(RECEIVER[0], 9000))
                    .expect("sent");
            };
            let hear = || {
                let mut text = [0; 17];
                receive(&listening, &mut text).expect("heard");
                String::from_utf8_lossy(&text).into_owned()
            };
            send_as(mac(99));
            if !kept {
                assert_eq!(hear(), mac(99).to_string());
            }
            send_as(mac(number));
            assert_eq!(hear(), mac(number).to_string(), "{check:?}");
        }
    });
}

/// Sends a frame as it is. Those of here have IEEE 802's number for experiments, which nobody takes.
fn send_frame(frame: &[u8]) {
    let socket = socket(AddressFamily::PACKET, SocketType::RAW, None).expect("root");
    let index = link_named("eth0").expect("there").index;
    // SAFETY: all of its fields are numbers, for which zero is one.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_ifindex = index as i32;
    let length = size_of_val(&to) as libc::socklen_t;
    // SAFETY: the kernel reads the frame and the address, each as long as it is said to be.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const to).cast(),
            length,
        )
    };
    assert_eq!(sent, frame.len() as isize);
}

#[test]
fn a_bridge_learns_no_hardware_address_that_is_not_the_pods() {
    isolated(|| {
        let receiver = wired(&bridged(3, &[V4, V6]));
        for (number, check, kept) in [(2, MAC, true), (4, NONE, false)] {
            let pod = treated(&checked(number, check));
            let other = [2, 0, 0, 0, 0, number];
            inside(&pod, || send_frame(&[[0xff; 6].as_slice(), &other, &[0x88, 0xb5], &[0; 46]].concat()));
            assert_heard(&pod, &[&own(number)[0]], 1, &receiver, RECEIVER[0]);
            let learnt = output("bridge fdb show br cni0");
            assert_eq!(learnt.contains(&MacAddress(other).to_string()), !kept, "{learnt}");
        }
    });
}

/// How many frames have come that nobody takes.
fn unknown(pod: &Namespace) -> u64 {
    let said = inside(pod, || output("ip -s -json link show eth0"));
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    said[0]["stats64"]["rx"]["dropped"].as_u64().expect("a number")
}

#[test]
fn frames_that_carry_neither_ip_nor_arp_are_dropped_where_addresses_are_checked() {
    isolated(|| {
        let receiver = wired(&bridged(3, &[V4, V6]));
        for (number, check, kept) in [(2, ADDRESS, true), (4, MAC, false)] {
            let pod = treated(&checked(number, check));
            let before = unknown(&receiver);
            let own_mac = mac(number).0;
            inside(&pod, || send_frame(&[[0xff; 6].as_slice(), &own_mac, &[0x88, 0xb5], &[0; 46]].concat()));
            assert_heard(&pod, &[&own(number)[0]], 1, &receiver, RECEIVER[0]);
            assert_eq!(unknown(&receiver) > before, !kept, "{check:?}");
        }
    });
}
