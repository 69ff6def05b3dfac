//! A policy that means harm: whatever it answers, however it misbehaves, wherever it comes from, the host
//! refuses it with a sentence that helps, and nothing has changed.
//!
//! The policy is `tests/guests/hostile`, installed under that name: it does and answers what the network
//! configuration says.

mod answers;
mod compiled;
mod components;
mod dry_run;
mod leased;
mod misbehaviour;
mod node_plans;
mod requests;
mod swap;
mod swapping;
mod trials;
mod wording;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use podwire_tests::network::{V4, V6};
use podwire_tests::plugin::Running;
use podwire_tests::{CniError, Network, Node, Outcome, Plugin, Pod, Podwire, kernel};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What podwire's codes mean: README.md, "When something is refused".
mod code {
    pub(crate) const INVALID_CONFIG: u64 = 7;
    pub(crate) const TRY_AGAIN: u64 = 11;
    pub(crate) const NOT_AVAILABLE: u64 = 50;
    pub(crate) const REFUSED: u64 = 100;
    pub(crate) const PLAN_BROKE_RULE: u64 = 101;
    pub(crate) const POLICY_FAILED: u64 = 102;
    pub(crate) const POLICY_UNUSABLE: u64 = 103;
    pub(crate) const INTERFACE_EXISTS: u64 = 105;
}

/// No bound on speed: a policy without limits would never end.
const NEVER: Duration = Duration::from_secs(60);

/// The first address of a pool that the built-in policy gives to a pod.
const FIRST: &str = "10.244.1.2/24";

/// The same for IPv6.
const FIRST_V6: &str = "fd00:10:244:1::2/64";

/// A node with the hostile policy installed, and the bridge cni0 made by the built-in one.
struct Bench {
    node: Node,
    plugin: Plugin,
    podwire: Podwire,
}

impl Bench {
    fn new() -> Option<Self> {
        let bench = Self::empty()?;
        bench.install("hostile", &built("hostile"));
        bench.assert_nothing_is_held();
        Some(bench)
    }

    /// Without an installed policy.
    fn empty() -> Option<Self> {
        let node = Node::enter()?;
        let (plugin, podwire) = (Plugin::under_test(&node), Podwire::on(&node));
        if plugin.does_not_promise("policies") {
            return None;
        }
        Some(Self { node, plugin, podwire })
    }

    fn install(&self, name: &str, component: &Path) {
        self.podwire.put_into_use(name, component);
    }

    /// Where installed policies lie.
    fn policies(&self) -> PathBuf {
        self.node.root().join("lib/policies")
    }

    /// Which version of the policy decides, everywhere.
    fn active(&self, name: &str) -> String {
        let file = fs::read_to_string(self.policies().join("names").join(name).with_extension("json"));
        let standing: Value = serde_json::from_str(&file.expect("it is installed")).expect("JSON");
        standing["everywhere"]["active"]["digest"].as_str().expect("it is active").to_owned()
    }

    /// Where that version lies.
    fn version(&self, name: &str) -> PathBuf {
        self.policies().join(self.active(name).trim_start_matches("sha256:"))
    }

    /// The file of leases, of the only boot that is there.
    fn database(&self) -> PathBuf {
        let only = |folder: PathBuf| {
            let mut entries =
                fs::read_dir(folder).expect("an ADD was there").map(|entry| entry.expect("own").path());
            entries.next().expect("it is not empty")
        };
        only(only(self.node.root().join("run/leases"))).join("data.mdb")
    }

    /// ADD, which ends in any case.
    fn add(&self, network: &Network, pod: &Pod) -> Outcome {
        self.start("ADD", network, pod).finish_within(NEVER)
    }

    fn del(&self, network: &Network, pod: &Pod) {
        self.start("DEL", network, pod).finish_within(NEVER).done();
    }

    fn start(&self, command: &str, network: &Network, pod: &Pod) -> Running {
        self.plugin.start(&self.plugin.call(command, network, pod))
    }

    /// An ADD that is refused and changes nothing, and the DEL that follows.
    #[track_caller]
    fn refused(&self, network: &Network, pod: &Pod) -> CniError {
        let (on_node, in_pod) = (self.snapshot(), pod.namespace.run(|| kernel::Snapshot::take(&[])));
        let error = self.add(network, pod).error();
        wording::assert_helpful(&error.message);
        let assert_nothing_changed = || {
            on_node.assert_unchanged();
            pod.namespace.run(|| in_pod.assert_unchanged());
        };
        assert_nothing_changed();
        self.del(network, pod);
        assert_nothing_changed();
        error
    }

    /// Links, addresses, routes, rules, and the installed policies with their compiled code. Not the journal, in which
    /// each refusal is.
    fn snapshot(&self) -> kernel::Snapshot {
        let policies = self.policies();
        kernel::Snapshot::take(&[policies.to_str().expect("a test's root is text")])
    }

    /// Panics unless the first addresses are free: the built-in policy grants them to who asks.
    #[track_caller]
    fn assert_nothing_is_held(&self) {
        let pod = self.node.pod("first");
        let network =
            Network::new("1.1.0", &[V4, V6]).with("runtimeConfig", json!({ "ips": [FIRST, FIRST_V6] }));
        let result = self.add(&network, &pod).result();
        assert_eq!(
            (&result["ips"][0]["address"], &result["ips"][1]["address"]),
            (&json!(FIRST), &json!(FIRST_V6))
        );
        self.del(&network, &pod);
        pod.namespace.remove();
    }

    /// Panics unless a policy fails like this, and nothing is left.
    #[track_caller]
    fn assert_refused(&self, network: &Network, code: u64, words: &[&str]) {
        let pod = self.node.pod("refused");
        let error = self.refused(network, &pod);
        pod.namespace.remove();
        assert_eq!(error.code, code, "{error:?}");
        for word in words {
            assert!(error.message.contains(word), "{word:?} is not in {:?}", error.message);
        }
    }
}

/// A dual-stack network whose plans are the hostile policy's, with this configuration.
fn hostile(config: Value) -> Network {
    Network::new("1.1.0", &[V4, V6]).with("policy", json!("hostile")).with("config", config)
}

/// The digest of a component.
fn version_of(path: impl AsRef<Path>) -> String {
    let bytes = fs::read(path).expect("the component is there");
    let hex: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Its hexadecimal digits.
fn hex_of(digest: &str) -> &str {
    digest.trim_start_matches("sha256:")
}

/// A component of tests/guests.
fn built(name: &str) -> PathBuf {
    guests().join("built").join(name).with_extension("wasm")
}

fn guests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guests")
}

/// What the lecture's script does for its first pod: a plan that keeps every rule.
fn good_plan() -> Value {
    json!({
        "wiring": { "bridge": { "bridge": { "name": "cni0", "addresses": ["10.244.1.1/24"] } } },
        "addresses": [{ "prefix": FIRST, "gateway": "10.244.1.1" }],
        "routes": [{ "destination": "0.0.0.0/0", "via": "10.244.1.1" }],
    })
}

/// Point to point, with an address that nobody else uses here.
fn other_plan() -> Value {
    json!({ "addresses": [{ "prefix": "10.244.1.9/32" }] })
}

/// The value with one thing changed: at a JSON pointer, whose last part is a key, an index, or `-` for a new
/// element.
#[track_caller]
fn with(mut whole: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a JSON pointer begins with a slash");
    match whole.pointer_mut(parent) {
        Some(Value::Object(object)) => _ = object.insert(key.to_owned(), value),
        Some(Value::Array(array)) if key == "-" => array.push(value),
        Some(Value::Array(array)) => array[key.parse::<usize>().expect("an index")] = value,
        _ => panic!("nothing in {whole} has parts at {parent:?}"),
    }
    whole
}

/// Puts this into a file: the test's own, whom nobody else reads meanwhile.
fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let mut file = File::create(&path).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()));
    file.write_all(content.as_ref()).expect("the test's memory has room");
}
