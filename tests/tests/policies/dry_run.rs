//! `podwire plan`: the same question has the same answer, and a hostile answer harms nobody who reads it.

use std::process::Command;

use podwire_tests::Network;
use podwire_tests::command::Printed;
use serde_json::{Value, json};

use crate::{Bench, good_plan, hostile, with, wording, write};

impl Bench {
    fn plan(&self, network: &Network, options: &[&str]) -> Printed {
        let path = "/run/network.conflist";
        write(path, network.list(&self.plugin).to_string());
        let before = self.snapshot();
        let outcome = self.podwire.run(&[&["plan", path, "--pod", "test/web"], options].concat());
        before.assert_unchanged();
        outcome
    }
}

#[test]
fn the_same_request_has_the_same_plan() {
    let Some(bench) = Bench::new() else { return };
    for network in [
        hostile(json!({})),
        hostile(json!({ "plan": good_plan() })),
        hostile(json!({})).with("policy", json!("bridge")),
    ] {
        let [first, second] = [(), ()].map(|()| bench.plan(&network, &["--json"]).done());
        assert_eq!(first, second);
        serde_json::from_str::<Value>(&first).expect("JSON");
    }
}

#[test]
fn a_dry_run_refuses_what_an_add_refuses() {
    let Some(bench) = Bench::new() else { return };
    let broken = with(good_plan(), "/addresses/0/prefix", json!("8.8.8.8/24"));
    for (config, words) in [
        (
            json!({ "plan": broken }),
            "addresses[0].prefix is 8.8.8.8/24, but it must lie in one of the node's",
        ),
        (json!({ "do": "loop" }), "units of fuel"),
        (json!({ "do": "refuse", "message": "not today" }), "policy hostile: not today"),
    ] {
        let outcome = bench.plan(&hostile(config), &[]);
        let message = outcome.failed();
        wording::assert_helpful(message.trim_end());
        assert!(message.contains(words), "{message}");
    }
}

/// People run what is printed, as root.
#[test]
fn a_name_in_a_printed_script_is_no_command() {
    let Some(bench) = Bench::new() else { return };
    for name in ["a;reboot", "a$(reboot)", "a`reboot`", "a'b\"c", "a&b|c>d"] {
        let plan = with(good_plan(), "/host_interface", json!(name));
        let plan = with(plan, "/wiring/bridge/bridge/name", json!(format!("{name}0")));
        let outcome = bench.plan(&hostile(json!({ "plan": plan })), &[]);
        let script = outcome.done();
        let words = words_of(&script);
        assert!(words.iter().any(|word| word == name), "{name} is no word of {script}");
    }
}

/// What a shell makes of the script, with `ip` and the others replaced by something that prints its arguments.
fn words_of(script: &str) -> Vec<String> {
    let tools = "ip() { printf '%s\\n' \"$@\"; }; sysctl() { :; }; reboot() { printf 'REBOOTED\\n'; }\n";
    let script_with_tools = format!("{tools}{script}");
    let output = Command::new("sh").args(["-c", &script_with_tools, "script", "netns"]).output();
    let output = output.expect("there is a shell");
    assert!(output.status.success(), "{}: {script}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).expect("text");
    assert!(!printed.contains("REBOOTED"), "{script}");
    printed.lines().map(str::to_owned).collect()
}
