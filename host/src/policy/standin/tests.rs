//! Policies that use WASI, in a version of their own.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use super::super::testing::{Guest, Leases, request};
use super::super::{Engine, Error, Fault, Instance, inspect, limits};

/// Of WASI, what the tests use: functions have the types that WASI gives them.
const WASI: &str = r#"
package test:test;

package wasi:io@0.2.77 {
  interface poll { resource pollable { ready: func() -> bool; } poll: func(in: list<borrow<pollable>>) -> list<u32>; }
  interface error { resource error; }
  interface streams {
    use error.{error};
    variant stream-error { last-operation-failed(error), closed }
    resource output-stream { blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>; }
  }
}
package wasi:cli@0.2.77 {
  interface environment { get-environment: func() -> list<tuple<string, string>>; }
  interface stderr { use wasi:io/streams@0.2.77.{output-stream}; get-stderr: func() -> output-stream; }
  interface exit { exit: func(status: result); }
}
package wasi:clocks@0.2.77 {
  interface monotonic-clock {
    use wasi:io/poll@0.2.77.{pollable};
    now: func() -> u64;
    subscribe-duration: func(when: u64) -> pollable;
  }
}
package wasi:random@0.2.77 {
  interface random { get-random-bytes: func(len: u64) -> list<u8>; get-random-u64: func() -> u64; }
}

world uses {
  include podwire:policy/policy@0.3.0;
  import wasi:cli/environment@0.2.77;
  import wasi:cli/stderr@0.2.77;
  import wasi:cli/exit@0.2.77;
  import wasi:clocks/monotonic-clock@0.2.77;
  import wasi:io/poll@0.2.77;
  import wasi:random/random@0.2.77;
}
"#;

const IMPORTS: &str = r#"
(import "wasi:cli/environment@0.2.77" "get-environment" (func $environment (param i32)))
(import "wasi:cli/stderr@0.2.77" "get-stderr" (func $stderr (result i32)))
(import "wasi:cli/exit@0.2.77" "exit" (func $exit (param i32)))
(import "wasi:io/streams@0.2.77" "[method]output-stream.blocking-write-and-flush"
    (func $write (param i32 i32 i32 i32)))
(import "wasi:io/poll@0.2.77" "poll" (func $poll (param i32 i32 i32)))
(import "wasi:clocks/monotonic-clock@0.2.77" "now" (func $now (result i64)))
(import "wasi:clocks/monotonic-clock@0.2.77" "subscribe-duration" (func $sleep (param i64) (result i32)))
(import "wasi:random/random@0.2.77" "get-random-bytes" (func $bytes (param i64 i32)))
(import "wasi:random/random@0.2.77" "get-random-u64" (func $random (result i64)))
(data (i32.const 2048) "first\nsecond\nthird")
(func $check (param i32) (if (i32.eqz (local.get 0)) (then unreachable)))"#;

fn uses(instructions: &str) -> Vec<u8> {
    let mut wit = wit_parser::Resolve::default();
    wit.push_str("policy.wit", include_str!("../../../../wit/policy.wit")).unwrap();
    let package = wit.push_str("test.wit", WASI).unwrap();
    let world = wit.select_world(&[package], Some("uses")).unwrap();
    let add: &'static str =
        format!("{instructions} (i32.store8 (i32.const 1040) (i32.const 1)) (i32.const 1024)").leak();
    let mut module = Guest { fields: IMPORTS, add, ..Guest::default() }.module();
    embed_component_metadata(&mut module, &wit, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// Asked in this process and in one of its own, which must be the same.
fn add(instructions: &str) -> (Result<(), Error>, Instance) {
    let policy = Engine::new().unwrap().load_component(&uses(instructions), "test").unwrap();
    let ask = |mut instance: Instance| {
        let (said, _) = instance.add(&request(), Leases::default());
        (said.map(|verdict| assert!(verdict.is_ok())), instance)
    };
    let (here, instance) = ask(policy.instantiate().unwrap());
    let (there, apart) = ask(policy.apart().instantiate().unwrap());
    assert_eq!(format!("{here:?}"), format!("{there:?}"));
    assert_eq!((instance.notes(), instance.spent()), (apart.notes(), apart.spent()));
    (here, instance)
}

fn fault(instructions: &str) -> String {
    add(instructions).0.unwrap_err().to_string()
}

/// Begins at `$again`, a number of times.
fn repeat(times: u32, instructions: &str) -> String {
    format!(
        "(local $i i32) (loop $again {instructions}
        (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {times}))))"
    )
}

const WRITE: &str = "(call $write (call $stderr) (i32.const 2048) (i32.const 18) (i32.const 3000))";

#[test]
fn there_is_no_environment_and_time_does_not_pass() {
    let (said, _) =
        add("(call $environment (i32.const 3000)) (call $check (i32.eqz (i32.load (i32.const 3004))))
        (call $check (i64.eq (call $now) (i64.const 1)))
        (i32.store (i32.const 3100) (call $sleep (i64.const 1000000)))
        (call $poll (i32.const 3100) (i32.const 1) (i32.const 3000))
        (call $check (i32.eq (i32.load (i32.const 3004)) (i32.const 1)))
        (call $check (i64.eq (call $now) (i64.const 1)))");
    said.unwrap();
}

#[test]
fn randomness_is_spent() {
    add("(call $check (i64.ne (call $random) (call $random)))").0.unwrap();
}

#[test]
fn what_is_written_is_logged_and_told_of_a_failure() {
    let (said, instance) = add(WRITE);
    said.unwrap();
    let notes: Vec<_> = instance.notes().iter().map(ToString::to_string).collect();
    assert_eq!(notes, ["warning: first", "warning: second", "warning: third"]);
    let error = fault(&format!("{WRITE} unreachable"));
    assert!(error.contains("the last that it logged was \"third\""), "{error}");
}

#[test]
fn a_full_log_takes_nothing_more() {
    let write = "(call $write (i32.const 1) (i32.const 2048) (i32.const 18) (i32.const 3000))";
    let (said, instance) = add(&repeat(2000, write).replace("(loop", "(drop (call $stderr)) (loop"));
    said.unwrap();
    let logged: usize = instance.notes().iter().map(|note| note.text.len() + limits::LOG_LINE).sum();
    assert!(logged <= limits::LOG_BYTES && logged > limits::LOG_BYTES / 2, "{logged}");
}

#[test]
fn what_has_no_stand_in_ends_the_call_and_is_named() {
    let error = fault("(call $exit (i32.const 1))");
    assert!(error.contains("it called exit of wasi:cli/exit"), "{error}");
}

#[test]
fn stand_ins_are_counted_and_cost_fuel() {
    let calls = add(&repeat(5000, "(drop (call $now))")).0.unwrap_err();
    assert!(matches!(calls, Error::Failed { fault: Fault::HostCalls, .. }), "{calls}");
    let bytes = add("(call $bytes (i64.const 1000000000000) (i32.const 3000))").0.unwrap_err();
    assert!(matches!(bytes, Error::Failed { fault: Fault::OutOfFuel, .. }), "{bytes}");
    let handles = fault(&repeat(limits::HANDLES as u32 + 1, "(drop (call $stderr))"));
    assert!(handles.contains("handle"), "{handles}");
}

#[test]
fn every_import_says_what_a_policy_gets() {
    let found = inspect(&uses("")).unwrap();
    found.check().unwrap();
    let gets = |name: &str| found.imports.iter().find(|import| import.name == name).unwrap().gets();
    assert_eq!(gets("wasi:cli/environment@0.2.77"), Some("no variables, no arguments"));
    assert!(gets("wasi:cli/exit@0.2.77").unwrap().starts_with("nothing"));
    assert!(super::gets("wasi:cli/environment@0.3.0").is_none());
    assert!(super::gets("http:client/http@0.2.0").is_none());
}
