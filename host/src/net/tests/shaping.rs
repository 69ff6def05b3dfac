use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use crate::plan::{Bandwidth, Rate};

use super::super::link::Interface;
use super::super::shaping::{find_ifb, ifb_name, inspect, requests};
use super::*;

const V4: &str = "10.244.1.0/24";
const MTU: u32 = 1500;
/// In bytes and bytes a second: the flood below is over long before a tenth of it could pass.
const BURST: u64 = 50_000;
const RATE: u64 = 10_000;

fn rate(bytes: u64, burst: u64) -> Option<Rate> {
    Some(Rate { rate: 8 * bytes, burst: 8 * burst })
}

fn both() -> Bandwidth {
    Bandwidth { ingress: rate(RATE, BURST), egress: rate(RATE, BURST) }
}

/// Limits a pod that is wired.
fn shape(host_interface: &str, bandwidth: &Bandwidth) {
    let mut socket = Socket::route().expect("socket");
    let index = link_named(host_interface).expect("wired").index;
    let end = Interface { index, name: host_interface };
    let requests = requests(&mut socket, end, bandwidth, MTU).expect("made");
    socket.apply(&requests).expect("shaped");
}

fn shaped(number: u8, bandwidth: &Bandwidth) -> Namespace {
    let pod = wired(&bridged(number, &[V4]));
    shape(&format!("pw{number}"), bandwidth);
    pod
}

fn differences(bandwidth: &Bandwidth) -> Vec<String> {
    let mut socket = Socket::route().expect("socket");
    let index = link_named("pw2").expect("wired").index;
    let found = inspect(&mut socket, Interface { index, name: "pw2" }, bandwidth, MTU).expect("inspected");
    found.iter().map(ToString::to_string).collect()
}

/// How many bytes have arrived at eth0.
fn arrived(pod: &Namespace) -> u64 {
    let counters = inside(pod, || std::fs::read_to_string("/proc/thread-self/net/dev").expect("readable"));
    let line = counters.lines().find_map(|line| line.trim().strip_prefix("eth0:")).expect("there");
    line.split_whitespace().next().expect("received bytes").parse().expect("a number")
}

/// Sends far more than a bucket holds, as fast as it can. Returns how much of it arrived, and how much a bucket
/// could have let through until that was looked at.
fn flood(from: &Namespace, to: &Namespace, target: &str) -> (u64, u64) {
    let (start, before) = (Instant::now(), arrived(to));
    let socket = inside(from, || UdpSocket::bind("0.0.0.0:0").expect("bound"));
    for _ in 0..2000 {
        // Nobody listens, and the socket hears of it.
        let _ = socket.send_to(&[0; 1000], SocketAddr::new(target.parse().expect("valid"), 9));
    }
    let arrived = arrived(to) - before;
    (arrived, BURST + (RATE as f64 * start.elapsed().as_secs_f64()).ceil() as u64)
}

#[test]
fn a_flood_is_limited_in_the_direction_that_has_a_limit() {
    let none = Bandwidth::default();
    for (bandwidth, out_limited, in_limited) in [
        (none, false, false),
        (Bandwidth { egress: None, ..both() }, false, true),
        (Bandwidth { ingress: None, ..both() }, true, false),
        (both(), true, true),
    ] {
        isolated(|| {
            let pods = [shaped(2, &bandwidth), wired(&bridged(3, &[V4]))];
            assert!(reaches(&pods[0], "10.244.1.2", &pods[1], "10.244.1.3"));
            for (limited, (arrived, allowed)) in [
                (out_limited, flood(&pods[0], &pods[1], "10.244.1.3")),
                (in_limited, flood(&pods[1], &pods[0], "10.244.1.2")),
            ] {
                assert_eq!(arrived <= allowed, limited, "{arrived} of {allowed} bytes, {bandwidth:?}");
                assert!(arrived >= BURST / 2, "{arrived} bytes, {bandwidth:?}");
            }
        });
    }
}

/// TCP hands over up to 64 KiB at once.
#[test]
fn what_is_larger_than_the_burst_passes_in_pieces() {
    isolated(|| {
        let (bytes, burst) = (1_000_000, 20_000);
        let limit = rate(bytes, burst);
        let pods = [shaped(2, &Bandwidth { ingress: limit, egress: limit }), wired(&bridged(3, &[V4]))];
        for (from, to, target) in [(0, 1, "10.244.1.3:0"), (1, 0, "10.244.1.2:0")] {
            let listener = inside(&pods[to], || TcpListener::bind(target).expect("bound"));
            let address = listener.local_addr().expect("bound");
            let start = Instant::now();
            let mut sender = inside(&pods[from], || TcpStream::connect(address).expect("connected"));
            let sent = scope(|scope| {
                scope.spawn(move || sender.write_all(&[0; 300_000]).expect("sent"));
                let mut received = Vec::new();
                listener.accept().expect("connected").0.read_to_end(&mut received).expect("received");
                received.len()
            });
            assert_eq!(sent, 300_000);
            let allowed = burst as f64 + bytes as f64 * start.elapsed().as_secs_f64();
            assert!(allowed >= 300_000.0, "{allowed}");
        }
    });
}

#[test]
fn tc_shows_what_was_asked_for() {
    isolated(|| {
        let bandwidth = Bandwidth { ingress: rate(125_000, 50_000), egress: rate(6_000_000_000, 10_000_000) };
        let _pod = shaped(2, &bandwidth);
        let ifb = ifb_name("pw2");
        let shown = |interface: &str| super::output(&format!("tc -j qdisc show dev {interface}"));
        eprintln!(
            "{}\n{}\n{}",
            shown("pw2"),
            shown(ifb.as_str()),
            super::output("tc -j filter show dev pw2 ingress")
        );
    });
}
