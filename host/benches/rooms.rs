//! How long each room takes for one ADD, in this process: what the machine's noise allows to see of a change
//! before the whole plugin is measured. No namespaces, no netlink, no privilege.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use divan::{Bencher, black_box};
use ipnet::IpNet;
use podwire::cni::{AddResult, Environment, Facts, Input, Request, Version};
use podwire::leases::{Empty, Intent, NetworkNamespace, Steps, Store, Transaction, View};
use podwire::names::{AttachmentId, Digest, MacAddress, PolicyName};
use podwire::plan::{AddPlan, AddRequest, Checked, Node, Pod, check};
use podwire::policy::{Engine, Policy};
use podwire::registry::Registry;
use podwire::state::State;
use tempfile::TempDir;

/// Room for 131,069 pods.
const POOL: &str = "10.244.0.0/15";

const CONFIGURATION: &str = r#"{
    "cniVersion": "1.1.0", "name": "pods", "type": "podwire",
    "pools": ["10.244.0.0/15"], "cluster": ["10.244.0.0/15"], "config": { "bridge": "cni0" },
    "capabilities": { "ips": true, "mac": true, "io.kubernetes.cri.pod-annotations": true },
    "runtimeConfig": { "io.kubernetes.cri.pod-annotations": { "example.org/team": "a" } }
}"#;

fn main() {
    divan::main();
}

/// Environment and standard input become a checked request.
#[divan::bench]
fn request(bencher: Bencher) {
    let input = Input {
        environment: Environment {
            command: Some("ADD".into()),
            container_id: Some("0123456789abcdef".into()),
            netns: Some("/run/netns/a".into()),
            ifname: Some("eth0".into()),
            args: Some("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web".into()),
            path: Some("/opt/cni/bin".into()),
            netns_override: None,
            program: None,
        },
        stdin: Ok(CONFIGURATION.into()),
    };
    Request::read(&input).expect("a valid request");
    bencher.bench(|| Request::read(black_box(&input)));
}

/// A policy's code gets a memory, and what it imports.
#[divan::bench]
fn instantiate(bencher: Bencher) {
    let policy = builtin();
    bencher.bench(|| policy.instantiate().expect("the policy starts"));
}

/// The policy answers, asked for the first time as in a process of its own.
#[divan::bench]
fn decide(bencher: Bencher) {
    let (policy, asked) = (builtin(), question());
    let instance = || policy.instantiate().expect("the policy starts");
    bencher.with_inputs(instance).bench_local_refs(|instance| instance.add(&asked, Empty));
}

/// Every rule that a plan must keep.
#[divan::bench]
fn plan_checks(bencher: Bencher) {
    let (asked, plan) = (question(), proposal());
    bencher.with_inputs(|| plan.clone()).bench_values(|plan| check::add(black_box(&asked), plan));
}

/// The database is opened, an address found and recorded, with so many leases held.
#[divan::bench(args = [0, 60_000], sample_count = 50, sample_size = 1)]
fn lease(bencher: Bencher, held: u64) {
    let leases = Leases::with(held);
    bencher.with_inputs(|| (leases.as_another_process_finds_them(), leases.intent())).bench_values(
        |(folder, intent)| record(&Store::open(&folder).expect("a sound database"), vec![intent]),
    );
}

/// What goes to standard output.
#[divan::bench]
fn result(bencher: Bencher) {
    let plan = checked();
    let bridge = Some((MacAddress([0x0a; 6]), 1500));
    let facts = Facts { netns: Path::new("/run/netns/a"), mtu: 1500, bridge };
    bencher.bench(|| AddResult::new(black_box(&plan), &facts, None).to_json(Version::V1_1_0, None));
}

/// The policy that decides where none is installed.
fn builtin() -> Policy {
    let registry = Registry::open(&State::new(Some(Path::new("/nowhere"))));
    let active = registry.active(&PolicyName::default()).expect("podwire brings a policy along");
    let component = registry.component(&active).expect("podwire brings its component along");
    let engine = Engine::new().expect("the settings fit the machine");
    engine.load_component(&component, "bridge").expect("the component is sound")
}

fn question() -> AddRequest {
    AddRequest {
        network: "pods".parse().expect("a name"),
        attachment: attachment("0123456789abcdef"),
        pod: Some(pod()),
        node: Node {
            name: "node1".to_owned(),
            addresses: vec!["192.168.1.11".parse().expect("an address")],
            pools: vec![pool()],
            cluster: vec![pool()],
        },
        requested_addresses: Vec::new(),
        range_sets: None,
        requested_routes: Vec::new(),
        operators_bridge: None,
        port_mappings: Vec::new(),
        bandwidth: None,
        requested_mac: None,
        config: r#"{"bridge":"cni0"}"#.to_owned(),
    }
}

fn proposal() -> AddPlan {
    let mut instance = builtin().instantiate().expect("the policy starts");
    let (answer, _) = instance.add(&question(), Empty);
    answer.expect("the policy does not fail").expect("the policy has a plan")
}

fn checked() -> Checked {
    check::add(&question(), proposal()).expect("the plan keeps every rule")
}

fn attachment(container: &str) -> AttachmentId {
    AttachmentId { container_id: container.parse().expect("an ID"), ifname: "eth0".parse().expect("a name") }
}

fn pod() -> Pod {
    Pod { namespace: "default".into(), name: "web".into(), uid: String::new(), annotations: Vec::new() }
}

fn pool() -> IpNet {
    POOL.parse().expect("a block")
}

/// A database in a folder of its own.
struct Leases {
    home: TempDir,
    plan: Checked,
    next: AtomicU64,
}

impl Leases {
    fn with(held: u64) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let leases = Self { home, plan: checked(), next: AtomicU64::new(0) };
        let store = Store::open(&leases.folder()).expect("a new database");
        record(&store, (0..held).map(|_| leases.intent()).collect());
        leases
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("leases")
    }

    /// A process opens a database once. The same files in another folder are another one to it.
    fn as_another_process_finds_them(&self) -> PathBuf {
        let folder = self.home.path().join(self.number().to_string());
        link_all(&self.folder(), &folder);
        folder
    }

    /// Of another pod each time.
    fn intent(&self) -> Intent {
        let number = self.number();
        let host_interface = format!("pw{number:012x}").parse().expect("a name");
        Intent {
            attachment: attachment(&format!("{number:064x}")),
            network: "pods".parse().expect("a name"),
            pod: Some(pod()),
            netns: NetworkNamespace { path: "/run/netns/a".into(), device: 4, inode: 4_026_532_000 },
            policy: PolicyName::default(),
            digest: Digest([7; 32]),
            config: r#"{"bridge":"cni0"}"#.to_owned(),
            plan: Checked { host_interface, ..self.plan.clone() },
            pools: vec![pool()],
            origin: Default::default(),
            delegated: None,
            host_local: None,
        }
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// All in one transaction, each with the next free address.
fn record(store: &Store, intents: Vec<Intent>) {
    let mut transaction = store.transaction().expect("nobody else writes");
    for mut intent in intents {
        let address = next_free(&transaction);
        intent.plan.addresses[0].prefix = IpNet::new(address, pool().prefix_len()).expect("as the pool");
        transaction.reserve(intent).expect("the address is free");
    }
    transaction.commit().expect("the database takes it");
}

/// Asked for as the built-in policy does, after the gateway at first and after the last one then.
fn next_free(transaction: &Transaction) -> IpAddr {
    let mut steps = Steps(1_000_000);
    let last = transaction.last_taken(pool(), &mut steps).expect("a sound database");
    let start = last.or_else(|| pool().hosts().nth(1));
    let free = transaction.first_free(pool(), start, &mut steps).expect("a sound database");
    free.expect("the pool is large enough")
}

fn link_all(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a new folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        match entry.file_type().expect("tmp has types") {
            kind if kind.is_dir() => link_all(&entry.path(), &target),
            _ => fs::hard_link(entry.path(), target).expect("the same file system"),
        }
    }
}
