//! Versions that are tried out: canaries, shadows, and what becomes of one that fails.

use std::path::{Path, PathBuf};

use podwire_tests::command::write_program;
use podwire_tests::network::V4;
use podwire_tests::{Network, Outcome};
use serde_json::{Value, json};

use crate::swap::{digest_on_record, marked};
use crate::{Bench, built, code, hex_of, version_of, write};

/// The policy's name on these nodes.
const NAME: &str = "tried";

/// After so many faults a version is taken out of use.
const LIMIT: usize = 3;

/// A network of the policy, with this configuration for it. The default policy takes the empty one only, and then
/// gives addresses on the pool's link; the hostile one gives an address by itself, or does what it is told.
fn network(config: Value) -> Network {
    Network::new("1.1.0", &[V4]).with("policy", json!(NAME)).with("config", config)
}

fn trap() -> Network {
    network(json!({ "do": "trap" }))
}

/// A version that serves, and one that can be told to fail.
fn good_and_bad() -> [PathBuf; 2] {
    [marked(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests/bridge.wasm"), 1), built("hostile")]
}

impl Bench {
    /// With two versions installed, the good one first.
    fn with_two() -> Option<(Self, [String; 2])> {
        let bench = Self::empty()?;
        let versions = good_and_bad().map(|component| {
            let path = component.to_str().expect("text").to_owned();
            bench.policy(&["install", &path, "--name", NAME]);
            format!("{NAME}@{}", &hex_of(&version_of(&path))[..12])
        });
        Some((bench, versions))
    }

    fn policy(&self, arguments: &[&str]) -> String {
        self.podwire.run(&[&["policy"], arguments].concat()).done()
    }

    fn activate(&self, version: &str, options: &[&str]) -> String {
        self.policy(&[&["activate", version, "--net-dir", "/nonexistent"], options].concat())
    }

    /// ADD and DEL for a pod of this name.
    fn once(&self, network: &Network, name: &str) -> Outcome {
        let pod = self.node.pod(name);
        let outcome = self.add(network, &pod);
        self.del(network, &pod);
        pod.namespace.remove();
        outcome
    }

    /// Whether the hostile version decides for the pod.
    fn is_hostile_for(&self, name: &str) -> bool {
        let result = self.once(&network(json!({})), name).result();
        let address = result["ips"][0]["address"].as_str().expect("an address").to_owned();
        assert!(address.ends_with("/32") || address.ends_with("/24"), "{address}");
        address.ends_with("/32")
    }

    /// So many faults that the version is taken out of use; what the last ADD said to the operator.
    fn fail_often(&self, name: &str) -> String {
        let mut said = String::new();
        for fault in 1..=LIMIT {
            assert_eq!(said, "", "fault {fault}");
            let outcome = self.once(&trap(), name);
            assert_eq!(outcome.error().code, code::POLICY_FAILED);
            said = outcome.stderr;
        }
        said
    }
}

#[test]
fn a_version_that_fails_too_often_gives_way_to_the_one_before() {
    let Some((bench, [good, bad])) = Bench::with_two() else { return };
    bench.activate(&good, &[]);
    bench.activate(&bad, &[]);
    assert!(bench.is_hostile_for("before"));
    let said = bench.fail_often("failing");
    assert!(
        said.contains("podwire: policy tried: fell back from sha256:") && said.contains("failed 3 times"),
        "{said}"
    );
    assert!(!bench.is_hostile_for("after"));
    // The default policy has no such key: a refusal, which is no fault, however often.
    for _ in 0..2 * LIMIT {
        assert_eq!(bench.once(&trap(), "failing").error().code, code::INVALID_CONFIG);
    }
    let status = bench.podwire.run(&["status"]).no();
    assert!(status.contains("policy tried fell back: from"), "{status}");
    // Whoever activates anything has seen it.
    bench.activate(&good, &[]);
    bench.podwire.run(&["status"]).done();
}

#[test]
fn a_version_without_alternative_goes_on_and_is_complained_of() {
    let Some((bench, [_, bad])) = Bench::with_two() else { return };
    bench.activate(&bad, &[]);
    for _ in 0..2 * LIMIT {
        let outcome = bench.once(&trap(), "failing");
        assert_eq!((outcome.error().code, outcome.stderr.as_str()), (code::POLICY_FAILED, ""));
    }
    assert!(bench.is_hostile_for("other"));
    let status = bench.plugin.status(&network(json!({})));
    status.done();
    assert!(
        status.stderr.contains("failed 6 times") && status.stderr.contains("no earlier version"),
        "{status}"
    );
    let status = bench.podwire.run(&["status"]).no();
    assert!(
        status.contains("failed 6 times, the last time: ") && status.contains("container-failing/eth0"),
        "{status}"
    );
}

#[test]
fn the_node_says_how_often_is_too_often() {
    let Some((bench, [good, bad])) = Bench::with_two() else { return };
    bench.podwire.configure("node.json", &json!({ "policyFaults": 0 }));
    bench.activate(&good, &[]);
    bench.activate(&bad, &[]);
    for _ in 0..2 * LIMIT {
        assert_eq!(bench.once(&trap(), "failing").error().code, code::POLICY_FAILED);
    }
    bench.podwire.configure("node.json", &json!({ "policyFaults": 7 }));
    assert!(bench.once(&trap(), "failing").stderr.contains("failed 7 times"));
    assert!(!bench.is_hostile_for("after"));
}

#[test]
fn a_pod_that_asks_for_what_breaks_a_rule_is_no_fault_of_the_policy() {
    let Some((bench, [good, bad])) = Bench::with_two() else { return };
    bench.activate(&bad, &[]);
    bench.activate(&good, &[]);
    let asking = network(json!({})).with("runtimeConfig", json!({ "ips": ["10.244.1.255"] }));
    for _ in 0..2 * LIMIT {
        assert_eq!(bench.once(&asking, "asking").error().code, code::PLAN_BROKE_RULE);
    }
    assert!(!bench.is_hostile_for("after"));
    bench.podwire.run(&["status"]).done();
}

#[test]
fn the_built_in_policy_is_complained_of_like_any_other() {
    let Some((bench, _)) = Bench::with_two() else { return };
    bench.add(&Network::new("1.1.0", &[V4]).with("policy", json!("bridge")), &bench.node.pod("web")).result();
    let listed = bench.policy(&["list"]);
    let digest =
        listed.split("sha256:").nth(1).and_then(|rest| rest.split_once(" built in")).expect("it decides").0;
    write(bench.policies().join(digest).join("faults"), "it failed\n".repeat(LIMIT));
    let status = bench.podwire.run(&["status"]).no();
    assert!(status.contains("built in, failed 3 times, the last time: it failed"), "{status}");
}

#[test]
fn an_address_that_another_plugin_gives_twice_is_no_fault_of_the_policy() {
    let Some((bench, [good, bad])) = Bench::with_two() else { return };
    bench.activate(&good, &[]);
    bench.activate(&bad, &[]);
    let gives = "#!/bin/sh\ncat >/dev/null\necho '{\"cniVersion\": \"1.0.0\", \"ips\": [{\"address\": \"10.244.1.9/32\"}]}'\n";
    bench.plugin.folder_with_its_name();
    write_program("/run/cni-bin/forgetful", gives);
    let plan = json!({ "plan": { "addresses": [{ "prefix": "10.244.1.9/32" }] } });
    let lent = network(plan).with("ipam", json!({ "type": "forgetful" }));
    let add = |name: &str| {
        let call = bench.plugin.call("ADD", &lent, &bench.node.pod(name)).env("CNI_PATH", "/run/cni-bin");
        bench.plugin.run(&call)
    };
    add("first").result();
    for other in 0..LIMIT {
        assert_eq!(add(&format!("other-{other}")).error().code, code::PLAN_BROKE_RULE);
    }
    bench.podwire.run(&["status"]).done();
}

#[test]
fn a_canary_decides_for_some_pods_and_is_withdrawn_when_it_fails() {
    const PODS: usize = 24;
    let Some((bench, [good, bad])) = Bench::with_two() else { return };
    bench.activate(&good, &[]);
    // As long as it is there, everybody knows of the bridge's address.
    bench.add(&network(json!({})), &bench.node.pod("first")).result();
    bench.activate(&bad, &["--canary", "50%"]);
    let names: Vec<_> = (0..PODS).map(|pod| format!("pod-{pod}")).collect();
    let (tried, others): (Vec<_>, Vec<_>) = names.iter().partition(|name| bench.is_hostile_for(name));
    assert!(tried.len().abs_diff(PODS / 2) < PODS / 3, "{} of {PODS}", tried.len());
    let explained = bench.podwire.run(&["explain", &format!("container-{}", tried[0])]).done();
    assert!(explained.contains("in force since 20") && explained.contains("50 % of the pods"), "{explained}");
    // Asked again, and dry, the answer is the same.
    assert!(bench.is_hostile_for(tried[0]) && !bench.is_hostile_for(others[0]));
    let listed = bench.policy(&["list"]);
    assert!(listed.contains("canary for 50 % of the pods: sha256:"), "{listed}");
    assert!(bench.fail_often(tried[0]).contains("fell back"));
    assert!(!names.iter().any(|name| bench.is_hostile_for(name)));
}

#[test]
fn a_shadow_is_heard_and_has_no_effect() {
    let Some((bench, [good, bad])) = Bench::with_two() else { return };
    bench.activate(&good, &[]);
    bench.activate(&bad, &["--shadow"]);
    let (pod, network) = (bench.node.pod("web"), network(json!({})));
    let outcome = bench.add(&network, &pod);
    assert_eq!(outcome.result()["ips"][0]["address"], "10.244.1.2/24");
    let words = ["in the shadow of sha256:", "addresses[0].prefix would be "];
    assert!(words.iter().all(|word| outcome.stderr.contains(word)), "{outcome}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome}");
    let journal =
        std::fs::read_to_string(bench.node.root().join("lib/journal/journal")).expect("it is there");
    for entry in ["\"shadow\":{\"digest\":", "\"shadow\":\"policy tried (sha256:"] {
        assert!(journal.contains(entry), "{entry} is not in {journal}");
    }
    let digest = digest_on_record(&bench.database(), &pod.container_id, "10.244.1.2/24");
    assert!(digest.trim_start_matches("sha256:").starts_with(good.split_once('@').expect("a version").1));
    bench.del(&network, &pod);
}

#[test]
fn a_shadow_that_fails_fails_nobody() {
    let Some((bench, [good, bad])) = Bench::with_two() else { return };
    // It decides, and the default policy, in its shadow, refuses the key; no ADD fails by that.
    bench.activate(&bad, &[]);
    bench.activate(&good, &["--shadow"]);
    let address = json!([{ "prefix": "10.244.1.9/32" }]);
    let own = network(json!({ "plan": { "addresses": address } }));
    let outcome = bench.once(&own, "web");
    outcome.result();
    assert!(outcome.stderr.contains("would not have wired the pod"), "{outcome}");
    assert!(bench.policy(&["list"]).contains("in the shadow"));
    // The other way round, what is in the shadow traps: that counts, and it is withdrawn. The ADD is refused, by the
    // version that decides.
    bench.activate(&good, &[]);
    bench.activate(&bad, &["--shadow"]);
    let mut said = String::new();
    for _ in 0..LIMIT {
        assert!(!said.contains("fell back"), "{said}");
        let outcome = bench.once(&trap(), "web");
        assert_eq!(outcome.error().code, code::INVALID_CONFIG);
        said = outcome.stderr;
    }
    assert!(said.contains("would have failed") && said.contains("fell back"), "{said}");
    assert!(!bench.policy(&["list"]).contains("in the shadow"));
}

#[test]
fn a_network_has_a_version_of_its_own() {
    let Some((bench, [good, bad])) = Bench::with_two() else { return };
    bench.activate(&good, &[]);
    let said = bench.activate(&bad, &["--network", "nowhere"]);
    assert!(said.contains(" is of network nowhere: none was asked\n"), "{said}");
    bench.activate(&bad, &["--network", "pods"]);
    assert!(bench.is_hostile_for("web"));
    let elsewhere = network(json!({})).with("name", json!("others"));
    let result = bench.once(&elsewhere, "elsewhere").result();
    assert!(result["ips"][0]["address"].as_str().is_some_and(|address| address.ends_with("/24")));
    bench.policy(&["rollback", NAME, "--network", "pods"]);
    assert!(!bench.is_hostile_for("web"));
    let refused = bench.podwire.run(&["policy", "rollback", NAME, "--network", "pods"]).failed();
    assert!(refused.contains("no earlier version to go back to in network pods"), "{refused}");
}

/// A folder of network configurations, with this one in it.
fn net_dir(network: &Value) -> &'static str {
    let folder = "/run/net.d";
    std::fs::create_dir_all(folder).expect("/run is the test's own");
    write(format!("{folder}/10-web.conflist"), network.to_string());
    write(format!("{folder}/20-other.conf"), json!({ "name": "other", "type": "bridge" }).to_string());
    write(format!("{folder}/README"), "no configuration");
    folder
}

#[test]
fn a_version_that_cannot_work_with_a_network_is_not_activated() {
    let Some((bench, [good, bad])) = Bench::with_two() else { return };
    bench.activate(&good, &[]);
    let before = bench.snapshot();
    for (config, words) in [
        (
            json!({ "do": "refuse", "message": "not on Sundays", "in": "check-config" }),
            "tried: not on Sundays",
        ),
        (json!({ "do": "trap", "in": "check-config" }), "failed in check-config"),
        (json!({ "do": "nonsense" }), "nonsense"),
    ] {
        let folder = net_dir(&network(config).list(&bench.plugin));
        let activate =
            |version: &str| bench.podwire.run(&["policy", "activate", version, "--net-dir", folder]);
        let refused = activate(&bad).failed();
        for word in
            ["is not activated, and nothing has changed", "network pods in /run/net.d/10-web.conflist", words]
        {
            assert!(refused.contains(word), "{word:?} is not in {refused}");
        }
        before.assert_unchanged();
    }
    let folder = net_dir(&network(json!({ "plan": { "addresses": [] } })).list(&bench.plugin));
    let refused = bench.podwire.run(&["policy", "activate", &good, "--net-dir", folder]).failed();
    assert!(refused.contains("plan"), "the default policy has no such key: {refused}");
    let said = bench.podwire.run(&["policy", "activate", &bad, "--net-dir", folder]).done();
    assert!(
        said.contains("it takes the configuration of network pods in /run/net.d/10-web.conflist"),
        "{said}"
    );
}

#[test]
fn a_version_is_pinned_listed_and_removed_by_its_digest() {
    let Some((bench, [good, bad])) = Bench::with_two() else { return };
    let component = built("hostile");
    let path = component.to_str().expect("text");
    let wrong = format!("sha256:{}", "0".repeat(64));
    let refused =
        bench.podwire.run(&["policy", "install", path, "--name", "other", "--digest", &wrong]).failed();
    assert!(refused.contains(&format!("wants {wrong}: nothing was installed")), "{refused}");
    let said = bench.policy(&["install", path, "--name", NAME, "--digest", &version_of(path)]);
    assert!(said.contains(&format!("    podwire policy activate {bad}\n")), "{said}");
    let said = bench.activate(NAME, &[]);
    assert!(said.contains(&version_of(path)), "the version installed last: {said}");
    let listed = bench.policy(&["list"]);
    assert!(listed.contains(&format!("active: {} since 20", version_of(path))), "{listed}");
    assert!(listed.contains(", not in use"), "{listed}");
    assert!(bench.policy(&["inspect", &bad]).contains("podwire takes it"));
    assert!(bench.podwire.run(&["policy", "test", &bad]).stdout.contains("fuel"));
    let refused = bench.podwire.run(&["policy", "remove", &bad]).failed();
    assert!(refused.contains("is active, or is tried: activate another version first"), "{refused}");
    bench.policy(&["remove", &good]);
    assert!(!bench.policy(&["list"]).contains(", not in use"));
    let refused = bench.podwire.run(&["policy", "activate", &good, "--net-dir", "/nonexistent"]).failed();
    assert!(refused.contains("no version whose digest begins with"), "{refused}");
}
