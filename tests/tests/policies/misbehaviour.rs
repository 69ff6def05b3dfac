//! Policies that do not answer as they should, or not at all: each ends by itself, with the limit that it
//! passed or what became of it, and leaves nothing behind.

use podwire_tests::network::{V4, V6};
use podwire_tests::{Network, kernel};
use serde_json::{Value, json};

use crate::{Bench, NEVER, built, code, good_plan, hostile, wording};

/// What a policy may do in every one of its functions, and what is said of it.
const DEEDS: [(&str, &str); 7] = [
    ("loop", "used up its 50,000,000 units of fuel"),
    ("memory", "bytes of memory, of at most 64 MiB"),
    ("recurse", "used up its 256 KiB of stack"),
    ("trap", "stopped with \"wasm `unreachable` instruction executed\""),
    ("panic", "the configuration says so\""),
    ("leases", "called the host more than 4,096 times"),
    ("log", "called the host more than 4,096 times"),
];

#[test]
fn a_policy_that_misbehaves_in_add_leaves_nothing() {
    let Some(bench) = Bench::new() else { return };
    for (deed, fault) in DEEDS {
        let network = hostile(json!({ "do": deed }));
        let words = ["policy hostile (sha256:", "failed in add", fault];
        bench.assert_refused(&network, code::POLICY_FAILED, &words);
    }
    bench.assert_nothing_is_held();
}

#[test]
fn a_policy_that_misbehaves_in_check_config_turns_status_red() {
    let Some(bench) = Bench::new() else { return };
    bench.plugin.status(&hostile(json!({}))).done();
    for (deed, fault) in DEEDS {
        let network = hostile(json!({ "do": deed, "in": "check-config" }));
        let call = bench.plugin.verb("STATUS").stdin(network.configuration(&bench.plugin).to_string());
        let before = bench.snapshot();
        let error = bench.plugin.start(&call).finish_within(NEVER).error();
        wording::assert_helpful(&error.message);
        before.assert_unchanged();
        assert_eq!(error.code, code::NOT_AVAILABLE, "{error:?}");
        assert!(error.message.contains("failed in check-config"), "{error:?}");
        assert!(error.message.contains(fault), "{error:?}");
    }
}

#[test]
fn a_policy_that_misbehaves_in_del_keeps_nothing() {
    let Some(bench) = Bench::new() else { return };
    for (deed, fault) in DEEDS {
        let config = json!({ "plan": good_plan(), "do": deed, "in": "del" });
        let (network, pod) = (hostile(config), bench.node.pod("deleted"));
        bench.add(&network, &pod).result();
        let outcome = bench.start("DEL", &network, &pod).finish_within(NEVER);
        outcome.done();
        // The operator is told, though the runtime is not.
        assert!(outcome.stderr.contains(fault), "{deed}: {outcome}");
        assert_eq!(kernel::veths(), 0, "{deed}");
        bench.assert_nothing_is_held();
        pod.namespace.remove();
    }
}

#[test]
fn walking_a_million_leases_ends() {
    let Some(bench) = Bench::new() else { return };
    for pod in 1..33 {
        let addresses = (1..9).map(|i| json!({ "prefix": format!("fd00:10:244:1::{pod:x}:{i}/128") }));
        let plan = json!({ "addresses": addresses.collect::<Vec<_>>() });
        bench.add(&hostile(json!({ "plan": plan })), &bench.node.pod(&format!("pod-{pod}"))).result();
    }
    // 4,096 calls that walk 256 leases each.
    let network = Network::new("1.1.0", &[V6])
        .with("policy", json!("hostile"))
        .with("config", json!({ "do": "walk", "count": 4096 }));
    let words = ["failed in add", "walked more leases than it may in one call"];
    bench.assert_refused(&network, code::POLICY_FAILED, &words);
}

#[test]
fn gigantic_answers_end() {
    let Some(bench) = Bench::new() else { return };
    let deed = |deed: &str, count: u32| hostile(json!({ "do": deed, "count": count }));
    let passed = ["failed in add", "passed more than 1 MiB to the host at once"];
    bench.assert_refused(&deed("log-line", 2 << 20), code::POLICY_FAILED, &passed);
    bench.assert_refused(&deed("routes", 50_000), code::POLICY_FAILED, &passed);
    bench.assert_refused(&deed("routes", 1_000_000), code::POLICY_FAILED, &["failed in add", "memory"]);
    bench.assert_refused(
        &deed("routes", 65),
        code::PLAN_BROKE_RULE,
        &["routes is a list of 65, but at most 64"],
    );
    bench.assert_refused(&deed("text", 2 << 20), code::POLICY_FAILED, &passed);
    let words = ["host-interface is a string of 254 bytes, but at most 253 are allowed"];
    bench.assert_refused(&deed("text", 254), code::PLAN_BROKE_RULE, &words);
    bench.assert_nothing_is_held();
}

#[test]
fn answers_that_are_none_end() {
    let Some(bench) = Bench::new() else { return };
    for (deed, what) in [("bad-utf8", "utf-8"), ("bad-pointer", "out of bounds")] {
        let words = ["failed in add", "does not keep to the component model", what];
        bench.assert_refused(&hostile(json!({ "do": deed })), code::POLICY_FAILED, &words);
    }
    bench.assert_nothing_is_held();
}

fn refusal(reason: &str, message: &str) -> Value {
    json!({ "do": "refuse", "reason": reason, "message": message })
}

#[test]
fn a_refusal_has_the_code_of_its_reason() {
    let Some(bench) = Bench::new() else { return };
    for (reason, code) in [
        ("invalid-config", code::INVALID_CONFIG),
        ("denied", code::REFUSED),
        ("exhausted", code::TRY_AGAIN),
        ("try-again", code::TRY_AGAIN),
    ] {
        let network = hostile(refusal(reason, "the tenant's name is missing"));
        let words = ["policy hostile: the tenant's name is missing", "decided by policy hostile (sha256:"];
        bench.assert_refused(&network, code, &words);
    }
    bench.assert_nothing_is_held();
}

#[test]
fn a_refusal_forges_no_line_and_has_an_end() {
    let Some(bench) = Bench::new() else { return };
    let forged = "no\nroot: all is well\r\u{1b}[2J\u{202e}";
    let words = ["policy hostile: no root: all is well \u{fffd}[2J\u{fffd}"];
    bench.assert_refused(&hostile(refusal("denied", forged)), code::REFUSED, &words);
    let longest = "x".repeat(1024);
    bench.assert_refused(&hostile(refusal("denied", &longest)), code::REFUSED, &[&longest]);
    let words = ["message is a string of 1025 bytes, but a refusal's message has at most 1024"];
    let longer = hostile(refusal("denied", &"x".repeat(1025)));
    bench.assert_refused(&longer, code::PLAN_BROKE_RULE, &words);
}

#[test]
fn a_refusal_without_words_still_says_who_refused() {
    let Some(bench) = Bench::new() else { return };
    let words = ["policy hostile: it gave no reason for its refusal"];
    bench.assert_refused(&hostile(refusal("denied", " \n")), code::REFUSED, &words);
}

/// Installing them is refused; here they lie where an installed policy lies.
#[test]
fn a_policy_that_fails_before_its_first_function_fails_every_call() {
    let Some(bench) = Bench::new() else { return };
    for (guest, fault) in [("endless_start", "units of fuel"), ("large_table", "elements, of at most 20,000")]
    {
        bench.put_in_place("unfit", &built(guest));
        let network = Network::new("1.1.0", &[V4, V6]).with("policy", json!("unfit"));
        // The first call compiles it.
        bench.add(&network, &bench.node.pod(guest)).error();
        bench.assert_refused(
            &network,
            code::POLICY_FAILED,
            &["policy unfit (sha256:", "failed in start", fault],
        );
        assert_eq!(bench.plugin.status(&network).error().code, code::NOT_AVAILABLE);
    }
    bench.assert_nothing_is_held();
}
