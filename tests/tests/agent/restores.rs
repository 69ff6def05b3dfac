//! What others take away is back at once, and what is theirs stays.

use podwire_tests::kernel::{eventually, ip, routes, run};

use crate::Bench;

/// What somebody may do to a node.
const DEEDS: [&str; 9] = [
    "ip route del 10.244.2.0/24",
    "ip route flush proto 112",
    "ip address del 10.244.1.1/24 dev cni0",
    "ip address flush dev cni0",
    "ip link set cni0 down",
    "ip link del cni0",
    "ip link set eth0 down; ip link set eth0 up",
    "echo 0 >/proc/sys/net/ipv4/ip_forward",
    "ip route add 10.244.7.0/24 via 192.168.1.19 proto 112",
];

#[test]
fn what_others_change_is_restored() {
    let Some(bench) = Bench::new() else { return };
    let _agent = bench.settled();
    let before = bench.kernel();
    for deed in DEEDS {
        sh(deed);
        bench.becomes_as(&before, deed);
        eventually(deed, || run("cat", "/proc/sys/net/ipv4/ip_forward").trim() == "1");
    }
    bench.says("route 10.244.2.0/24 via 192.168.1.12 added");
    eventually("all is well", || bench.status().exit == Some(0));
}

#[test]
fn a_route_of_others_in_the_way_is_said_and_does_not_keep_the_rest() {
    let Some(bench) = Bench::new() else { return };
    ip("route add 10.244.2.0/24 via 192.168.1.19 proto static");
    let _agent = bench.agent();
    bench.becomes("failed since", &["10.244.3.0/24"]);
    assert!(routes().iter().any(|route| route.starts_with("10.244.2.0/24 gateway \"192.168.1.19\"")));
    ip("route del 10.244.2.0/24");
    bench.becomes("is heard since", &["10.244.2.0/24", "10.244.3.0/24"]);
    eventually("all is well", || bench.status().exit == Some(0));
}

fn sh(script: &str) {
    let output = std::process::Command::new("sh").args(["-ec", script]).output().expect("sh is there");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}
