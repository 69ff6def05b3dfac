//! DEL, CHECK and GC go by what is on record, whatever became of the policy meanwhile.

use std::fs;
use std::path::Path;

use podwire_tests::{Network, Pod, kernel};
use serde_json::{Value, json};

use crate::{Bench, built, code, good_plan, hostile, write};

/// The default policy's component, as another one to install.
fn default_policy() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests/bridge.wasm")
}

impl Bench {
    fn wired(&self, network: &Network, name: &str) -> (Pod, Value) {
        let pod = self.node.pod(name);
        let result = self.add(network, &pod).result();
        (pod, result)
    }

    /// Panics unless a pod that was wired before something happened passes CHECK and DEL after it, and another
    /// one GC, and both leave nothing.
    fn assert_outlives(&self, what: &str, happen: impl FnOnce()) {
        let network = hostile(json!({ "plan": good_plan() }));
        let other = hostile(json!({}));
        let (pod, result) = self.wired(&network, &format!("pod-{what}"));
        let (lost, _) = self.wired(&other, &format!("lost-{what}"));
        happen();
        self.plugin.check(&network.after(&result), &pod).done();
        pod.namespace.run(|| kernel::ip("route delete default"));
        self.plugin.check(&network.after(&result), &pod).error();
        self.plugin.gc(&network, &[&pod]).done();
        self.plugin.check(&other, &lost).error();
        self.del(&network, &pod);
        assert_eq!(kernel::veths(), 0, "{what}");
        self.assert_nothing_is_held();
    }
}

#[test]
fn attachments_outlive_their_policy() {
    let Some(bench) = Bench::new() else { return };
    let code = || {
        fs::read_dir(bench.version("hostile"))
            .expect("own")
            .flatten()
            .map(|entry| entry.path())
            .collect::<Vec<_>>()
    };
    let again = || bench.install("hostile", &built("hostile"));
    bench.assert_outlives("swapped", || bench.install("hostile", &default_policy()));
    again();
    bench.assert_outlives("swapped-twice", || {
        bench.install("hostile", &default_policy());
        bench.put_in_place("hostile", &built("large_table"));
    });
    again();
    bench.assert_outlives("removed", || {
        let refused = bench.podwire.run(&["policy", "remove", "hostile"]).failed();
        assert!(refused.contains("2 attachments on record") && refused.contains("--force"), "{refused}");
        bench.podwire.run(&["policy", "remove", "hostile", "--force"]).done();
    });
    again();
    bench.assert_outlives("damaged", || {
        code().iter().for_each(|path| write(path, "damaged"));
    });
    fs::remove_dir_all(bench.policies()).expect("own");
    again();
    bench.assert_outlives("not-trusted", || {
        for path in code() {
            std::os::unix::fs::chown(path, Some(1000), None).expect("root gives files away");
        }
    });
    fs::remove_dir_all(bench.policies()).expect("own");
    again();
    bench.assert_outlives("deleted", || {
        fs::remove_dir_all(bench.node.root().join("lib")).expect("own");
    });
}

#[test]
fn the_policy_that_gave_an_address_says_how_long_it_rests() {
    let Some(bench) = Bench::new() else { return };
    let network = hostile(json!({ "plan": good_plan(), "release": 3600 }));
    let (pod, _) = bench.wired(&network, "a");
    bench.install("hostile", &default_policy());
    bench.del(&network, &pod);
    bench.install("hostile", &built("hostile"));
    bench.assert_refused(
        &hostile(json!({ "plan": good_plan() })),
        code::PLAN_BROKE_RULE,
        &["10.244.1.2", "rests"],
    );
}

#[test]
fn a_swap_holds_from_the_next_call_on() {
    let Some(bench) = Bench::new() else { return };
    let network = hostile(json!({ "do": "refuse", "message": "old" }));
    bench.assert_refused(&network, code::REFUSED, &["policy hostile: old"]);
    bench.install("hostile", &default_policy());
    // The default policy has no such keys.
    bench.assert_refused(&network, code::INVALID_CONFIG, &["policy hostile: config", "do"]);
    bench.install("hostile", &built("hostile"));
    bench.assert_refused(&network, code::REFUSED, &["policy hostile: old"]);
}
