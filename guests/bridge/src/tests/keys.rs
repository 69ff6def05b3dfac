//! Each key, its defaults, and what is wrong with it.

use podwire_sdk::testing::range;
use podwire_sdk::{PortVlans, SpoofCheck};

use super::*;

/// The plan of a network that uses the node's pool.
fn native(config: &str) -> Result<AddPlan, Refusal> {
    script(config).add(&add_request("0abc", &[V4]), &FakeLeases::new())
}

/// The plan of a network whose `ipam` names a part of it, as host-local has it.
fn with_ipam(config: &str) -> Result<AddPlan, Refusal> {
    let mut request = add_request("0abc", &[V4]);
    request.range_sets = Some(vec![vec![range(V4, "10.244.1.1", "10.244.1.254")]]);
    script(config).add(&request, &FakeLeases::new())
}

/// The plan of a network without addresses.
fn layer_2(config: &str) -> Result<AddPlan, Refusal> {
    let request = AddRequest { range_sets: Some(vec![]), ..add_request("0abc", &[V4]) };
    script(config).add(&request, &FakeLeases::new())
}

/// Panics unless the key changes the plans of both kinds of networks as this does.
#[track_caller]
fn assert_changes(config: &str, change: impl Fn(&mut AddPlan)) {
    for add in [native, with_ipam] {
        let mut expected = add("{}").expect("a plan");
        change(&mut expected);
        assert_eq!(add(config), Ok(expected), "{config}");
    }
}

fn change_port(change: impl Fn(&mut BridgePort)) -> impl Fn(&mut AddPlan) {
    move |plan| match &mut plan.wiring {
        Wiring::Bridge(port) => change(port),
        Wiring::Routed => panic!("no port of a bridge"),
    }
}

#[test]
fn without_ipam_the_bridge_is_the_gateway() {
    let plan = native("{}").expect("a plan");
    assert_eq!(port_of(&plan).bridge.addresses, prefixes(&["10.244.1.1/24"]));
    assert!(port_of(&plan).hairpin && plan.has_default_route(Family::V4));
}

#[test]
fn with_ipam_nothing_is_on() {
    let expected = AddPlan::port_of(BridgePort::of(Bridge::named("cni0")))
        .address(prefixes(&["10.244.1.2/24"])[0], Some(ip("10.244.1.1")));
    assert_eq!(with_ipam("{}"), Ok(expected));
}

#[test]
fn each_key_does_what_it_says_and_no_more() {
    assert_changes(r#"{"bridge": "br7"}"#, change_port(|port| port.bridge.name = "br7".into()));
    assert_changes(r#"{"forceAddress": true}"#, change_port(|port| port.bridge.exclusive = true));
    assert_changes(r#"{"ipMasq": true}"#, |plan| plan.masquerade = true);
    assert_changes(r#"{"mtu": 9000}"#, change_port(|port| port.bridge.mtu = Some(9000)));
    assert_changes(r#"{"mtu": 0}"#, |_| {});
    assert_changes(r#"{"hairpinMode": true}"#, change_port(|port| port.hairpin = true));
    assert_changes(r#"{"hairpinMode": false}"#, change_port(|port| port.hairpin = false));
    assert_changes(r#"{"preserveDefaultVlan": true, "vlan": 0, "vlanTrunk": []}"#, |_| {});
    assert_changes(r#"{"macspoofchk": true}"#, |plan| plan.spoof_check.mac = true);
    assert_changes(r#"{"ipspoofchk": true}"#, |plan| plan.spoof_check.address = true);
    assert_changes(r#"{"enabledad": true}"#, |plan| plan.duplicate_address_detection = true);
    assert_changes(r#"{"portIsolation": true}"#, change_port(|port| port.isolated = true));
    let both = SpoofCheck { mac: true, address: true };
    assert_changes(r#"{"ipspoofchk": true, "macspoofchk": true}"#, |plan| plan.spoof_check = both);
    // Hairpin is on by default in one kind of network only, and goes with no promiscuous bridge.
    assert_changes(
        r#"{"promiscMode": true}"#,
        change_port(|port| (port.bridge.promiscuous, port.hairpin) = (true, false)),
    );
}

#[test]
fn all_said_false_is_the_reference_plugins_default() {
    let off = r#"{"isGateway": false, "isDefaultGateway": false, "forceAddress": false, "ipMasq": false,
        "hairpinMode": false, "promiscMode": false, "preserveDefaultVlan": false, "macspoofchk": false,
        "enabledad": false, "disableContainerInterface": false, "portIsolation": false}"#;
    assert_eq!(native(off), with_ipam("{}"));
    assert_eq!(with_ipam(off), with_ipam("{}"));
}

#[test]
fn a_bridge_is_a_gateway_and_perhaps_the_default() {
    for (config, natively, by_ipam) in [
        ("{}", (true, true), (false, false)),
        (r#"{"isGateway": true}"#, (true, true), (true, false)),
        (r#"{"isGateway": false}"#, (false, false), (false, false)),
        (r#"{"isDefaultGateway": true}"#, (true, true), (true, true)),
        (r#"{"isDefaultGateway": false}"#, (true, false), (false, false)),
        (r#"{"isGateway": false, "isDefaultGateway": true}"#, (true, true), (true, true)),
        (r#"{"isGateway": true, "isDefaultGateway": false}"#, (true, false), (true, false)),
    ] {
        let found = [native(config), with_ipam(config)].map(|plan| {
            let plan = plan.expect("a plan");
            assert_eq!(plan.addresses[0].gateway, Some(ip("10.244.1.1")), "reported in any case");
            (!port_of(&plan).bridge.addresses.is_empty(), !plan.routes.is_empty())
        });
        assert_eq!(found, [natively, by_ipam], "{config}");
    }
}

#[test]
fn vlans_are_the_ports() {
    for (config, vlans) in [
        (r#"{"vlan": 100}"#, (100, vec![], true)),
        (r#"{"vlan": 4094, "preserveDefaultVlan": true}"#, (4094, vec![], true)),
        (r#"{"vlan": 4094, "preserveDefaultVlan": false}"#, (4094, vec![], false)),
        (r#"{"vlanTrunk": [{"id": 1}, {"minID": 200, "maxID": 299}]}"#, (1, vec![(1, 1), (200, 299)], true)),
        (r#"{"vlanTrunk": [{"minID": 1, "maxID": 4094}], "vlan": 0}"#, (1, vec![(1, 4094)], true)),
    ] {
        let (native, tagged, keep_default) = vlans;
        let plan = with_ipam(config).expect(config);
        assert_eq!(port_of(&plan).vlans, Some(PortVlans { native, tagged, keep_default }), "{config}");
        assert_eq!(script(config).check(), Ok(()));
    }
}

#[test]
fn a_vlan_has_gateways_as_the_bridge_has() {
    let carried = |config| port_of(&native(config).expect("served")).bridge.addresses.len();
    assert_eq!(carried(r#"{"vlan": 100}"#), carried("{}"));
    assert_eq!(carried(r#"{"vlan": 100, "isGateway": false}"#), 0);
    let of_node = |config| super::on_node(config, vec![]).expect("served").bridges[0].addresses.len();
    assert_eq!(of_node(r#"{"vlan": 100}"#), 0, "the bridge itself is in another VLAN");
    assert_eq!(of_node(r#"{"vlanTrunk": [{"id": 100}]}"#), of_node("{}"));
}

#[test]
fn an_interface_that_is_down_has_no_addresses() {
    let config = r#"{"disableContainerInterface": true}"#;
    for add in [native, with_ipam] {
        let refusal = add(config).expect_err("it has an address");
        assert_eq!(refusal.reason, RefusalReason::InvalidConfig);
        assert!(refusal.message.contains("disableContainerInterface"), "{refusal}");
    }
    assert_eq!(layer_2(config), layer_2("{}").map(AddPlan::interface_down));
}

/// Found with the configuration alone, and by an ADD too.
#[test]
fn a_wrong_configuration_is_refused_with_its_key() {
    for (text, named) in [
        (r#"{"bridge": "a/b"}"#, "bridge is `a/b`"),
        (r#"{"bridge": ""}"#, "bridge is ``"),
        (r#"{"mtu": 67}"#, "mtu is 67: use 68 to 65535"),
        (r#"{"mtu": 65536}"#, "mtu is 65536: use"),
        (r#"{"mtu": -1}"#, "mtu is -1: expected"),
        (r#"{"mtu": "1500"}"#, "mtu is \"1500\": expected"),
        (r#"{"isGateway": 1}"#, "isGateway is 1: expected a boolean"),
        (r#"{"hairpin": true}"#, "unknown key `hairpin`: did you mean `hairpinMode`?"),
        (r#"{"isolated": true}"#, "unknown key `isolated`"),
        (r#"{"ipmasq": true}"#, "did you mean `ipMasq`?"),
        (
            r#"{"ipMasqBackend": "nft"}"#,
            "ipMasqBackend is \"nft\": unknown value `nft`: did you mean `nftables`?",
        ),
        (r#"{"vlan": 4095}"#, "vlan is 4095: a VLAN has a number from 1 to 4094"),
        (r#"{"vlan": -1}"#, "vlan is -1: expected"),
        (r#"{"vlan": 65536}"#, "vlan is 65536: expected"),
        (r#"{"vlanTrunk": 5}"#, "vlanTrunk is 5: expected"),
        (r#"{"vlanTrunk": [{"id": 7}, {"id": 0}]}"#, "vlanTrunk[1] is {\"id\": 0}: give it an id"),
        (r#"{"vlanTrunk": [{"id": 4095}]}"#, "vlanTrunk[0] is {\"id\": 4095}"),
        (r#"{"vlanTrunk": [{}]}"#, "vlanTrunk[0] is {}"),
        (r#"{"vlanTrunk": [{"minID": 5}]}"#, "vlanTrunk[0] is {\"minID\": 5}"),
        (r#"{"vlanTrunk": [{"maxID": 5}]}"#, "vlanTrunk[0] is {\"maxID\": 5}"),
        (r#"{"vlanTrunk": [{"minID": 0, "maxID": 5}]}"#, "vlanTrunk[0] is"),
        (r#"{"vlanTrunk": [{"minID": 5, "maxID": 4095}]}"#, "vlanTrunk[0] is"),
        (r#"{"vlanTrunk": [{"minID": 6, "maxID": 5}]}"#, "vlanTrunk[0] is"),
        (r#"{"vlanTrunk": [{"id": 5, "minID": 5, "maxID": 6}]}"#, "vlanTrunk[0] is"),
        (r#"{"vlanTrunk": [{"minId": 5, "maxID": 6}]}"#, "did you mean `minID`?"),
        (r#"{"hairpinMode": true, "promiscMode": true}"#, "hairpinMode and promiscMode are both true"),
        (
            r#"{"vlan": 3, "vlanTrunk": [{"id": 5}], "isGateway": false}"#,
            "vlan is 3, and vlanTrunk is given too",
        ),
        (r#"{"vlanTrunk": [{"id": 5}], "preserveDefaultVlan": false}"#, "preserveDefaultVlan is false"),
    ] {
        let read = || config::read::<Keys>(text);
        let added = read().and_then(|keys| keys.add(&add_request("0abc", &[V4]), &FakeLeases::new()));
        for refusal in [read().and_then(|keys| keys.check()).expect_err(text), added.expect_err(text)] {
            assert_eq!(refusal.reason, RefusalReason::InvalidConfig, "{text}");
            assert!(refusal.message.contains(named), "{text}: {refusal}");
        }
    }
    for good in [r#"{"mtu": 68}"#, r#"{"mtu": 65535}"#, r#"{"hairpinMode": false, "promiscMode": true}"#] {
        assert_eq!(script(good).check(), Ok(()), "{good}");
    }
}

#[test]
fn iptables_is_understood_and_noted_where_a_person_reads_it() {
    for (backend, noted) in [("nftables", 0), ("iptables", 1)] {
        let config = format!(r#"{{"ipMasq": true, "ipMasqBackend": "{backend}"}}"#);
        assert_eq!(with_ipam(&config), with_ipam(r#"{"ipMasq": true}"#));
        assert_eq!(notes().len(), 0, "no note for each pod");
        assert_eq!(script(&config).check(), Ok(()));
        assert_eq!(notes().len(), noted, "{backend}");
    }
}
