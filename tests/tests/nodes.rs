//! Nodes with agents on them: pods reach each other by every way, and go on doing so while nodes come, go and move.

use podwire_tests::command::Started;
use podwire_tests::kernel::eventually;
use podwire_tests::lab::Bench;

/// How many pairs of three pods there are, each way round.
const PAIRS: usize = 6;

/// A capture in a machine of the lab, of what `filter` lets through.
fn capture(bench: &Bench, name: &str, filter: &str) -> Started {
    let script = format!("exec tcpdump -l -n -i eth0 '{filter}' 2>&1");
    let mut capture = bench.start(&["exec", name, "--", "sh", "-c", &script]);
    capture.wait_for_line_with("listening on eth0");
    capture
}

/// Every pod reaches every other, and each receives the others' requests from their own addresses, as somebody sees
/// who looks at its interface.
#[track_caller]
fn assert_all_reach(bench: &Bench, families: &[&str]) {
    let mut captures: Vec<Started> =
        (1..=3).map(|n| capture(bench, &format!("pod{n}-1"), "icmp or icmp6")).collect();
    let said = bench.lab(&["ping"]).done();
    let pairs = PAIRS * families.len();
    assert!(said.contains(&format!("\n{pairs} of {pairs} pairs answered")), "{said}");
    for (receiver, capture) in (1..=3).zip(&mut captures) {
        for family in families {
            let address = |n: u32| family.replace('N', &n.to_string());
            for sender in (1..=3).filter(|sender| *sender != receiver) {
                capture.wait_for_line_with_all(&[
                    &address(sender),
                    " > ",
                    &address(receiver),
                    "echo request",
                ]);
            }
        }
    }
}

const IPV4: &str = "10.244.N.2";
const IPV6: &str = "fd00:10:244:N::2";

#[test]
fn routes_lead_by_way_of_the_other_node() {
    let Some(bench) = Bench::new() else { return };
    bench.up(&["--agents", "--way", "direct", "--family", "dual", "--pods", "1"]);
    assert_all_reach(&bench, &[IPV4, IPV6]);
    let routes = bench.sh("node1", "ip route; ip -6 route");
    for route in
        ["10.244.2.0/24 via 192.168.1.12 dev eth0", "fd00:10:244:3::/64 via fd00:192:168:1::13 dev eth0"]
    {
        assert!(routes.contains(route), "{route} is not in\n{routes}");
    }
}

#[test]
fn tunnels_lead_to_the_other_node() {
    let Some(bench) = Bench::new() else { return };
    for (family, pods, outer) in
        [("dual", &[IPV4, IPV6][..], "192.168.1.11"), ("ipv6", &[IPV6], "fd00:192:168:1::11")]
    {
        bench.up(&["--agents", "--way", "vxlan", "--family", family, "--pods", "1"]);
        let mut outside = capture(&bench, "node3", "udp port 4789");
        assert_all_reach(&bench, pods);
        outside.wait_for_line_with_all(&[outer, "VXLAN"]);
        // As much as the tunnel leaves.
        let link = bench.sh("pod1-1", "ip link show dev eth0");
        let mtu = if family == "dual" { "mtu 1450" } else { "mtu 1430" };
        assert!(link.contains(mtu), "{link}");
        bench.lab(&["down"]).done();
    }
}

#[test]
fn a_router_with_an_agent_carries_everything() {
    let Some(bench) = Bench::new() else { return };
    bench.up(&["--agents", "--router", "--way", "router", "--family", "dual", "--pods", "1"]);
    assert_all_reach(&bench, &[IPV4, IPV6]);
    let routes = bench.sh("router", "ip route; ip -6 route");
    for route in ["10.244.2.0/24 via 192.168.1.12", "fd00:10:244:3::/64 via fd00:192:168:1::13"] {
        assert!(routes.contains(route), "{route} is not in\n{routes}");
    }
    let routes = bench.sh("node1", "ip route show proto 112");
    assert!(routes.contains("10.244.0.0/16 via 192.168.1.1 dev eth0"), "{routes}");
    assert!(!routes.contains("10.244.2.0"), "{routes}");
}

#[test]
fn a_node_joins_and_nobody_else_loses_a_packet() {
    let Some(bench) = Bench::new() else { return };
    bench.up(&["--agents", "--pods", "1"]);
    let mut traffic = bench.podwire.start_waiting(&["lab", "traffic"]);
    traffic.wait_for_line_with("every pod has talked to every other");
    bench.lab(&["join"]).done();
    let said = traffic.finish().done();
    assert!(said.contains("packets answered"), "{said}");
    let said = bench.lab(&["ping"]).done();
    assert!(said.contains("\n12 of 12 pairs answered"), "{said}");
}

#[test]
fn what_is_taken_away_by_hand_comes_back() {
    let Some(bench) = Bench::new() else { return };
    bench.up(&["--agents", "--pods", "1"]);
    for script in [
        "ip route del 10.244.2.0/24",
        "ip route flush proto 112",
        "ip address del 10.244.1.1/24 dev cni0",
        "ip link set eth0 down && ip link set eth0 up",
        "echo 0 > /proc/sys/net/ipv4/ip_forward",
    ] {
        bench.sh("node1", script);
        eventually(script, || bench.lab(&["ping"]).exit == Some(0));
    }
}

#[test]
fn a_node_that_dies_takes_its_routes_along() {
    let Some(bench) = Bench::new() else { return };
    bench.up(&["--agents", "etcd", "--sites", "2", "--pods", "1"]);
    let said = bench.lab(&["ping"]).done();
    assert!(said.contains("\n6 of 6 pairs answered"), "{said}");
    let routes = || bench.sh("node1", "ip route show proto 112");
    assert_eq!(routes().lines().count(), 2, "{}", routes());
    bench.lab(&["kill", "node3"]).done();
    assert_eq!(routes().lines().count(), 1, "{}", routes());
    bench.lab(&["start", "node3"]).done();
    let said = bench.lab(&["ping"]).done();
    assert!(said.contains("\n6 of 6 pairs answered"), "{said}");
}

#[test]
fn a_node_moves_to_another_site_and_another_block() {
    let Some(bench) = Bench::new() else { return };
    bench.up(&["--agents", "--sites", "2", "--family", "dual", "--pods", "1"]);
    assert!(bench.lab(&["ping"]).done().contains("\n12 of 12 pairs answered"));
    let way = |script: &str| bench.sh("node1", script);
    assert!(way("ip route get 10.244.3.2").contains("via 192.168.1.13 dev eth0"));
    bench.lab(&["move", "node3", "--site", "2"]).done();
    assert!(!way("ip route get 10.244.3.2").contains("via 192.168.1.13"));
    assert!(bench.lab(&["ping"]).done().contains("\n12 of 12 pairs answered"));
    bench.lab(&["move", "node3", "--pool", "10.244.77.0/24"]).done();
    bench.lab(&["add", "web", "--node", "node3"]).done();
    assert!(bench.lab(&["status"]).stdout.contains("web 10.244.77.2"));
}
