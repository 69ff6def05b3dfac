use alloc::string::{String, ToString as _};
use alloc::vec;

use podwire_sdk::testing::{FakeLeases, add_request, decide, node, node_request, peer, range};
use podwire_sdk::{RefusalReason, config};

use super::*;

const POOLS: [&str; 2] = ["10.244.1.0/24", "fd00:10:244:1::/64"];

const CONFIG: &str = r#"{
    "tenants": [
        { "name": "ci", "namespaces": ["db-ci"], "admits": ["shop", "team-*"], "bridge": "br-ci", "isolation": "ports",
          "blocks": ["10.244.1.192/26"] },
        { "name": "db", "namespaces": ["db", "db-*"], "bridge": "br-db", "isolation": "tenant", "veth": "db",
          "blocks": ["10.244.1.128/26", "10.244.2.128/26", "fd00:10:244:1:8000::/65"] },
        { "name": "web", "namespaces": ["*"], "bridge": "br-web", "blocks": ["10.244.1.0/25"], "mtu": 1400 }
    ],
    "annotation": "podwire/tenant"
}"#;

fn policy() -> Tenants {
    config::read(CONFIG).expect("a configuration")
}

fn planned(policy: &Tenants, request: &AddRequest) -> Result<String, Refusal> {
    decide(policy, request, &mut FakeLeases::new()).map(|plan| plan.to_string())
}

fn in_namespace(namespace: &str) -> AddRequest {
    add_request("0abc", &POOLS).for_pod(namespace, "a")
}

/// The bridge that a pod of a namespace gets to, with this annotation or none.
fn bridge_of(namespace: &str, annotation: Option<&str>) -> Result<String, Refusal> {
    let request = in_namespace(namespace);
    let request = match annotation {
        Some(tenant) => request.annotated("podwire/tenant", tenant),
        None => request,
    };
    let plan = planned(&policy(), &request)?;
    Ok(plan.split(' ').find(|word| word.starts_with("br-")).unwrap_or_default().to_string())
}

#[test]
fn an_isolated_tenant_has_no_way_out() {
    let plan = planned(&policy(), &in_namespace("db")).expect("a plan");
    let (lines, veth) = plan.split_once(" veth ").expect("its name is said");
    assert_eq!(
        lines,
        "address 10.244.1.130/26\n\
         address fd00:10:244:1:8000::2/65\n\
         port of bridge br-db hairpin"
    );
    let name = veth.split(' ').next().unwrap_or_default();
    assert!(name.starts_with("db") && name.len() == 12, "{veth}");
    assert!(veth.ends_with("check-mac check-address"), "{veth}");
}

#[test]
fn another_has_a_gateway() {
    assert_eq!(
        planned(&policy(), &in_namespace("shop")).expect("a plan"),
        "address 10.244.1.2/25 gateway 10.244.1.1\n\
         route 0.0.0.0/0 via 10.244.1.1\n\
         port of bridge br-web 10.244.1.1/25 mtu 1400 hairpin check-mac check-address"
    );
    let ports = planned(&policy(), &in_namespace("db-ci")).expect("a plan");
    assert!(ports.contains("port of bridge br-ci 10.244.1.193/26 hairpin isolated"), "{ports}");
}

#[test]
fn the_first_tenant_that_has_the_namespace_has_the_pod() {
    for (namespace, bridge) in
        [("db", "br-db"), ("db-eu", "br-db"), ("db-ci", "br-ci"), ("dbs", "br-web"), ("shop", "br-web")]
    {
        assert_eq!(bridge_of(namespace, None).as_deref(), Ok(bridge), "{namespace}");
    }
}

#[test]
fn a_pod_chooses_among_those_that_admit_it() {
    for (namespace, tenant, bridge) in [
        ("shop", "ci", "br-ci"),
        ("team-7", "ci", "br-ci"),
        ("db", "web", "br-web"),
        ("db-ci", "db", "br-db"),
    ] {
        assert_eq!(bridge_of(namespace, Some(tenant)).as_deref(), Ok(bridge), "{namespace} {tenant}");
    }
    for (namespace, tenant) in
        [("shop", "db"), ("team", "ci"), ("dbs", "db"), ("shop", "nobody"), ("shop", "")]
    {
        let refusal = bridge_of(namespace, Some(tenant)).expect_err("a foreign tenant");
        assert_eq!(refusal.reason, RefusalReason::Denied, "{refusal}");
        assert!(refusal.message.contains(&format!("names tenant `{tenant}`")), "{refusal}");
    }
}

#[test]
fn an_annotation_counts_only_if_it_is_configured() {
    let without = config::read(&CONFIG.replace("podwire/tenant", "other/key")).expect("a configuration");
    let plan = planned(&without, &in_namespace("shop").annotated("podwire/tenant", "db")).expect("a plan");
    assert!(plan.contains("br-web"), "{plan}");
}

#[test]
fn who_is_no_tenants_is_refused() {
    let text =
        r#"{"tenants": [{"name": "db", "namespaces": ["db"], "bridge": "b", "blocks": ["10.244.1.0/25"]}]}"#;
    for (text, refused) in [(text, true), (&*text.replace(r#"["db"]"#, r#"["db", "*"]"#), false)] {
        for request in [in_namespace("shop"), add_request("0abc", &POOLS)] {
            let answer = planned(&config::read(text).expect("a configuration"), &request);
            let reason = answer.map(drop).map_err(|refusal| refusal.reason);
            assert_eq!(reason, if refused { Err(RefusalReason::Denied) } else { Ok(()) });
        }
    }
}

/// However many there are, of whichever tenant: nobody has an address of another tenant's blocks.
#[test]
fn addresses_never_leave_the_blocks() {
    let (policy, mut leases) = (policy(), FakeLeases::new());
    let blocks = [
        ("db", range("10.244.1.128/26", "10.244.1.130", "10.244.1.190")),
        ("shop", range("10.244.1.0/25", "10.244.1.2", "10.244.1.126")),
        ("db-ci", range("10.244.1.192/26", "10.244.1.194", "10.244.1.254")),
    ];
    let mut refused = 0;
    for i in 0..400_usize {
        let (namespace, block) = &blocks[i % blocks.len()];
        let request = AddRequest { container_id: format!("c{i}"), ..in_namespace(namespace) };
        match decide(&policy, &request, &mut leases) {
            Ok(plan) => assert!(block.contains(plan.addresses[0].prefix.addr()), "{namespace}: {plan}"),
            Err(refusal) => {
                assert_eq!(refusal.reason, RefusalReason::Exhausted);
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 400 - 61 - 125 - 61, "each block was filled");
}

#[test]
fn nobody_asks_for_a_foreign_address() {
    for (namespace, asked) in [("shop", "10.244.1.131"), ("db", "10.244.1.2"), ("shop", "10.244.1.1")] {
        let request = in_namespace(namespace).asking_for(&[asked]);
        let refusal = planned(&policy(), &request).expect_err(asked);
        assert_eq!(refusal.reason, RefusalReason::Denied, "{refusal}");
    }
    let plan = planned(&policy(), &in_namespace("shop").asking_for(&["10.244.1.77"])).expect("its own");
    assert!(plan.contains("10.244.1.77/25"), "{plan}");
}

#[test]
fn a_node_without_a_block_is_named() {
    let elsewhere = AddRequest { node: node(&["10.244.3.0/24"]), ..in_namespace("db") };
    let refusal = planned(&policy(), &elsewhere).expect_err("no block");
    assert_eq!(refusal.reason, RefusalReason::InvalidConfig);
    assert!(refusal.message.starts_with("no block of tenant db lies in a pool of node n1"), "{refusal}");
}

const TWO: &str = r#"{"tenants": [
    {"name": "a", "bridge": "b1", "blocks": ["10.244.1.0/25"]},
    {"name": "b", "bridge": "b2", "blocks": ["10.244.1.128/25"], "namespaces": ["x"]}
]}"#;

#[test]
fn what_would_mix_tenants_is_refused() {
    assert_eq!(config::read::<Tenants>(TWO).and_then(|policy| policy.check()), Ok(()));
    for (good, wrong, words) in [
        ("b2", "b1", "tenants b and a share a name, a bridge or addresses"),
        (r#""b""#, r#""a""#, "tenants a and a share a name, a bridge or addresses"),
        ("10.244.1.128/25", "10.244.1.64/26", "tenants b and a share a name, a bridge or addresses"),
        ("10.244.1.128/25", "10.244.0.0/16", "tenants b and a share a name, a bridge or addresses"),
        ("10.244.1.0/25", "10.244.1.0/31", "tenants[0].blocks has 10.244.1.0/31"),
        ("10.244.1.0/25", "10.244.1.1/25", "tenants[0].blocks has 10.244.1.1/25"),
        ("b1", "a/b", "tenants[0].bridge is `a/b`"),
        (r#""namespaces""#, r#""veth": "longer", "namespaces""#, "tenants[1].veth is `longer"),
        (r#""namespaces""#, r#""mtu": 1, "namespaces""#, "tenants[1].mtu is 1"),
        ("namespaces", "namespace", "did you mean `namespaces`?"),
    ] {
        let text = TWO.replacen(good, wrong, 1);
        let refusal = config::read::<Tenants>(&text).and_then(|policy| policy.check()).expect_err(&text);
        assert_eq!(refusal.reason, RefusalReason::InvalidConfig);
        assert!(refusal.message.contains(words), "{words} is not in: {refusal}");
    }
    let mixed = config::read(&TWO.replace("b2", "b1")).expect("it can be read");
    let refusal = planned(&mixed, &in_namespace("x"));
    assert!(refusal.is_err_and(|refusal| refusal.reason == RefusalReason::InvalidConfig), "for pods, too");
}

#[test]
fn a_node_has_the_bridges_and_sends_nothing_after_the_isolated() {
    let request = node_request(&POOLS, vec![peer("n2", &["192.168.1.12"], &["10.244.2.0/24"])]);
    assert_eq!(
        policy().node(&request).expect("a plan").to_string(),
        "bridge br-ci 10.244.1.193/26\n\
         bridge br-db\n\
         bridge br-web 10.244.1.1/25 mtu 1400\n\
         route 10.244.2.0/24 via 192.168.1.12\n\
         blackhole 10.244.1.128/26 metric 4294967295\n\
         blackhole fd00:10:244:1:8000::/65 metric 4294967295\n"
    );
}
