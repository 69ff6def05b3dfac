use crate::plan::{Checked, PortMapping, Protocol, Wiring};

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
fn a_route_is_compared_with_all_that_its_plan_says() {
    let mut plan = bridged(2, &["10.244.1.0/24", "fd00:244:1::/64"]);
    let to = |destination: &str| crate::plan::Route {
        // As much as the kernel never keeps.
        mtu: Some(65_535),
        advmss: Some(65_535),
        table: Some(100),
        scope: Some(253),
        ..crate::plan::Route::to(destination.parse().expect("valid"), None)
    };
    plan.routes.extend([to("192.0.2.0/24"), to("2001:db8::/32")]);
    let four = "route 192.0.2.0/24 on the link table 100 mtu 65535 advmss 65535 scope 253 in the container";
    let six = "route 2001:db8::/32 on the link table 100 mtu 65535 advmss 65535 scope 253 in the container";
    let metrics = "mtu 65520 advmss 65495";
    for (change, gone) in [
        (format!("ip route change 192.0.2.0/24 dev eth0 table 100 proto 112 scope link {metrics}"), None),
        (
            "ip route change 192.0.2.0/24 dev eth0 table 100 proto 112 advmss 1340 mtu 65520".into(),
            Some(four),
        ),
        (
            "ip route change 192.0.2.0/24 dev eth0 table 100 proto 112 advmss 65495 mtu 1400".into(),
            Some(four),
        ),
        (
            format!("ip route change 192.0.2.0/24 dev eth0 table 100 proto 112 scope global {metrics}"),
            Some(four),
        ),
        (
            "ip -6 route change 2001:db8::/32 dev eth0 table 100 proto 112 advmss 1340 mtu 65520".into(),
            Some(six),
        ),
        ("ip route flush table 100".into(), Some(four)),
    ] {
        isolated(|| {
            let found = after(&plan, &[], &[&change]);
            let expected: Vec<_> =
                gone.iter().map(|it| format!("{it}: expected present, found none")).collect();
            assert_eq!(found, expected, "{change}");
        });
    }
    isolated(|| {
        let moved = [
            "ip route del 192.0.2.0/24 table 100".to_owned(),
            format!("ip route add 192.0.2.0/24 dev eth0 proto 112 {metrics}"),
        ];
        let found = after(&plan, &[], &[&moved[0], &moved[1]]);
        assert_eq!(found, [format!("{four}: expected present, found none")]);
    });
}

#[test]
fn an_interface_that_ought_to_be_down_is_named_when_it_is_up() {
    isolated(|| {
        let plan = Checked { interface_down: true, ..bridged(2, &[]) };
        let found = after(&plan, &[], &["ip link set eth0 up"]);
        assert_eq!(found, ["state of eth0 in the container: expected down, found up"]);
    });
}

#[test]
fn an_address_that_is_still_being_asked_for_is_no_difference() {
    isolated(|| {
        let plan = Checked { duplicate_address_detection: true, ..bridged(2, &["fd00:244:1::/64"]) };
        assert_eq!(after(&plan, &[], &[]), [""; 0]);
    });
}

#[test]
fn an_address_that_somebody_else_on_the_link_has_is_named() {
    isolated(|| {
        let other = wired(&bridged(3, &["fd00:244:1::/64"]));
        inside(&other, || run("ip address add fd00:244:1::2/64 dev eth0 nodad"));
        let plan = Checked { duplicate_address_detection: true, ..bridged(2, &["fd00:244:1::/64"]) };
        let pod = new_namespace();
        // More than once, for the bridge may not forward yet what comes first from a new port.
        inside(&pod, || run("sysctl -qw net.ipv6.conf.default.dad_transmits=4"));
        wire(&pod, &plan).expect("wired");
        let mut found = Vec::new();
        eventually("the kernel hears of the other", || {
            found = inspect(&pod, &plan).expect("inspected");
            !found.is_empty()
        });
        let expected = "address fd00:244:1::2/64 of eth0 in the container: expected in use, found somebody else's on \
                        the link";
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
    });
}

#[test]
fn a_bridge_that_lost_what_the_plan_gave_it_is_named() {
    let mut plan = bridged(2, &["10.244.1.0/24", "fd00:244:1::/64"]);
    let bridge = bridge_of(&mut plan);
    (bridge.promiscuous, bridge.exclusive) = (true, true);
    for (command, expected) in [
        ("ip link set cni0 promisc off", "promiscuous mode of bridge cni0: expected on, found off"),
        (
            "ip address add 192.0.2.9/24 dev cni0",
            "address 192.0.2.9/24 of bridge cni0: expected none, found present",
        ),
    ] {
        isolated(|| assert_eq!(after(&plan, &[command], &[]), [expected], "{command}"));
    }
}

#[test]
fn what_the_pods_frames_depend_on_is_compared() {
    let mut plan = bridged(2, &["10.244.1.0/24"]);
    plan.traffic.port_mappings =
        vec![PortMapping { protocol: Protocol::Tcp, host_ip: None, host_port: 8080, container_port: 80 }];
    let Wiring::Bridge { bridge, hairpin, isolated: apart, .. } = &mut plan.wiring else {
        panic!("a bridge")
    };
    (bridge.mtu, *hairpin, *apart) = (Some(1400), true, true);
    let without_mtu = {
        let mut plan = plan.clone();
        bridge_of(&mut plan).mtu = None;
        plan
    };
    for (plan, on_node, in_container, expected) in [
        (&plan, "ip link set pw2 mtu 1300", "true", "MTU of host interface pw2: expected 1400, found 1300"),
        (
            &plan,
            "true",
            "ip link set eth0 mtu 1401",
            "MTU of eth0 in the container: expected at most 1400, found 1401",
        ),
        (
            &without_mtu,
            "ip link set pw2 mtu 1300",
            "true",
            "MTU of eth0 in the container: expected at most 1300, found 1500",
        ),
        (&plan, "ip link set cni0 mtu 1280", "true", "MTU of bridge cni0: expected 1400, found 1280"),
        (
            &plan,
            "ip link set cni0 address 02:00:00:00:00:99",
            "true",
            "hardware address of bridge cni0: expected 0a:58:0a:f4:01:01, or another of podwire's, found \
             02:00:00:00:00:99",
        ),
        (
            &plan,
            "ip link set pw2 type bridge_slave hairpin off",
            "true",
            "hairpin mode of host interface pw2: expected on, found off",
        ),
        (
            &plan,
            "ip link set pw2 type bridge_slave isolated off",
            "true",
            "isolation of host interface pw2: expected on, found off",
        ),
        (&plan, "sysctl -qw net.ipv4.ip_forward=0", "true", "net.ipv4.ip_forward: expected 1, found 0"),
        (
            &plan,
            "sysctl -qw net.ipv4.conf.cni0.route_localnet=0",
            "true",
            "net.ipv4.conf.cni0.route_localnet: expected 1, found 0",
        ),
    ] {
        isolated(|| assert_eq!(after(plan, &[on_node], &[in_container]), [expected], "{on_node}"));
    }
}

#[test]
fn a_shorter_packet_of_a_later_plugins_is_no_difference() {
    isolated(|| {
        let mut plan = bridged(2, &["10.244.1.0/24"]);
        bridge_of(&mut plan).mtu = Some(1400);
        assert_eq!(after(&plan, &[], &["ip link set eth0 mtu 1300"]), [""; 0]);
    });
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
        let another =
            ["ip link set pw2 down", "ip link set pw2 name old", "ip link add pw2 type veth peer name far"];
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
