//! Every decision is in the journal; what was decided can be decided again, and explained; and no ADD depends on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use podwire_tests::network::V4;
use podwire_tests::{Network, Node, Outcome, Plugin, Pod, Podwire};
use serde_json::{Value, json};

struct Bench {
    node: Node,
    plugin: Plugin,
    podwire: Podwire,
}

impl Bench {
    fn new() -> Option<Self> {
        let node = Node::enter()?;
        let (plugin, podwire) = (Plugin::under_test(&node), Podwire::on(&node));
        if plugin.does_not_promise("a journal") {
            return None;
        }
        Some(Self { node, plugin, podwire })
    }

    /// With the hostile policy, which plans what its configuration says.
    fn with_another_policy() -> Option<Self> {
        let bench = Self::new()?;
        let component = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/built/hostile.wasm");
        bench.podwire.put_into_use("hostile", &component);
        Some(bench)
    }

    fn wired(&self, network: &Network, name: &str) -> (Pod, String) {
        let pod = self.node.pod(name);
        let result = self.plugin.add(network, &pod).result();
        (pod, result["ips"][0]["address"].as_str().expect("an address").to_owned())
    }

    fn replay(&self, arguments: &[&str]) -> podwire_tests::command::Printed {
        self.podwire.run(&[&["policy", "replay"], arguments].concat())
    }

    fn explain(&self, pod: &str) -> String {
        self.podwire.run(&["explain", pod]).done()
    }

    fn journal(&self) -> PathBuf {
        self.node.root().join("lib/journal")
    }
}

/// On cni0, by the built-in policy.
fn network() -> Network {
    Network::new("1.1.0", &[V4]).with("policy", json!("bridge"))
}

/// By the hostile policy: point to point, with this address.
fn other(address: &str) -> Network {
    let plan = json!({ "addresses": [{ "prefix": address }] });
    Network::new("1.1.0", &[V4]).with("policy", json!("hostile")).with("config", json!({ "plan": plan }))
}

#[test]
fn the_policy_that_decided_decides_the_same_again() {
    let Some(bench) = Bench::new() else { return };
    let pods: Vec<Pod> = (0..12).map(|number| bench.node.pod(&format!("p{number}"))).collect();
    let running: Vec<_> =
        pods.iter().map(|pod| bench.plugin.start(&bench.plugin.call("ADD", &network(), pod))).collect();
    running.into_iter().for_each(|add| drop(add.finish().result()));
    pods.iter().take(4).for_each(|pod| bench.plugin.del(&network(), pod).done());
    bench.wired(&network(), "late");
    let said = bench.replay(&["bridge", "--verify"]).done();
    assert!(said.contains("13 decided: 13 the same, 0 differ"), "{said}");
    assert!(said.contains("13 the same, 0 differ, 0 not installed any more"), "{said}");
    let said = bench.replay(&["bridge", "--last", "2", "--network", "pods"]).done();
    assert!(said.starts_with("2 decided: 2 the same"), "{said}");
    assert!(bench.replay(&["bridge", "--network", "others"]).done().starts_with("0 decided"));
}

#[test]
fn a_replay_shows_whom_another_policy_would_treat_differently() {
    let Some(bench) = Bench::with_another_policy() else { return };
    let (_, first) = bench.wired(&network(), "a");
    bench.wired(&other("10.244.1.9/32"), "b");
    let (_, second) = bench.wired(&network(), "c");
    assert_eq!((first.as_str(), second.as_str()), ("10.244.1.2/24", "10.244.1.10/24"));
    // The default policy has no such keys.
    let said = bench.replay(&["bridge"]).no();
    assert!(said.contains("test/container-b (eth0 in network pods)"), "{said}");
    assert!(said.contains("  - outcome: 10.244.1.9/32 on pw"), "{said}");
    assert!(said.contains("  + outcome: refused: config"), "{said}");
    assert!(said.contains("3 decided: 2 the same, 1 differ; of all, 1 refused and 0 failed"), "{said}");
    let config = r#"{"bridge":"cni0"}"#;
    let said = bench.replay(&["bridge", "--config", config]).no();
    let headings: Vec<&str> = said.lines().filter(|line| line.contains(" in network ")).collect();
    assert!(matches!(headings.as_slice(), [only] if only.contains("test/container-b")), "{said}");
    // Nobody asked for it then: it follows from what was on record before.
    let expected = "  - addresses[0].prefix: 10.244.1.9/32\n  + addresses[0].prefix: 10.244.1.3/24\n";
    assert!(said.contains(expected) && said.contains("+ wiring.bridge.bridge.name: cni0"), "{said}");
    let document = bench.replay(&["bridge", "--config", config, "--json"]).no();
    let document: Value = serde_json::from_str(&document).expect("JSON");
    assert_eq!((&document["decided"], &document["differ"]), (&json!(3), &json!(1)));
    assert_eq!(document["differing"][0]["pod"], "test/container-b");
}

#[test]
fn a_candidate_that_takes_what_others_had_is_told_so() {
    let Some(bench) = Bench::with_another_policy() else { return };
    bench.wired(&other("10.244.1.2/32"), "a");
    bench.wired(&other("10.244.1.3/32"), "b");
    let config = r#"{"plan":{"addresses":[{"prefix":"10.244.1.2/32"}]}}"#;
    let said = bench.replay(&["hostile", "--config", config]).no();
    assert!(said.contains("+ outcome: failed: the address 10.244.1.2 is held by container-a/eth0"), "{said}");
    assert!(said.contains("2 decided: 1 the same, 1 differ; of all, 0 refused and 1 failed"), "{said}");
}

#[test]
fn an_explanation_tells_what_was_asked_seen_decided_and_given_back() {
    let Some(bench) = Bench::with_another_policy() else { return };
    let (pod, _) = bench.wired(&network(), "a");
    let told = bench.explain("test/container-a");
    for words in [
        "test/container-a (eth0 in network pods)",
        "addresses of the node's pools: 10.244.1.0/24",
        "decided by: policy bridge (sha256:",
        "the first free address of 10.244.1.0/24",
        "address add 10.244.1.2/24 dev eth0",
        "on record: as number 1",
    ] {
        assert!(told.contains(words), "{words:?} is not in {told}");
    }
    assert_eq!(told, bench.explain("container-a"));
    bench.plugin.del(&network(), &pod).done();
    assert!(bench.explain("container-a").contains("on record: no longer; 10.244.1.2 given back"));
    let refusing = network()
        .with("policy", json!("hostile"))
        .with("config", json!({ "do": "refuse", "message": "not today" }));
    bench.plugin.add(&refusing, &pod).error();
    let told = bench.explain("container-a");
    assert!(told.contains("refused: not today") && told.contains("earlier: "), "{told}");
    let all: Value =
        serde_json::from_str(&bench.podwire.run(&["explain", "container-a", "--json"]).done()).expect("JSON");
    assert_eq!(all[0]["decision"]["outcome"]["refused"]["message"], "not today");
    assert_eq!(all[0]["earlier"].as_array().map(Vec::len), Some(1));
    let unknown = bench.podwire.run(&["explain", "test/nobody"]).failed();
    assert!(unknown.contains("test/nobody is neither in the journal nor on record"), "{unknown}");
}

#[test]
fn an_add_that_cannot_be_wired_is_noted_with_its_release() {
    let Some(bench) = Bench::new() else { return };
    let pod = bench.node.pod("a");
    pod.namespace.run(|| podwire_tests::kernel::ip("link add eth0 type bridge"));
    bench.plugin.add(&network(), &pod).error();
    let told = bench.explain("container-a");
    assert!(told.contains("because the pod could not be wired"), "{told}");
}

#[track_caller]
fn assert_served_with_a_note(outcome: &Outcome) {
    outcome.result();
    assert!(outcome.stderr.contains("podwire: the journal lacks an entry: "), "{outcome}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome}");
}

#[test]
fn an_add_is_served_without_a_journal() {
    let Some(bench) = Bench::new() else { return };
    let (pod, _) = bench.wired(&network(), "a");
    fs::remove_dir_all(bench.journal()).expect("own");
    fs::create_dir_all(bench.journal().join("journal")).expect("own");
    assert_served_with_a_note(&bench.plugin.add(&network(), &bench.node.pod("b")));
    let deleted = bench.plugin.del(&network(), &pod);
    assert!(deleted.stderr.contains("the journal lacks an entry"), "{deleted}");
    deleted.done();
    fs::remove_dir_all(bench.journal()).expect("own");
    podwire_tests::command::write_file(bench.journal(), "a file");
    assert_served_with_a_note(&bench.plugin.add(&network(), &bench.node.pod("c")));
    let unreadable = bench.podwire.run(&["explain", "container-c"]).failed();
    assert!(unreadable.contains("lib/journal: cannot open"), "{unreadable}");
    fs::remove_file(bench.journal()).expect("own");
    let told = bench.explain("container-c");
    assert!(told.contains("the journal does not know why") && told.contains("as number 3"), "{told}");
}

/// Mounts a file system of that size on the journal's folder, in the test's own mount namespace.
fn mount(bench: &Bench, options: &str) {
    fs::create_dir_all(bench.journal()).expect("own");
    let journal = bench.journal();
    let arguments = ["-t", "tmpfs", "-o", options, "tmpfs", journal.to_str().expect("text")];
    assert!(Command::new("mount").args(arguments).status().expect("mount is there").success());
}

#[test]
fn a_disk_that_is_full_or_read_only_keeps_no_add_from_its_pod() {
    let Some(bench) = Bench::new() else { return };
    bench.wired(&network(), "first");
    mount(&bench, "size=8k");
    let adds: Vec<Outcome> =
        (0..12).map(|number| bench.plugin.add(&network(), &bench.node.pod(&format!("p{number}")))).collect();
    adds.iter().for_each(|add| drop(add.result()));
    let lacking = adds.iter().filter(|add| add.stderr.contains("the journal lacks an entry")).count();
    assert!((1..12).contains(&lacking), "{lacking} of 12 entries had no room in 8 KiB");
    let replayed = bench.replay(&["bridge"]);
    assert_eq!(replayed.exit, Some(0), "{replayed}");
    assert!(replayed.stdout.starts_with(&format!("{} decided", 12 - lacking)), "{replayed}");
    mount(&bench, "ro");
    assert_served_with_a_note(&bench.plugin.add(&network(), &bench.node.pod("last")));
}

#[test]
fn killed_adds_leave_a_journal_that_reads() {
    const MOMENTS: u32 = 24;
    let Some(bench) = Bench::new() else { return };
    let start = Instant::now();
    bench.wired(&network(), "sample");
    bench.wired(&network(), "second");
    let length = start.elapsed() / 2;
    for moment in 0..MOMENTS {
        let pod = bench.node.pod(&format!("killed-{moment}"));
        let start = Instant::now();
        let mut running = bench.plugin.start(&bench.plugin.call("ADD", &network(), &pod));
        while start.elapsed() < length * moment * 6 / MOMENTS / 5 && !running.has_ended() {
            std::thread::yield_now();
        }
        running.kill();
        bench.plugin.del(&network(), &pod).done();
    }
    bench.wired(&network(), "last");
    let said = bench.replay(&["bridge", "--verify"]).done();
    assert!(said.contains(" 0 differ; "), "{said}");
    assert!(bench.explain("container-last").contains("as number"));
}

#[test]
fn a_dry_run_leaves_no_trace() {
    let Some(bench) = Bench::new() else { return };
    let list = "/run/network.conflist";
    podwire_tests::command::write_file(list, network().list(&bench.plugin).to_string());
    bench.podwire.run(&["plan", list, "--pod", "test/web"]).done();
    assert!(!bench.journal().exists());
}
