use crate::plan::derived::bridge_mac;
use crate::plan::marks::GROUP;
use crate::plan::{NodePlan, PortVlans, Wiring};

use super::super::{Error, Unwiring, inspect, node, unwire, wire};
use super::*;

const V4: &str = "10.244.1.0/24";
const V6: &str = "fd00:244:1::/64";

#[test]
fn a_bridge_is_set_promiscuous_once_and_stays_so() {
    isolated(|| {
        let _plain = wired(&bridged(2, &[V4]));
        assert!(!link_named("cni0").expect("made").promiscuous);
        let mut plan = bridged(3, &[V4]);
        bridge_of(&mut plan).promiscuous = true;
        let _asks = wired(&plan);
        let _asks_not = wired(&bridged(4, &[V4]));
        let bridge = link_named("cni0").expect("there");
        assert!(bridge.promiscuous && bridge.up);
    });
}

#[test]
fn an_exclusive_bridge_loses_what_stands_in_the_way() {
    isolated(|| {
        let _first = wired(&bridged(2, &[V4, V6]));
        run("ip address del 10.244.1.1/24 dev cni0");
        for added in [
            // Before the plan's own on their link, so that it would go with them.
            "10.244.1.77/24",
            "192.0.2.1/24",
            "fd00:244:1::77/64",
            "fd00:244::77/32",
            "fd00:999::1/64",
            "fe80::77/64",
        ] {
            run(&format!("ip address add {added} dev cni0"));
        }
        let mut plan = bridged(3, &[V4, V6]);
        let _second = wired(&plan);
        assert_eq!(addresses_of("cni0").len(), 9, "not asked to");
        let exclusive = |number| {
            let mut plan = bridged(number, &[V4, V6]);
            bridge_of(&mut plan).exclusive = true;
            plan
        };
        plan = exclusive(4);
        let third = wired(&plan);
        let mut left = addresses_of("cni0");
        left.sort();
        let own = bridge_mac(bridge_of(&mut plan));
        let link_local = crate::plan::derived::link_local(own).to_string();
        let mut expected =
            ["10.244.1.1/24", "fd00:244:1::1/64", "fd00:999::1/64", "fe80::77/64", link_local.as_str()];
        expected.sort_unstable();
        assert_eq!(left, expected);
        assert_eq!(inspect(&third, &plan).expect("inspected"), []);
        let mut without_addresses = exclusive(5);
        bridge_of(&mut without_addresses).addresses.clear();
        let _fourth = wired(&without_addresses);
        assert_eq!(addresses_of("cni0").len(), expected.len(), "nothing stands in the way of nothing");
    });
}

#[test]
fn the_operators_bridge_is_used_as_it_is() {
    isolated(|| {
        run("ip link add cni0 mtu 1420 type bridge");
        let before = link_named("cni0").expect("made");
        let mut plan = bridged(2, &[V4, V6]);
        assert!(matches!(wire(&new_namespace(), &plan), Err(Error::ForeignBridge(_))));
        bridge_of(&mut plan).operators = true;
        let pod = wired(&plan);
        let bridge = link_named("cni0").expect("there");
        assert_eq!((bridge.group, &bridge.alias, bridge.mtu), (0, &None, 1420), "no mark of podwire's");
        assert_eq!((bridge.mac, bridge.up), (before.mac, true));
        assert!(addresses_of("cni0").contains(&"10.244.1.1/24".to_owned()));
        assert_eq!(inspect(&pod, &plan).expect("inspected"), []);
        assert_eq!(link_named("pw2").expect("made").mtu, 1420);
    });
}

#[test]
fn no_bridge_loses_an_address_of_the_node() {
    isolated(|| {
        run("ip link add cni0 type bridge");
        run("ip address add 192.168.1.11/24 dev cni0");
        let mut plan = bridged(2, &[V4]);
        let bridge = bridge_of(&mut plan);
        (bridge.operators, bridge.exclusive) = (true, true);
        bridge.kept = vec!["192.168.1.11".parse().expect("valid")];
        let planned = NodePlan { bridges: vec![bridge.clone()], ..NodePlan::nothing() };
        let expected = "bridge cni0 has 192.168.1.11/24, an address of the node itself, which would give way to the \
                        pods' gateway (`forceAddress`): leave that out, or name another bridge";
        assert_eq!(wire(&new_namespace(), &plan).expect_err("in the way").to_string(), expected);
        let refused = node::apply_undisputed(&planned, &[]).expect_err("in the way");
        assert_eq!(refused.to_string(), expected);
        assert_eq!(addresses_of("cni0"), ["192.168.1.11/24"]);
        assert!(link_named("pw2").is_none());

        bridge_of(&mut plan).exclusive = false;
        let _pod = wired(&plan);
        assert!(addresses_of("cni0").contains(&"192.168.1.11/24".to_owned()));
    });
}

#[test]
fn a_failed_wiring_takes_nothing_from_a_bridge_and_changes_nothing_of_it() {
    let harms: [fn(&Namespace, &mut Checked); 2] = [
        |pod, _| inside(pod, || run("ip link add eth0 type veth peer name far")),
        |_, plan| plan.sysctls.push(("net/ipv4/no_such_setting".into(), "1".into())),
    ];
    for harm in harms {
        isolated(|| {
            run("ip link add cni0 type bridge");
            // Else the kernel gives it an address of its own with its first port.
            run("ip link set cni0 addrgenmode none");
            run("ip link set cni0 up");
            run("ip address add 10.77.0.1/24 dev cni0");
            let pod = new_namespace();
            let mut plan = bridged(2, &[V4]);
            let bridge = bridge_of(&mut plan);
            (bridge.operators, bridge.exclusive, bridge.promiscuous) = (true, true, true);
            bridge.mtu = Some(1300);
            let wanted = plan.clone();
            harm(&pod, &mut plan);
            wire(&pod, &plan).expect_err("spoiled");
            let bridge = link_named("cni0").expect("there");
            assert_eq!(addresses_of("cni0"), ["10.77.0.1/24"]);
            assert_eq!((bridge.mtu, bridge.promiscuous), (1500, false));

            let wired = super::wired(&wanted);
            let bridge = link_named("cni0").expect("there");
            assert_eq!((bridge.mtu, bridge.promiscuous), (1300, true));
            assert_eq!(addresses_of("cni0"), ["10.244.1.1/24"]);
            assert_eq!(inspect(&wired, &wanted).expect("inspected"), []);
        });
    }
}

#[test]
fn the_operators_bridge_is_podwires_own_if_it_is_missing_and_must_be_a_bridge() {
    isolated(|| {
        let mut plan = bridged(2, &[V4]);
        bridge_of(&mut plan).operators = true;
        let _pod = wired(&plan);
        let bridge = link_named("cni0").expect("made");
        assert_eq!((bridge.group, bridge.alias.as_deref()), (GROUP, Some("podwire")));

        run("ip link add cni1 type veth");
        bridge_of(&mut plan).name = name("cni1");
        plan.host_interface = name("pw3");
        let error = wire(&new_namespace(), &plan).expect_err("no bridge");
        assert_eq!(error.to_string(), "cni1 is a veth, not a bridge; name another bridge");
    });
}

pub(super) fn in_vlans(number: u8, native: u16, tagged: &[(u16, u16)]) -> Checked {
    let mut plan = bridged(number, &[V4]);
    if let Wiring::Bridge { vlans, .. } = &mut plan.wiring {
        *vlans = Some(PortVlans { native, tagged: tagged.to_vec(), keep_default: false });
    }
    plan
}

/// Whether this machine's kernel can be tried: there is no way to know but to ask it.
pub(super) fn kernel_filters_by_vlan() -> bool {
    let made = Command::new("ip").args("link add probe type bridge vlan_filtering 1".split(' ')).output();
    let made = made.expect("installed").status.success();
    if made {
        run("ip link delete probe");
    }
    made
}

#[test]
fn pods_of_one_vlan_reach_each_other_or_the_error_says_what_the_kernel_lacks() {
    isolated(|| if kernel_filters_by_vlan() { vlans_are_kept_apart() } else { vlans_are_refused() });
}

fn vlans_are_kept_apart() {
    // A port that knows no VLANs, on a bridge that filters only later.
    let plain = [wired(&bridged(2, &[V4])), wired(&bridged(3, &[V4]))];
    let plans = [in_vlans(4, 100, &[(10, 20), (30, 30)]), in_vlans(5, 100, &[]), in_vlans(6, 200, &[])];
    let pods = plans.each_ref().map(wired);
    assert!(link_named("cni0").expect("there").vlan_filtering);
    for (pod, plan) in pods.iter().zip(&plans) {
        assert_eq!(inspect(pod, plan).expect("inspected"), []);
    }
    assert!(reaches(&plain[0], "10.244.1.2", &plain[1], "10.244.1.3"));
    assert!(reaches(&pods[0], "10.244.1.4", &pods[1], "10.244.1.5"));
    assert!(!reaches(&pods[0], "10.244.1.4", &pods[2], "10.244.1.6"));
    assert!(!reaches(&pods[0], "10.244.1.4", &plain[0], "10.244.1.2"));
    run("bridge vlan delete vid 15 dev pw4");
    run("ip link set cni0 type bridge vlan_filtering 0");
    let found = inspect(&pods[0], &plans[0]).expect("inspected");
    let expected = [
        "VLAN filtering of bridge cni0: expected on, found off",
        "VLANs of host interface pw4: expected 10-20, 30, 100 native, found 10-14, 16-20, 30, 100 native",
    ];
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    let mut fresh = in_vlans(7, 1, &[(2, 4)]);
    bridge_of(&mut fresh).name = name("cni1");
    let trunk = wired(&fresh);
    assert_eq!(inspect(&trunk, &fresh).expect("inspected"), []);
}

#[test]
fn the_node_is_the_gateway_of_a_vlan_or_the_error_says_what_the_kernel_lacks() {
    isolated(|| if kernel_filters_by_vlan() { a_vlan_has_a_gateway() } else { vlans_are_refused() });
}

fn a_vlan_has_a_gateway() {
    let node = Namespace::current().expect("current");
    let plan = in_vlans(4, 100, &[]);
    let (pod, other) = (wired(&plan), wired(&in_vlans(5, 100, &[])));
    assert_eq!((addresses_of("cni0"), addresses_of("cni0.100")), (vec![], vec!["10.244.1.1/24".to_owned()]));
    assert!(reaches(&pod, "10.244.1.4", &node, "10.244.1.1"));
    assert!(reaches(&node, "10.244.1.1", &other, "10.244.1.5"));
    assert_eq!(inspect(&pod, &plan).expect("inspected"), []);
    unwire(&in_vlans(5, 100, &[])).and_then(Unwiring::finish).expect("gone");
    let remembered = output("ip neighbour show dev cni0.100");
    assert!(remembered.contains("10.244.1.4 ") && !remembered.contains("10.244.1.5 "), "{remembered}");
    run("bridge vlan add vid 7 dev cni0-100");
    run("ip address delete 10.244.1.1/24 dev cni0.100");
    let found = inspect(&pod, &plan).expect("inspected");
    let expected = [
        "address 10.244.1.1/24 of interface cni0.100: expected present, found none",
        "VLANs of interface cni0-100: expected 100 native, found 7, 100 native",
    ];
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    let _again = wired(&in_vlans(6, 100, &[]));
    assert_eq!(addresses_of("cni0.100"), ["10.244.1.1/24"]);
    run("ip link add cni0.200 type bridge");
    let error = wire(&new_namespace(), &in_vlans(7, 200, &[])).expect_err("it is no veth");
    assert!(error.to_string().starts_with("cni0.200 shall be the gateway of a VLAN"), "{error}");
    assert!(link_named("pw7").is_none());
}

fn vlans_are_refused() {
    let refused = || {
        let error = wire(&new_namespace(), &in_vlans(2, 100, &[])).expect_err("not this kernel");
        let said = error.to_string();
        assert!(said.contains("cni0") && said.contains("CONFIG_BRIDGE_VLAN_FILTERING"), "{said}");
        assert!(said.contains("`vlan`"), "which key: {said}");
        assert!(link_named("pw2").is_none() && link_named("cni0.100").is_none());
    };
    refused();
    assert!(link_named("cni0").is_none(), "nothing is left");
    let _other = wired(&bridged(3, &[V4]));
    refused();
}
