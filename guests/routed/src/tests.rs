use alloc::string::{String, ToString as _};
use alloc::vec;

use podwire_sdk::testing::{FakeLeases, add_request, decide, node_request, peer, prefixes, range};
use podwire_sdk::{RefusalReason, config};

use super::*;

const POOLS: [&str; 2] = ["10.244.1.0/24", "fd00:10:244:1::/64"];

fn policy(text: &str) -> Routed {
    config::read(text).expect("a configuration")
}

fn planned(config: &str, request: &AddRequest) -> String {
    decide(&policy(config), request, &mut FakeLeases::new()).expect("a plan").to_string()
}

#[test]
fn a_pod_has_an_address_and_a_way_out_for_each_family() {
    assert_eq!(
        planned("{}", &add_request("0abc", &POOLS)),
        "address 10.244.1.1/32 gateway 169.254.1.1\n\
         address fd00:10:244:1::1/128 gateway fe80::1\n\
         route 0.0.0.0/0 via 169.254.1.1\n\
         route ::/0 via fe80::1\n\
         routed"
    );
}

#[test]
fn the_configuration_is_followed() {
    let config = r#"{"mtu": 1450, "gateways": ["169.254.1.9"], "ipMasq": true}"#;
    let request = add_request("0abc", &POOLS);
    let plan = planned(config, &AddRequest { requested_mac: Some("0a:58:00:00:00:07".into()), ..request });
    assert!(plan.contains("10.244.1.1/32 gateway 169.254.1.9"), "{plan}");
    assert!(plan.contains("gateway fe80::1"), "the other family keeps its own: {plan}");
    assert!(plan.ends_with("routed mac 0a:58:00:00:00:07 mtu 1450 masquerade"), "{plan}");
}

#[test]
fn what_is_asked_for_is_given() {
    let asking = |addresses: &[&str]| add_request("0abc", &POOLS).asking_for(addresses);
    let plan = planned("{}", &asking(&["10.244.1.77"]));
    assert!(plan.contains("address 10.244.1.77/32") && plan.contains("fd00:10:244:1::1/128"), "{plan}");
    let mut leases = FakeLeases::new();
    decide(&policy("{}"), &asking(&["10.244.1.77"]), &mut leases).expect("it is free");
    for (asked, why) in [("10.244.1.77", "is held by"), ("10.99.0.1", "is not among the addresses")] {
        let refusal = decide(&policy("{}"), &asking(&[asked]), &mut leases).expect_err(why);
        assert_eq!(refusal.reason, RefusalReason::Denied);
        assert!(refusal.message.contains(why), "{refusal}");
    }
}

#[test]
fn ranges_and_routes_of_the_network_are_kept() {
    let gateway = range("10.244.1.0/24", "10.244.1.1", "10.244.1.3");
    let destinations = ["10.0.0.0/8", "0.0.0.0/0"].map(|block| prefixes(&[block])[0]);
    let request = AddRequest {
        range_sets: Some(vec![vec![gateway]]),
        requested_routes: destinations.map(|destination| Route::to(destination, None)).into(),
        ..add_request("0abc", &POOLS)
    };
    assert_eq!(
        planned("{}", &request),
        "address 10.244.1.2/32 gateway 169.254.1.1\n\
         route 10.0.0.0/8 via 169.254.1.1\n\
         route 0.0.0.0/0 via 169.254.1.1\n\
         routed",
        "the range's gateway is kept back, and a default route is not there twice"
    );
}

#[test]
fn the_whole_pool_is_given_and_no_more() {
    let (request, mut leases) = (add_request("0abc", &["10.244.1.0/28"]), FakeLeases::new());
    for _ in 0..14 {
        decide(&policy("{}"), &request, &mut leases).expect("an address");
    }
    let refusal = decide(&policy("{}"), &request, &mut leases).expect_err("it is full");
    assert_eq!(refusal.reason, RefusalReason::Exhausted);
}

#[test]
fn a_wrong_configuration_is_refused_with_its_key() {
    for (text, words) in [
        (r#"{"mtu": 67}"#, "mtu is 67"),
        (r#"{"gateways": ["192.168.1.1"]}"#, "gateways has 192.168.1.1"),
        (r#"{"gateways": ["169.254.2.1"]}"#, "gateways has 169.254.2.1"),
        (r#"{"gateways": ["fe80::1", "fe80::2"]}"#, "gateways has fe80::2, but it is the second"),
        (r#"{"gateways": ["here"]}"#, "gateways[0] is \"here\""),
        (r#"{"gateway": []}"#, "did you mean `gateways`?"),
    ] {
        let refusal = config::read::<Routed>(text).and_then(|policy| policy.check()).expect_err(text);
        assert_eq!(refusal.reason, RefusalReason::InvalidConfig);
        assert!(refusal.message.contains(words), "{words} is not in: {refusal}");
    }
    assert_eq!(policy(r#"{"gateways": ["169.254.1.9", "fe80::9"], "mtu": 9000}"#).check(), Ok(()));
}

#[test]
fn a_node_has_routes_to_its_peers() {
    let request = node_request(&POOLS, vec![peer("n2", &["192.168.1.12"], &["10.244.2.0/24"])]);
    let plan = policy("{}").node(&request).expect("a plan");
    assert_eq!(plan.to_string(), "route 10.244.2.0/24 via 192.168.1.12\n");
}
