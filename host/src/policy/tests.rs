//! Policies that behave, and policies that do not.

use std::time::{Duration, Instant};

use super::testing::{Guest, Leases, request};
use super::*;
use crate::plan::{AddPlan, AddRequest, DelRequest, NodeRequest, Role, Wiring};

/// Generous: the machine that runs the tests may do much else. A policy without bounds would never end.
const SOON: Duration = Duration::from_secs(20);

const TAKEN: &str = r#"(import "podwire:policy/leases@0.3.0" "taken"
    (func $taken (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i64)))"#;

/// How many addresses of 10.0.0.0/8 are taken.
const ASK: &str = "(drop (call $taken (i32.const 0) (i32.const 10) (i32.const 0) (i32.const 0) (i32.const 0)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 8)))";

/// A policy that asks so without end.
pub(super) fn asks_for_ever() -> Vec<u8> {
    Guest::adds_after(&format!("(loop $forever {ASK} (br $forever))"), TAKEN)
}

const LOG: &str = r#"(import "podwire:policy/log@0.3.0" "log" (func $log (param i32 i32 i32)))
    (data (i32.const 2048) "first line\nsecond line")"#;

/// Those 22 bytes, as an error.
const NOTE: &str = "(call $log (i32.const 3) (i32.const 2048) (i32.const 22))";

fn instance(component: &[u8]) -> Instance {
    let policy = Engine::new().unwrap().load_component(component, "test (sha256:00)").unwrap();
    policy.instantiate().unwrap()
}

fn add(component: &[u8]) -> (Result<Verdict<AddPlan>, Error>, Instance) {
    let policy = Engine::new().unwrap().load_component(component, "test (sha256:00)").unwrap();
    let ask = |mut instance: Instance| {
        let before = Instant::now();
        let (said, leases) = instance.add(&request(), Leases::default());
        assert!(before.elapsed() < SOON);
        (said, leases.asked.get(), instance)
    };
    let (here, asked, instance) = ask(policy.instantiate().unwrap());
    let (there, asked_from_there, apart) = ask(policy.apart().instantiate().unwrap());
    assert_eq!(format!("{here:?}"), format!("{there:?}"), "in a process of its own");
    assert_eq!((asked, instance.notes()), (asked_from_there, apart.notes()));
    assert_eq!(instance.spent(), apart.spent());
    (here, instance)
}

/// How a policy fails whose `add` does this.
fn failure(instructions: &str, fields: &'static str) -> String {
    let (said, _) = add(&Guest::adds_after(instructions, fields));
    said.unwrap_err().to_string()
}

#[test]
fn a_policy_answers_every_question() {
    let component = Guest::default().build();
    let (said, _) = add(&component);
    assert_eq!(said.unwrap().unwrap().wiring, Wiring::Routed);
    let mut instance = instance(&component);
    assert_eq!(instance.check_config("{}").unwrap(), Ok(()));
    let AddRequest { network, attachment, pod, node, config, .. } = request();
    let request =
        NodeRequest { node, role: Role::Host, uplinks: Vec::new(), peers: [].into(), config: config.clone() };
    assert!(instance.node(&request).unwrap().unwrap().routes.is_empty());
    let request = DelRequest { network, attachment, pod, addresses: Vec::new(), config };
    assert_eq!(instance.del(&request, Leases::default()).0.unwrap(), 0);
}

#[test]
fn leases_are_seen_while_asked_and_come_back() {
    let mut instance = instance(&Guest::adds_after(ASK, TAKEN));
    let (said, leases) = instance.add(&request(), Leases::default());
    assert!(said.unwrap().is_ok());
    assert_eq!(leases.asked.get(), 1);
    assert_eq!(instance.spent().host_calls, 1);
}

#[test]
fn leases_come_back_from_a_policy_that_fails() {
    let mut instance = instance(&Guest::adds_after(&format!("{ASK} unreachable"), TAKEN));
    let (said, leases) = instance.add(&request(), Leases::default());
    assert!(matches!(said, Err(Error::Failed { fault: Fault::Trap(_), .. })));
    assert_eq!(leases.asked.get(), 1);
}

#[test]
fn a_refusal_is_an_answer() {
    let refusal = "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store8 (i32.const 1028) (i32.const 2))
        (i32.store (i32.const 1032) (i32.const 2048)) (i32.store (i32.const 1036) (i32.const 10))
        (i32.const 1024)";
    let guest = Guest { fields: LOG, add: refusal, ..Guest::default() };
    let refusal = add(&guest.build()).0.unwrap().unwrap_err();
    assert_eq!(refusal.reason, crate::plan::RefusalReason::Exhausted);
    assert_eq!(refusal.message, "first line");
}

#[test]
fn equal_calls_cost_and_answer_the_same() {
    let component = Guest::adds_after(&format!("{ASK} {ASK}"), TAKEN);
    let runs = [(), ()].map(|()| {
        let (said, instance) = add(&component);
        (said.unwrap().unwrap(), instance.spent())
    });
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].1.fuel > 0);
}

/// In instances of their own, of code that was compiled twice: as two processes on two nodes ask.
#[test]
fn equal_questions_to_real_policies_cost_and_answer_the_same() {
    for component in [
        include_bytes!("../../../guests/bridge.wasm").as_slice(),
        include_bytes!("../../../tests/guests/built/hostile.wasm"),
    ] {
        let runs = [(), ()].map(|()| {
            let (said, instance) = add(component);
            (said.unwrap(), instance.spent())
        });
        assert_eq!(runs[0], runs[1]);
        assert!(runs[0].1.fuel > 0 && runs[0].1.host_calls > 0, "{:?}", runs[0].1);
    }
}

#[test]
fn each_call_has_the_whole_fuel() {
    let nearly_all = "(local $i i32) (loop $again
        (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 6000000))))";
    let mut instance = instance(&Guest::adds_after(nearly_all, ""));
    for _ in 0..2 {
        instance.add(&request(), Leases::default()).0.unwrap().unwrap();
        assert!(instance.spent().fuel > limits::FUEL / 2);
    }
}

#[test]
fn loops_end() {
    assert_eq!(
        failure("(loop $forever (br $forever))", ""),
        "policy test (sha256:00) failed in add: it used up its 50,000,000 units of fuel: it loops, or does too \
         much work"
    );
}

/// Each of these leaves compiled code for the runtime, where an instruction takes long.
#[test]
fn costly_instructions_end_as_soon_as_others() {
    for instruction in [
        "(drop (memory.grow (i32.const 0)))",
        "(memory.fill (i32.const 0) (i32.const 0) (i32.const 0))",
        "(memory.copy (i32.const 0) (i32.const 0) (i32.const 65536))",
    ] {
        let error = failure(&format!("(loop $forever {instruction} (br $forever))"), "");
        assert!(error.contains("units of fuel"), "{instruction}: {error}");
    }
}

#[test]
fn memory_ends() {
    let error = failure("(loop $forever (drop (memory.grow (i32.const 16))) (br $forever))", "");
    assert!(error.contains("bytes of memory, of at most 64 MiB"), "{error}");
    let error = failure("(drop (memory.grow (i32.const 65535)))", "");
    assert!(error.contains("it wanted 4294967296 bytes of memory"), "{error}");
}

#[test]
fn memory_ends_before_the_first_question() {
    let component = Guest { pages: 1025, ..Guest::default() }.build();
    let policy = Engine::new().unwrap().load_component(&component, "test").unwrap();
    let error = policy.instantiate().err().unwrap().to_string();
    assert!(error.starts_with("policy test failed in start: it wanted 67174400 bytes"), "{error}");
}

#[test]
fn what_memory_a_policy_holds_is_told() {
    let pages = |grown: u32| {
        let (said, instance) =
            add(&Guest::adds_after(&format!("(drop (memory.grow (i32.const {grown})))"), ""));
        said.unwrap().unwrap();
        instance.spent().memory >> 16
    };
    assert_eq!((pages(0), pages(16)), (1, 17));
}

#[test]
fn tables_end() {
    let grow = "(drop (table.grow $t (ref.null func) (i32.const 30000)))";
    let error = failure(grow, "(table $t 1 funcref)");
    assert!(error.contains("it wanted tables of 30001 elements, of at most 20,000"), "{error}");
}

#[test]
fn the_stack_ends() {
    let error = failure("(call $deeper)", "(func $deeper (call $deeper) (call $deeper))");
    assert!(error.contains("it used up its 256 KiB of stack"), "{error}");
}

#[test]
fn a_trap_names_its_place_and_the_last_note() {
    let divide = "(func $choose (call $divide))
        (func $divide (drop (i32.div_u (i32.const 1) (i32.const 0))))";
    let error = failure(&format!("{NOTE} (call $choose)"), format!("{LOG} {divide}").leak());
    assert!(
        error.contains("it stopped with \"integer divide by zero\", in divide, called by choose;"),
        "{error}"
    );
    assert!(error.ends_with("the last that it logged was \"first line second line\""), "{error}");
}

#[test]
fn calls_of_the_host_end() {
    let error = failure(&format!("(loop $forever {ASK} (br $forever))"), TAKEN);
    assert!(error.contains("it called the host more than 4,096 times"), "{error}");
}

#[test]
fn walking_leases_ends() {
    let mut instance = instance(&asks_for_ever());
    let (said, leases) = instance.add(&request(), Leases { walk: 300_000, ..Leases::default() });
    assert!(matches!(said, Err(Error::Failed { fault: Fault::Leases(_), .. })));
    assert_eq!(leases.asked.get(), 4);
}

#[test]
fn the_log_ends() {
    let many = "(local $i i32) (loop $again (call $log (i32.const 1) (i32.const 0) (i32.const 1000))
        (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4000))))";
    let (said, instance) = add(&Guest::adds_after(many, LOG));
    assert!(said.unwrap().is_ok());
    let kept = 1000 * char::REPLACEMENT_CHARACTER.len_utf8() + limits::LOG_LINE;
    assert_eq!(instance.notes().len(), limits::LOG_BYTES / kept, "they are zeros");
    assert_eq!(instance.spent().host_calls, 4000);
}

#[test]
fn notes_are_the_last_calls_and_clean() {
    let mut instance = instance(&Guest::adds_after(NOTE, LOG));
    for _ in 0..2 {
        instance.add(&request(), Leases::default()).0.unwrap().unwrap();
        let note = Note { level: Level::Error, text: "first line second line".into() };
        assert_eq!(instance.notes(), [note]);
    }
}

#[test]
fn giant_arguments_and_answers_end() {
    let message =
        "(drop (memory.grow (i32.const 64))) (call $log (i32.const 1) (i32.const 0) (i32.const 2000000))";
    let error = failure(message, LOG);
    assert!(error.contains("it passed more than 1 MiB to the host at once"), "{error}");
    // The list of addresses stands at 4 (the plan) + 68.
    let addresses = "(drop (memory.grow (i32.const 700)))
        (i32.store (i32.const 1096) (i32.const 0)) (i32.store (i32.const 1100) (i32.const 1000000))";
    let error = failure(addresses, "");
    assert!(error.contains("it passed more than 1 MiB to the host at once"), "{error}");
}

#[test]
fn an_answer_that_breaks_a_rule_names_it() {
    let nine = "(i32.store (i32.const 1096) (i32.const 8192)) (i32.store (i32.const 1100) (i32.const 9))";
    assert_eq!(
        failure(nine, ""),
        "policy test (sha256:00) gave an answer to add that breaks a rule: addresses is a list of 9, but at \
         most 8 are allowed"
    );
}

#[test]
fn nonsense_is_refused() {
    for (nonsense, reason) in [
        ("(i32.store8 (i32.const 1024) (i32.const 77))", "discriminant"),
        ("(i32.store (i32.const 1096) (i32.const -8)) (i32.store (i32.const 1100) (i32.const 8))", "bounds"),
        // A name for the host's interface that is not UTF-8.
        (
            "(i32.store8 (i32.const 1028) (i32.const 1)) (i32.store (i32.const 1032) (i32.const 2048))
             (i32.store (i32.const 1036) (i32.const 1)) (i32.store8 (i32.const 2048) (i32.const 255))",
            "utf-8",
        ),
    ] {
        let error = failure(nonsense, "");
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

#[test]
fn arguments_that_break_a_rule_are_refused() {
    let wrong = ASK.replace("(i32.const 8)))", "(i32.const 33)))");
    let error = failure(&wrong, TAKEN);
    assert!(error.contains("block is 10.0.0.0/33, but the length of an IPv4 prefix is 0 to 32"), "{error}");
    let wrong = ASK.replace("(i32.const 8)))", "(i32.const 4)))");
    let error = failure(&wrong, TAKEN);
    assert!(
        error.contains("block is 10.0.0.0/4, but all bits of a block beyond its length are zero"),
        "{error}"
    );
}

#[test]
fn the_whole_of_a_node_fits_into_an_answer() {
    let route = size_of::<bindings::podwire::policy::types::NodeRoute>();
    assert!(route * crate::plan::limits::NODE_ROUTES < limits::PASSED_BYTES);
}
