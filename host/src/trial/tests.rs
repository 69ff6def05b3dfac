//! The battery tells good policies from bad ones.

use std::sync::LazyLock;

use super::battery::battery_within;
use super::*;
use crate::policy::testing::Guest;
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
