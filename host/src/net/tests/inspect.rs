use crate::plan::Checked;

use super::super::{inspect, wire};
use super::*;

/// Wires a plan, lets something be changed, and returns what is found, as the operator reads it.
fn after(plan: &Checked, on_node: &[&str], in_container: &[&str]) -> Vec<String> {
    let pod = new_namespace();
    wire(&pod, plan).expect("wired");
    assert_eq!(inspect(&pod, plan).expect("inspected"), [], "as planned at first");
    on_node.iter().for_each(|command| run(command));
    inside(&pod, || in_container.iter().for_each(|command| run(command)));
    let found = inspect(&pod, plan).expect("inspected");
    found.iter().map(ToString::to_string).collect()
}

fn bridged_pod() -> Checked {
    Checked { mtu: Some(1400), ..bridged(2, &["10.244.1.0/24", "fd00:244:1::/64"]) }
}

fn routed_pod() -> Checked {
    routed(2, &[("10.244.1.2/32", "169.254.1.1"), ("fd00:244:1::2/128", "fe80::1")])
}

#[test]
fn each_thing_that_is_gone_from_the_container_is_named() {
    for (command, expected) in [
        ("ip link set eth0 mtu 1300", "MTU of eth0 in the container: expected 1400, found 1300"),
        (
            "ip link set eth0 address 0a:58:00:00:00:09",
            "hardware address of eth0 in the container: expected 0a:58:0a:f4:01:02, found 0a:58:00:00:00:09",
        ),
        (
            "ip route del default",
            "route 0.0.0.0/0 via 10.244.1.1 in the container: expected present, found none",
        ),
        (
            "ip -6 route change default via fd00:244:1::9 metric 1024 proto 112",
            "route ::/0 via fd00:244:1::1 in the container: expected present, found none",
        ),
        (
            "ip address del fd00:244:1::2/64 dev eth0",
            "address fd00:244:1::2/64 of eth0 in the container: expected present, found none",
        ),
    ] {
        isolated(|| {
            let found = after(&bridged_pod(), &[], &[command]);
            assert_eq!(found, [expected], "{command}");
        });
    }
}

#[test]
fn each_thing_that_is_gone_from_the_node_is_named() {
    for (command, expected) in [
        ("ip link set pw2 nomaster", "bridge of host interface pw2: expected cni0, found none"),
        ("ip link set pw2 group 5", "group of host interface pw2: expected 1886873970, found 5"),
        ("ip link set pw2 down", "state of host interface pw2: expected up, found down"),
        ("ip link set cni0 down", "state of bridge cni0: expected up, found down"),
        (
            "ip address del 10.244.1.1/24 dev cni0",
            "address 10.244.1.1/24 of bridge cni0: expected present, found none",
        ),
    ] {
        isolated(|| {
            let found = after(&bridged(2, &["10.244.1.0/24"]), &[command], &[]);
            assert_eq!(found, [expected], "{command}");
        });
    }
    isolated(|| {
        let found = after(&bridged(2, &["10.244.1.0/24"]), &["ip link del cni0"], &[]);
        assert_eq!(found, ["bridge cni0: expected present, found none"]);
    });
}

#[test]
fn each_thing_that_is_gone_of_routed_wiring_is_named() {
    for (command, expected) in [
        (
            "ip route del 10.244.1.2",
            "route 10.244.1.2/32 on the link on the node: expected present, found none",
        ),
        (
            "ip address del fe80::1/64 dev pw2",
            "address fe80::1/64 of host interface pw2: expected present, found none",
        ),
    ] {
        isolated(|| {
            let found = after(&routed_pod(), &[command], &[]);
            assert_eq!(found, [expected], "{command}");
        });
    }
}

#[test]
fn a_veth_that_is_gone_or_another_is_found() {
    isolated(|| {
        let found = after(&bridged_pod(), &["ip link del pw2"], &[]);
        assert_eq!(
            found,
            [
                "interface eth0 in the container: expected present, found none",
                "host interface pw2: expected present, found none",
            ]
        );
    });
    isolated(|| {
        let another = ["ip link set pw2 name old", "ip link add pw2 type veth peer name far"];
        let found = after(&bridged_pod(), &another, &[]);
        let expected = "peer of host interface pw2: expected eth0 in the container, found another interface";
        assert!(found.iter().any(|difference| difference == expected), "{found:?}");
    });
}

#[test]
fn what_later_plugins_add_is_no_difference() {
    isolated(|| {
        let added =
            ["ip address add 192.0.2.1/32 dev eth0", "ip route add 198.51.100.0/24 via 10.244.1.1 dev eth0"];
        assert_eq!(after(&bridged_pod(), &["ip address add 192.0.2.9/24 dev cni0"], &added), [""; 0]);
    });
}
