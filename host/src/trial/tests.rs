//! The battery tells good policies from bad ones.

use std::net::IpAddr;
use std::sync::LazyLock;

use ipnet::IpNet;

use super::battery::battery_within;
use super::*;
use crate::leases::Ledger;
use crate::plan::{AddRequest, Node, NodeRequest, Peer, Role, Uplink};
use crate::policy::testing::{Guest, request};
use crate::policy::{Engine, Policy, limits};

fn policy(component: &[u8]) -> Policy {
    Engine::new().unwrap().load_component(component, "test").unwrap()
}

static BRIDGE: LazyLock<Policy> = LazyLock::new(|| policy(include_bytes!("../../../guests/bridge.wasm")));

static HOSTILE: LazyLock<Policy> =
    LazyLock::new(|| policy(include_bytes!("../../../tests/guests/built/hostile.wasm")));

/// What the battery finds in a policy that does and answers what its configuration says.
fn hostile(config: &str) -> Report {
    battery(&HOSTILE, &[Setting::of(config)])
}

fn fault(report: &Report) -> String {
    let (situation, fault) = report.faults().next().unwrap_or_else(|| panic!("it passed:\n{report}"));
    format!("{situation}: {fault}")
}

#[test]
fn the_default_policy_passes_and_equal_batteries_say_the_same() {
    let reports = [(), ()].map(|()| battery(&BRIDGE, &[]));
    assert!(reports[0].passed() && reports[0].stopped.is_none(), "{}", reports[0]);
    assert!(!reports[0].is_all_refusals());
    let [first, second] = reports.map(|report| serde_json::to_value(&report).unwrap());
    assert_eq!(first, second);
}

#[test]
fn costs_are_told_beside_their_limits() {
    let report = battery(&BRIDGE, &[]);
    let add = report.costs.iter().find(|cost| cost.export == "add").unwrap();
    assert!(add.asked > 300, "{}", add.asked);
    for (spread, limit) in [
        (add.fuel, limits::FUEL),
        (add.memory, limits::MEMORY as u64),
        (add.host_calls, limits::HOST_CALLS.into()),
    ] {
        assert_eq!(spread.limit, limit);
        assert!(
            spread.least <= spread.median && spread.median <= spread.most && spread.most < limit,
            "{spread:?}"
        );
    }
    assert!(add.fuel.least > 0 && add.memory.least >= 1 << 16 && add.host_calls.most > 0, "{add:?}");
    assert!(report.to_string().contains("50,000,000"), "{report}");
}

#[test]
fn a_policy_that_refuses_everything_with_reason_passes() {
    let report = hostile(r#"{ "do": "refuse", "message": "not today" }"#);
    assert!(report.passed(), "{report}");
    assert!(report.is_all_refusals(), "{report}");
    assert!(report.to_string().contains("not today"), "{report}");
}

#[test]
fn what_a_policy_ought_not_to_do_is_found() {
    for (config, found) in [
        (r#"{ "do": "loop" }"#, "units of fuel"),
        (r#"{ "do": "memory" }"#, "bytes of memory"),
        (r#"{ "do": "recurse" }"#, "of stack"),
        (r#"{ "do": "trap" }"#, "unreachable"),
        (r#"{ "do": "leases" }"#, "called the host more than"),
        (r#"{ "do": "routes", "count": 65 }"#, "at most 64 are allowed"),
        (r#"{ "do": "bad-utf8" }"#, "does not keep to the component model"),
        (r#"{ "do": "trap", "in": "check-config" }"#, "check-config: the network's: "),
        (r#"{ "do": "trap", "in": "del" }"#, "DEL, and the next ADD: "),
        (r#"{ "do": "trap", "in": "node" }"#, "node: without peers: "),
        (r#"{ "node_plan": { "bridges": [{ "name": "a/b" }] } }"#, "node: without peers: "),
        (r#"{ "plan": { "addresses": [{ "prefix": "10.244.1.0/32" }] } }"#, "that is the network address"),
        (
            r#"{ "plan": { "addresses": [{ "prefix": "203.0.113.9/32" }] } }"#,
            "lie in one of the node's pools",
        ),
        (r#"{ "plan": { "host_interface": "veth0" } }"#, "the interface name veth0 is used by"),
    ] {
        let report = hostile(config);
        let fault = fault(&report);
        assert!(fault.contains(found), "{config}: {found:?} is not in {fault:?}");
    }
}

/// An interpreter may need more fuel for 1,000 peers than there is, and serve a hundred.
#[test]
fn work_that_is_too_much_for_a_large_cluster_is_told_and_no_fault() {
    // The request is in memory, and how many peers there are at its forty-eighth byte.
    let node =
        "(if (i32.gt_u (i32.load offset=48 (local.get 0)) (i32.const 500)) (then (loop $forever (br $forever))))
        (i32.const 1024)";
    let guest = Guest { node, pages: 60, ..Guest::default() };
    let report = battery(&policy(&guest.build()), &[]);
    let row = |situation| report.rows.iter().find(|row| row.situation == situation).unwrap();
    assert_eq!(
        (row("node: 100 peers").answers, row("node: 1,000 peers").refused_by_host),
        (1, 1),
        "{report}"
    );
    assert!(row("node: 1,000 peers").example.as_ref().unwrap().contains("units of fuel"), "{report}");
}

/// Half of them on the node's link.
fn thousands_of_peers(config: &str, block_of: fn(u16) -> [String; 2]) -> NodeRequest {
    let net = |text: &str| text.parse::<IpNet>().unwrap();
    let addresses = ["172.16.0.1/21", "fd01::1/117"].map(net).to_vec();
    let node = Node {
        addresses: addresses.iter().map(IpNet::addr).collect(),
        pools: ["10.95.255.0/24", "fd00:ffff::/64"].map(net).to_vec(),
        cluster: ["10.64.0.0/11", "fd00::/16"].map(net).to_vec(),
        ..request().node
    };
    let peer = |i: u16| {
        let [high, low] = (2 * i + 2).to_be_bytes();
        let addresses =
            vec![IpAddr::from([172, 16, high, low]), format!("fd01::{:x}", 2 * i + 2).parse().unwrap()];
        let pools = block_of(i).map(|block| net(&block)).to_vec();
        Peer { name: format!("node-{i}.example"), role: Role::Host, addresses, pools }
    };
    let uplinks = vec![Uplink { name: "eth0".parse().unwrap(), addresses, mtu: 1_500 }];
    let peers = (0..5_000).map(peer).collect();
    NodeRequest { node, role: Role::Host, uplinks, peers, config: config.into() }
}

/// With room for a policy that has more to weigh, and even if they are all the same wrong block.
#[test]
fn thousands_of_peers_are_no_strain() {
    let own = |i: u16| [format!("10.{}.{}.0/24", 64 + (i >> 8), i & 255), format!("fd00:0:{i:x}::/64")];
    let same = |_: u16| ["10.64.0.0/24".to_owned(), "10.9.0.0/24".to_owned()];
    for (config, block_of, routes) in [
        ("{}", own as fn(u16) -> [String; 2], 10_000),
        (r#"{ "ways": "direct" }"#, own, 2_046),
        (r#"{ "ways": "vxlan" }"#, own, 10_000),
        (r#"{ "ways": "router", "router": ["172.16.0.254", "fd01::2"] }"#, own, 4),
        ("{}", same, 1),
    ] {
        let said = decision::node(&BRIDGE, &thousands_of_peers(config, block_of));
        let plan = said.answer.unwrap().unwrap().unwrap();
        assert_eq!(plan.routes.len(), routes, "{config}");
        let spent = said.spent.unwrap();
        assert!(
            spent.fuel < limits::FUEL / 10 * 9 && spent.memory < limits::MEMORY / 2,
            "{config}: {spent:?}"
        );
    }
}

/// How the policy fails that does this in that export.
fn failure(export: &str, deed: &str) -> String {
    let config = format!(r#"{{ "do": "{deed}", "in": "{export}", "count": 2097152 }}"#);
    let (leases, request) = (Ledger::new(), AddRequest { config: config.clone(), ..request() });
    let AddRequest { node, .. } = request.clone();
    let asked = match export {
        "check-config" => decision::check_config(&HOSTILE, &config).answer.map(drop),
        "del" => decision::del(&HOSTILE, &decision::del_request(&request, &leases), &leases).answer.map(drop),
        "node" => decision::node(
            &HOSTILE,
            &NodeRequest { node, role: Role::Host, uplinks: Vec::new(), peers: [].into(), config },
        )
        .answer
        .map(drop),
        _ => return add(&HOSTILE, &request, &leases).decision.to_string(),
    };
    asked.unwrap_err().to_string()
}

#[test]
fn every_deed_ends_in_every_export() {
    for (deed, words) in [
        ("loop", "used up its 50,000,000 units of fuel"),
        ("memory", "bytes of memory, of at most 64 MiB"),
        ("recurse", "used up its 256 KiB of stack"),
        ("trap", "unreachable"),
        ("panic", "the configuration says so"),
        ("leases", "called the host more than 4,096 times"),
        ("log", "called the host more than 4,096 times"),
        ("log-line", "passed more than 1 MiB to the host at once"),
    ] {
        for export in ["check-config", "add", "del", "node"] {
            let failure = failure(export, deed);
            assert!(failure.contains(words) && failure.contains(&format!("failed in {export}")), "{failure}");
        }
    }
    for export in ["add", "node"] {
        for (deed, words) in [
            ("routes", "bytes of memory, of at most 64 MiB"),
            ("text", "passed more than 1 MiB to the host at once"),
            ("bad-utf8", "does not keep to the component model"),
            ("bad-pointer", "does not keep to the component model"),
        ] {
            let failure = failure(export, deed);
            assert!(failure.contains(words), "{export}, {deed}: {failure}");
        }
    }
}

/// A policy's start functions are run before each question, so they are no way round a limit.
#[test]
fn what_is_done_before_the_first_question_is_bounded_too() {
    for (fields, words) in [
        ("(func $start (loop $forever (br $forever))) (start $start)", "units of fuel"),
        ("(func $start (call $start) (call $start)) (start $start)", "256 KiB of stack"),
        (
            "(func $start (drop (memory.grow (i32.const 2000)))) (start $start)",
            "bytes of memory, of at most 64 MiB",
        ),
        ("(table 30000 funcref)", "elements, of at most 20,000"),
        (
            "(table $t 1 funcref) (func $start (drop (table.grow $t (ref.null func) (i32.const 30000)))) (start $start)",
            "elements, of at most 20,000",
        ),
        ("(func $start unreachable) (start $start)", "unreachable"),
    ] {
        let report = battery(&policy(&Guest { fields, ..Guest::default() }.build()), &[]);
        assert_eq!(report.stopped, Some(Stopped::Faults), "{report}");
        let fault = fault(&report);
        assert!(fault.contains("failed in start") && fault.contains(words), "{fields}: {fault}");
    }
}

#[test]
fn an_address_that_somebody_has_is_no_answer() {
    let report = hostile(r#"{ "plan": { "addresses": [{ "prefix": "10.244.1.9/32" }] } }"#);
    assert!(
        fault(&report)
            .contains("almost full pools: a plan that cannot be recorded: the address 10.244.1.9 is held")
    );
}

#[test]
fn a_policy_that_fails_always_is_not_asked_for_ever() {
    let report = hostile(r#"{ "do": "loop" }"#);
    assert_eq!(report.stopped, Some(Stopped::Faults));
    assert_eq!(report.rows.iter().map(|row| row.faults).sum::<u32>(), 5);
    // Each nearly takes all that it may.
    let slow = "(local $i i32) (loop $again
        (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 6000000))))";
    let report = battery_within(10 * limits::FUEL, &policy(&Guest::adds_after(slow, "")), &[]);
    assert_eq!(report.stopped, Some(Stopped::Fuel));
    let asked = report.costs.iter().find(|cost| cost.export == "add").unwrap().asked;
    assert_eq!(asked, 6, "each is asked twice, and takes 42 of 50 million units");
}

#[test]
fn a_configuration_that_names_other_pools_is_no_fault_of_the_policys() {
    let bridge = r#"{ "bridge": { "bridge": { "name": "cni0", "addresses": ["10.9.0.1/24"] } } }"#;
    let config = format!(r#"{{ "plan": {{ "wiring": {bridge} }} }}"#);
    let own = Setting {
        pools: vec!["10.9.0.0/24".parse().unwrap()],
        cluster: vec!["10.0.0.0/8".parse().unwrap()],
        ..Setting::of(config.clone())
    };
    let report = battery(&HOSTILE, &[own]);
    assert!(report.passed(), "{report}");
    let row = |situation| report.rows.iter().find(|row| row.situation == situation).unwrap();
    assert_eq!(row("nobody holds anything").answers, 1, "{report}");
    assert_eq!(row("IPv6 only").refused_by_host, 2, "{report}");
    // Where these are the network's own pools, it is one.
    assert!(fault(&hostile(&config)).contains("must lie in one of the node's pools"));
}
