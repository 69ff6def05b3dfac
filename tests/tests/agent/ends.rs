//! Agents end in every way, and what they keep outlives them.

use podwire_tests::kernel::{eventually, ip};
use rustix::process::Signal;

use crate::{Bench, ours, peers};

#[test]
fn an_end_leaves_everything_and_is_said() {
    let Some(bench) = Bench::new() else { return };
    for signal in [Signal::TERM, Signal::INT] {
        let agent = bench.settled();
        let before = bench.kernel();
        let ended = agent.end(signal);
        assert_eq!(ended.exit, Some(0), "{ended}");
        assert!(ended.stdout.is_empty() && ended.stderr.contains("the node stays as it is"), "{ended}");
        before.assert_unchanged();
        let said = bench.status();
        assert!(said.exit == Some(1) && said.stdout.contains("agent was ended at"), "{said}");
    }
}

#[test]
fn a_node_has_one_agent() {
    let Some(bench) = Bench::new() else { return };
    let agent = bench.settled();
    let first = format!("process {}", agent.id());
    for command in ["run", "up", "down"] {
        let said = bench.podwire.run(&["node", command]).failed();
        assert!(said.contains(&first), "{command}: {said}");
    }
    bench.podwire.run(&["node", "status"]).done();
    agent.kill();
    assert!(bench.status().stdout.contains("agent died"), "{}", bench.status());
    bench.podwire.run(&["node", "up"]).done();
}

/// The lock is root's alone, so whoever may not ask is told so, and not that no agent runs.
#[test]
fn who_may_not_know_whether_an_agent_runs_is_told_so() {
    let Some(bench) = Bench::new() else { return };
    let _agent = bench.settled();
    let said = bench.podwire.clone().as_nobody().run(&["status"]).failed();
    assert!(said.contains("agent.lock: cannot see whether an agent runs: Permission denied"), "{said}");
}

#[test]
fn agents_that_are_killed_leave_the_kernel_as_planned_to_the_next() {
    let Some(bench) = Bench::new() else { return };
    drop(bench.settled());
    let all = ["10.244.2.0/24", "10.244.3.0/24", "10.244.4.0/24"];
    // As many moments of its life as a test has time for: a little later each time.
    for round in 0..24_u8 {
        let wanted = if round % 2 == 0 { &all[..] } else { &all[..2] };
        bench.podwire.configure("peers.json", if round % 2 == 0 { &FOUR } else { &THREE });
        let agent = bench.agent();
        if round % 3 == 0 {
            ip("route flush proto 112");
        }
        for _ in 0..u32::from(round) * 200 {
            std::thread::yield_now();
        }
        agent.kill();
        if round % 8 == 7 {
            let _last = bench.agent();
            bench.becomes("is heard since", wanted);
            eventually("all is well", || bench.status().exit == Some(0));
        }
    }
}

static FOUR: std::sync::LazyLock<serde_json::Value> = std::sync::LazyLock::new(|| peers(&[2, 3, 4]));
static THREE: std::sync::LazyLock<serde_json::Value> = std::sync::LazyLock::new(|| peers(&[2, 3]));

#[test]
fn a_new_agent_keeps_what_the_last_one_knew_until_its_source_is_heard() {
    let Some(bench) = Bench::new() else { return };
    drop(bench.settled());
    bench.podwire.write("peers.json", "{");
    ip("route flush proto 112");
    assert!(ours().is_empty());
    let _agent = bench.agent();
    bench.becomes("is lost since", &["10.244.2.0/24", "10.244.3.0/24"]);
}
