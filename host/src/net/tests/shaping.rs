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
/// What may arrive beside it: questions and answers about hardware addresses.
const BESIDE: u64 = 1_000;

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
    (arrived, BESIDE + BURST + (RATE as f64 * start.elapsed().as_secs_f64()).ceil() as u64)
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
            let mut sender = inside(&pods[from], || TcpStream::connect(address).expect("connected"));
            let start = Instant::now();
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

fn shown(interface: &str) -> String {
    super::output(&format!("tc -j qdisc show dev {interface}"))
}

#[test]
fn tc_shows_what_was_asked_for() {
    isolated(|| {
        // More than 4 GB a second do not fit the kernel's older attribute.
        let bandwidth = Bandwidth { ingress: rate(125_000, 50_000), egress: rate(6_000_000_000, 60_000_000) };
        let _pod = shaped(2, &bandwidth);
        let ifb = ifb_name("pw2");
        for (interface, options) in
            [("pw2", r#""rate":125000,"burst":50000,"lat":25000"#), (ifb.as_str(), r#""rate":6000000000,"#)]
        {
            let said = shown(interface);
            assert!(said.contains(r#""kind":"tbf""#) && said.contains(options), "{said}");
        }
        assert!(shown("pw2").contains(r#""kind":"ingress""#));
        assert_eq!(addresses_of(ifb.as_str()), [""; 0], "no link-local address");
        assert_eq!(differences(&bandwidth), [""; 0]);
    });
}

/// The kernel says how long a burst takes modulo 275 s, and rounds.
#[test]
fn extreme_limits_are_known_again() {
    for (bytes, burst) in
        [(1, 1), (1, u64::from(u32::MAX)), (1000, 1 << 29), (333_333, 1 << 28), (1 << 40, 0)]
    {
        isolated(|| {
            let bandwidth = Bandwidth { ingress: rate(bytes, burst), egress: None };
            let _pod = shaped(2, &bandwidth);
            assert_eq!(differences(&bandwidth), [""; 0], "{bytes} {burst}");
        });
    }
}

#[test]
fn a_direction_without_limit_has_nothing() {
    isolated(|| {
        let _pods = [
            shaped(2, &Bandwidth { egress: None, ..both() }),
            shaped(3, &Bandwidth { ingress: None, ..both() }),
        ];
        assert!(link_named(ifb_name("pw2").as_str()).is_none());
        assert!(!shown("pw2").contains("ingress"), "{}", shown("pw2"));
        assert!(!shown("pw3").contains("tbf"), "{}", shown("pw3"));
    });
}

#[test]
fn each_difference_is_found() {
    let ifb = ifb_name("pw2");
    let expected = "80000 bit/s, burst 400000 bit, queue 50250 bytes";
    let limit = |of: &str, found: &str| format!("limit of {of}: expected {expected}, found {found}");
    let redirection = format!("redirection of what arrives at pw2 to {ifb}: expected present, found none");
    let filter = "tc filter del dev pw2 ingress;tc filter add dev pw2 ingress protocol all prio 1 u32";
    for (command, differences_found) in [
        ("tc qdisc del dev pw2 root".to_owned(), limit("pw2", "none")),
        ("tc qdisc replace dev pw2 root pfifo limit 9".to_owned(), limit("pw2", "pfifo")),
        (
            "tc qdisc replace dev pw2 root tbf rate 20kbps burst 50000 limit 50250".to_owned(),
            limit("pw2", "160000 bit/s, burst about 400000 bit, queue 50250 bytes"),
        ),
        (
            format!("tc qdisc replace dev {ifb} root tbf rate 10kbps burst 20000 limit 50250"),
            limit(ifb.as_str(), "80000 bit/s, burst about 160000 bit, queue 50250 bytes"),
        ),
        (
            format!("tc qdisc replace dev {ifb} root tbf rate 10kbps burst 50000 limit 60000"),
            limit(ifb.as_str(), "80000 bit/s, burst about 400000 bit, queue 60000 bytes"),
        ),
        (format!("ip link set {ifb} down"), format!("state of ifb {ifb}: expected up, found down")),
        (format!("ip link del {ifb}"), format!("ifb {ifb}: expected present, found none")),
        (format!("ip link set {ifb} group 5"), format!("ifb {ifb}: expected present, found none")),
        ("tc qdisc del dev pw2 ingress".to_owned(), redirection.clone()),
        ("tc filter del dev pw2 ingress".to_owned(), redirection.clone()),
        (
            format!("{filter} match ip dst 10.0.0.0/8 action mirred egress redirect dev {ifb}"),
            redirection.clone(),
        ),
        (format!("{filter} match u32 0 0 action mirred egress mirror dev {ifb}"), redirection.clone()),
        (format!("{filter} match u32 0 0 action mirred egress redirect dev cni0"), redirection),
    ] {
        isolated(|| {
            let _pod = shaped(2, &both());
            assert_eq!(differences(&both()), [""; 0], "as asked for at first");
            command.split(';').for_each(run);
            assert_eq!(differences(&both()), [differences_found], "{command}");
        });
    }
}

#[test]
fn nothing_but_the_ifb_outlives_the_veth_and_that_is_found() {
    isolated(|| {
        let pods = [shaped(2, &both()), wired(&bridged(3, &[V4]))];
        flood(&pods[0], &pods[1], "10.244.1.3");
        run("ip link del pw2");
        let mut socket = Socket::route().expect("socket");
        let ifb = find_ifb(&mut socket, "pw2").expect("answer").expect("left");
        socket.apply(&[link::delete(ifb.interface())]).expect("removed");
        assert_eq!(find_ifb(&mut socket, "pw2").expect("answer"), None);
        let left = super::output("tc qdisc show");
        assert!(!left.contains("tbf") && !left.contains("ingress"), "{left}");
        assert_eq!(super::output("ip -o link show type ifb"), "");
    });
}

#[test]
fn an_ifb_that_is_left_is_used_and_a_strangers_is_not() {
    isolated(|| {
        let _first = shaped(2, &Bandwidth { egress: rate(999, 60_000), ..both() });
        run("ip link del pw2");
        let _second = shaped(2, &both());
        assert_eq!(differences(&both()), [""; 0]);
    });
    isolated(|| {
        let name = ifb_name("pw2");
        run(&format!("ip link add {name} type ifb"));
        let _pod = wired(&bridged(2, &[V4]));
        let mut socket = Socket::route().expect("socket");
        let index = link_named("pw2").expect("wired").index;
        let error = requests(&mut socket, Interface { index, name: "pw2" }, &both(), MTU).expect_err("taken");
        let expected =
            format!("the kernel refused to create ifb {name} (kernel option CONFIG_IFB): File exists");
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert_eq!(find_ifb(&mut socket, "pw2").expect("answer"), None);
    });
}
