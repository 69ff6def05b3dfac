//! The example policy in every language: each is installed, plans, wires pods and refuses as the one in Rust does,
//! and a project that begins with it builds.
//!
//! `make languages` builds the components, guests/target/languages/*.wasm, and says which podwire installs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use podwire_tests::command::{self, Podwire};
use podwire_tests::{Network, Node, Plugin, Pod};
use serde_json::{Value, json};

const LANGUAGES: [&str; 3] = ["js", "python", "c"];

const NETWORKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../guests/by-namespace");

const NETWORK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../guests/by-namespace/pods.conflist");

/// No bound on speed: an interpreter on a busy machine takes its time.
const NEVER: Duration = Duration::from_secs(60);

#[test]
fn all_languages_decide_alike() {
    let Some(rust) = Decisions::of("rust") else { return };
    assert!(rust.plans[0].contains("10.244.1.129/32") && rust.plans[1].contains("10.244.1.1/32"), "{rust:?}");
    assert_eq!(rust.addresses, ["10.244.1.6/32", "10.244.1.5/32"]);
    assert_eq!(rust.refusals, [11, 7, 7]);
    for language in LANGUAGES {
        assert_eq!(Decisions::of(language).as_ref(), Some(&rust), "in {language}");
    }
}

/// What a policy says, as far as it does not name itself.
#[derive(Debug, PartialEq, Eq)]
struct Decisions {
    plans: Vec<String>,
    /// Of the pods that a half of two addresses is enough for.
    addresses: Vec<String>,
    /// Codes: of the pod that is one too many, and of wrong configurations.
    refusals: Vec<u64>,
}

impl Decisions {
    /// On a node of its own; none without the privilege for one.
    fn of(language: &str) -> Option<Self> {
        let node = Node::enter()?;
        let podwire = Podwire::on(&node);
        let component = built(language);
        podwire.run(&["policy", "inspect", &component]).done();
        podwire.run(&["policy", "install", &component, "--name", "by-namespace"]).done();
        podwire.run(&["policy", "activate", "by-namespace", "--net-dir", NETWORKS]).done();
        let plan = |pod| podwire.run(&["plan", NETWORK, "--pod", pod]).done();
        let plans = ["db/postgres", "shop/web"].map(plan).to_vec();
        let (addresses, full) = fill(&node);
        let wrong = [json!({}), json!({ "upper": ["db"], "lower": [] })];
        let wrong = wrong.map(|config| refusal(&node, &network(config), &node.pod("wrong")));
        Some(Self { plans, addresses, refusals: [&[full][..], &wrong].concat() })
    }
}

fn built(language: &str) -> String {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests/target/languages");
    let component = built.join(language).with_extension("wasm");
    assert!(component.is_file(), "{}: build it with guests/languages.sh", component.display());
    component.to_str().expect("the workspace's path is text").to_owned()
}

fn network(config: Value) -> Network {
    let network = Network::new("1.0.0", &["10.244.1.0/29"]);
    network.with("policy", json!("by-namespace")).with("config", config)
}

/// Pods until one is too many, the first of which is deleted once: the addresses, and the code for the last.
fn fill(node: &Node) -> (Vec<String>, u64) {
    let (plugin, network) = (Plugin::under_test(node), network(json!({ "upper": ["db"] })));
    let add = |pod: &Pod| {
        let call = plugin.call("ADD", &network, pod).env("CNI_ARGS", "K8S_POD_NAMESPACE=db;K8S_POD_NAME=a");
        plugin.start(&call).finish_within(NEVER)
    };
    let pods = ["a", "b", "c"].map(|name| node.pod(name));
    add(&pods[0]).result();
    plugin.del(&network, &pods[0]).done();
    let address = |pod| add(pod).result()["ips"][0]["address"].as_str().expect("an address").to_owned();
    (pods[..2].iter().map(address).collect(), add(&pods[2]).error().code)
}

fn refusal(node: &Node, network: &Network, pod: &Pod) -> u64 {
    let plugin = Plugin::under_test(node);
    let code = plugin.add(network, pod).error().code;
    pod.namespace.remove();
    code
}

#[test]
fn a_new_project_builds_in_every_language() {
    for language in ["rust"].into_iter().chain(LANGUAGES) {
        let project = new_project(language);
        let readme = fs::read_to_string(project.join("README.md")).expect("a project has one");
        let commands: Vec<_> = readme.lines().filter_map(|line| line.strip_prefix("    ")).collect();
        assert!(commands.len() >= 3, "{readme}");
        commands.iter().for_each(|command| run(command, &project));
        assert!(!readme.contains("by-namespace") && !readme.contains("by_namespace"), "{readme}");
        fs::remove_dir_all(&project).expect("it is ours");
    }
}

fn new_project(language: &str) -> PathBuf {
    let project = Path::new(env!("CARGO_TARGET_TMPDIR")).join("languages").join(language);
    // One that was left by a test that was killed.
    let _ = fs::remove_dir_all(&project);
    let new = || {
        let mut podwire = Command::new(command::program());
        podwire.args(["policy", "new", "my-policy", "--lang", language]).arg(&project);
        podwire.output().expect("podwire can be run")
    };
    let first = new();
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let second = new();
    assert!(!second.status.success(), "it wrote over a project");
    assert!(String::from_utf8_lossy(&second.stderr).contains("is not empty"), "{second:?}");
    project
}

/// A line of a project's README, where podwire is in the PATH.
fn run(line: &str, project: &Path) {
    let folder = command::program().parent().expect("it lies in a folder").to_owned();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").expect("cargo was found by it"));
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests");
    let toolchain = fs::read_to_string(guests.join("rust-toolchain.toml")).expect("it is there");
    let channel = toolchain.split('"').nth(1).expect("it names a channel");
    let mut shell = Command::new("sh");
    shell.args(["-eu", "-c", line]).current_dir(project).env("PATH", path);
    // What cargo tells the tests is not the project's. Its dependencies are compiled already, for the example.
    for variable in ["CARGO_BUILD_TARGET", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS"] {
        shell.env_remove(variable);
    }
    shell.env("RUSTUP_TOOLCHAIN", channel).env_remove("CARGO_TARGET_DIR");
    shell.env("CARGO_BUILD_BUILD_DIR", guests.join("target/by-namespace"));
    let output = shell.output().expect("there is a shell");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{line}:\n{}", said.concat());
}
