//! The policies to begin with, `guests/{routed,sticky,tenant}`, as components on a node: built, installed, asked by
//! ADDs, and judged by what pods have and whom they reach. And their README files, whose commands print what stands
//! there.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use podwire_tests::command::{Podwire, write_file};
use podwire_tests::network::{V4, V6};
use podwire_tests::{Call, Namespace, Network, Node, Outcome, Plugin, Pod, assert_reaches, kernel, reach};
use serde_json::{Value, json};

/// Where the components are, built once for all tests.
static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("policies");
    let mut build = Command::new(guests().join("build.sh"));
    build.arg("--policies").arg(&folder);
    // What cargo tells the tests is not for a build of its own, with the compiler of its folder.
    for variable in
        ["CARGO_BUILD_TARGET", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "RUSTC"]
    {
        build.env_remove(variable);
    }
    let output = build.output().expect("guests/build.sh is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
});

fn guests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a folder of the repository")
        .join("guests")
}

/// A node on which one of the policies decides.
struct Ground {
    node: Node,
    plugin: Plugin,
    network: Network,
}

impl Ground {
    fn new(policy: &str, pools: &[&str], config: Value) -> Option<Self> {
        // In the machine's own network, where cargo may have something to fetch.
        LazyLock::force(&BUILT);
        let node = Node::enter()?;
        put_in_force(policy, |arguments| Podwire::on(&node).run(arguments).done());
        let network = Network::new("1.1.0", pools).with("policy", json!(policy)).with("config", config);
        Some(Self { plugin: Plugin::under_test(&node), network, node })
    }

    /// ADD for a container of a Kubernetes pod, "namespace/name".
    fn call(&self, container: &Pod, pod: &str) -> Call {
        let (namespace, name) = pod.split_once('/').expect("namespace/name");
        let arguments = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name}");
        self.plugin.call("ADD", &self.network, container).env("CNI_ARGS", &arguments)
    }

    fn add(&self, container: &Pod, pod: &str) -> Outcome {
        self.plugin.run(&self.call(container, pod))
    }

    /// A pod that is wired, and its addresses.
    fn wired(&self, container: &str, pod: &str) -> (Pod, Vec<IpAddr>) {
        let container = self.node.pod(container);
        let result = self.add(&container, pod).result();
        (container, addresses(&result))
    }
}

/// Has a policy decide from now on.
fn put_in_force(policy: &str, podwire: impl Fn(&[&str]) -> String) {
    let component = BUILT.join(policy).with_extension("wasm");
    let component = component.to_str().expect("the workspace's path is text");
    podwire(&["policy", "install", component, "--name", policy]);
    podwire(&["policy", "activate", policy]);
}

fn addresses(result: &Value) -> Vec<IpAddr> {
    let all = result["ips"].as_array().expect("a list");
    let text = |ip: &Value| ip["address"].as_str().expect("an address").to_owned();
    all.iter()
        .map(|ip| text(ip).split('/').next().and_then(|ip| ip.parse().ok()).expect("an address"))
        .collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("a test writes addresses right")
}

/// Whether a connection from the one comes to the other.
fn reaches(from: &Namespace, to: &Pod, address: IpAddr) -> bool {
    reach::tcp_source(from, &to.namespace, address).is_ok()
}

/// Panics if a connection from one of two pods comes to the other, which takes as long as a test is patient.
#[track_caller]
fn assert_kept_apart(one: &(Pod, Vec<IpAddr>), other: &(Pod, Vec<IpAddr>)) {
    let there = || reaches(&one.0.namespace, &other.0, other.1[0]);
    let and_back = || reaches(&other.0.namespace, &one.0, one.1[0]);
    let reached = std::thread::scope(|scope| {
        let there = scope.spawn(there);
        (and_back(), there.join().expect("it ends"))
    });
    assert_eq!(reached, (false, false), "{one:?} {other:?}");
}

/// Panics unless packets of one of two pods come to the other with its address.
#[track_caller]
fn assert_joined(one: &(Pod, Vec<IpAddr>), other: &(Pod, Vec<IpAddr>)) {
    assert_reaches(&one.0.namespace, &other.0.namespace, other.1[0], one.1[0]);
}

#[test]
fn routed_pods_reach_each_other_by_the_node() {
    let Some(ground) = Ground::new("routed", &[V4, V6], json!({ "mtu": 1400, "gateways": ["169.254.1.9"] }))
    else {
        return;
    };
    let (one, of_one) = ground.wired("one", "shop/web-1");
    let (other, of_other) = ground.wired("other", "shop/web-2");
    assert_eq!(of_one, [ip("10.244.1.1"), ip("fd00:10:244:1::1")]);
    for (own, foreign) in of_one.iter().zip(&of_other) {
        assert_reaches(&one.namespace, &other.namespace, *foreign, *own);
        let way = ground.node.namespace.run(|| kernel::json(&format!("route get {foreign}")));
        assert_eq!(way[0]["gateway"], Value::Null, "a pod is on a link of its own: {way:?}");
    }
    let (link, ways) = one.namespace.run(|| (kernel::json("link show eth0"), kernel::json("route show")));
    assert_eq!(link[0]["mtu"], 1400);
    assert_eq!((ways.len(), &ways[0]["gateway"]), (1, &json!("169.254.1.9")), "{ways:?}");
}

#[test]
fn routed_gives_what_is_asked_for() {
    let Some(mut ground) = Ground::new("routed", &[V4], json!({})) else { return };
    ground.network = ground.network.with("runtimeConfig", json!({ "ips": ["10.244.1.77"] }));
    assert_eq!(ground.wired("one", "shop/web-1").1, [ip("10.244.1.77")]);
    let error = ground.add(&ground.node.pod("other"), "shop/web-2").error();
    assert!(error.code == 100 && error.message.contains("held by pod shop/web-1"), "{error:?}");
}

/// One tenant of each kind.
fn tenants() -> Value {
    json!({
        "annotation": "podwire/tenant",
        "tenants": [
            { "name": "vault", "namespaces": ["vault"], "admits": ["ci-*"], "isolation": "tenant",
              "bridge": "br-vault", "veth": "va", "blocks": ["10.244.1.192/26"] },
            { "name": "db", "namespaces": ["db"], "isolation": "ports", "bridge": "br-db",
              "blocks": ["10.244.1.128/26"] },
            { "name": "rest", "namespaces": ["*"], "bridge": "br-pods", "blocks": ["10.244.1.0/25"] },
        ],
    })
}

#[test]
fn an_isolated_tenant_is_alone() {
    let Some(ground) = Ground::new("tenant", &[V4], tenants()) else { return };
    let (one, other) = (ground.wired("one", "vault/a"), ground.wired("other", "vault/b"));
    let web = ground.wired("web", "shop/web");
    assert_eq!([one.1[0], web.1[0]], ["10.244.1.194", "10.244.1.2"].map(ip));
    assert_joined(&one, &other);
    assert_kept_apart(&one, &web);
    assert!(!reaches(&ground.node.namespace, &one.0, one.1[0]), "the node is no neighbour");
    let veths = kernel::links().into_iter().filter(|link| link.name.starts_with("va")).count();
    assert_eq!(veths, 2, "veths are named after their tenant");
}

/// The bridge was the tenant's gateway before: after `podwire node up` it is none any more.
#[test]
fn isolation_that_is_switched_on_holds_for_pods_that_live() {
    let mut open = tenants();
    open["tenants"][0]["isolation"] = json!("none");
    let Some(mut ground) = Ground::new("tenant", &[V4], open) else { return };
    let (one, web) = (ground.wired("one", "vault/a"), ground.wired("web", "shop/web"));
    assert_joined(&one, &web);
    ground.network = ground.network.with("config", tenants());
    let podwire = Podwire::on(&ground.node);
    let node =
        json!({ "policy": "tenant", "config": tenants(), "pools": [V4], "cluster": ["10.244.0.0/16"] });
    podwire.configure("node.json", &node);
    podwire.run(&["node", "up"]).done();
    let dropped = kernel::json("route show type blackhole");
    assert_eq!((dropped.len(), &dropped[0]["dst"]), (1, &json!("10.244.1.192/26")), "{dropped:?}");
    assert_joined(&one, &ground.wired("other", "vault/b"));
    assert_kept_apart(&one, &web);
}

#[test]
fn pods_with_isolated_ports_reach_the_others_only() {
    let Some(ground) = Ground::new("tenant", &[V4], tenants()) else { return };
    let (one, other) = (ground.wired("one", "db/a"), ground.wired("other", "db/b"));
    let web = ground.wired("web", "shop/web");
    assert_joined(&one, &web);
    assert_joined(&web, &other);
    assert_kept_apart(&one, &other);
}

#[test]
fn a_pod_of_a_tenant_sends_with_its_own_address() {
    let Some(ground) = Ground::new("tenant", &[V4], tenants()) else { return };
    let (one, other) = (ground.wired("one", "shop/a"), ground.wired("other", "shop/b"));
    assert_joined(&one, &other);
    one.0.namespace.run(|| kernel::ip("address add 10.244.1.99/25 dev eth0"));
    one.0.namespace.run(|| kernel::ip("route add 10.244.1.0/26 dev eth0 src 10.244.1.99"));
    assert!(!reaches(&one.0.namespace, &other.0, other.1[0]), "it pretends to be another");
}

#[test]
fn an_annotation_chooses_among_those_that_admit_the_pod() {
    let Some(mut ground) = Ground::new("tenant", &[V4], tenants()) else { return };
    let annotations = json!({ "io.kubernetes.cri.pod-annotations": { "podwire/tenant": "vault" } });
    ground.network = ground.network.with("runtimeConfig", annotations);
    assert_eq!(ground.wired("admitted", "ci-7/job").1, [ip("10.244.1.194")]);
    let stranger = ground.node.pod("stranger");
    let before = ground.node.snapshot();
    let error = ground.add(&stranger, "shop/web").error();
    assert!(error.code == 100 && error.message.contains("admits no pods of namespace `shop`"), "{error:?}");
    before.assert_unchanged();
}

#[test]
fn a_sticky_pod_finds_its_addresses_again() {
    let Some(ground) = Ground::new("sticky", &[V4, V6], json!({})) else { return };
    let (first, before) = ground.wired("first", "db/postgres-0");
    assert_eq!(before, [ip("10.244.1.173"), ip("fd00:10:244:1:82ca:3b3f:26ef:4361")]);
    ground.plugin.del(&ground.network, &first).done();
    ground.wired("web", "shop/web-7f9c-x2x4z");
    let (second, after) = ground.wired("second", "db/postgres-0");
    assert_eq!(after, before);
    let (neighbour, of_neighbour) = ground.wired("neighbour", "db/postgres-1");
    assert_eq!(of_neighbour[0], ip("10.244.1.174"), "the next of its set");
    assert_reaches(&second.namespace, &neighbour.namespace, of_neighbour[0], after[0]);
}

#[test]
fn a_sticky_pod_finds_its_addresses_again_after_a_reboot() {
    let Some(ground) = Ground::new("sticky", &[V4], json!({})) else { return };
    let names = ["db/postgres-0", "db/mysql-0", "shop/redis-3"];
    let all = |boot: &str, names: &[&'static str]| {
        let wired = |name: &&'static str| {
            let (container, addresses) = ground.wired(&format!("{boot}-{}", name.replace('/', "-")), name);
            (*name, container, addresses)
        };
        names.iter().map(wired).collect::<Vec<_>>()
    };
    let before = all("before", &names);
    for (_, container, _) in &before {
        // A namespace ends with its machine, and with it the veth; nobody calls DEL.
        container.namespace.remove();
    }
    kernel::eventually("the veths are gone", || kernel::veths() == 0);
    let leases = ground.node.root().join("run/leases");
    let boot =
        fs::read_dir(&leases).expect("there are leases").next().expect("of one boot").expect("readable");
    fs::rename(boot.path(), leases.join("00000000-0000-0000-0000-000000000000")).expect("the test's own");
    let after = all("after", &[names[2], names[0], names[1]]);
    for (name, _, addresses) in before {
        let (_, _, again) = after.iter().find(|(other, ..)| *other == name).expect("it is there again");
        assert_eq!(*again, addresses, "{name}");
    }
}

#[test]
fn a_sticky_pod_waits_for_its_predecessor() {
    let Some(mut ground) = Ground::new("sticky", &[V4], json!({})) else { return };
    let (first, before) = ground.wired("first", "db/postgres-0");
    let second = ground.node.pod("second");
    let error = ground.add(&second, "db/postgres-0").error();
    assert!(error.code == 11 && error.message.contains("container-first"), "{error:?}");
    ground.plugin.del(&ground.network, &second).done();
    ground.plugin.del(&ground.network, &first).done();
    assert_eq!(addresses(&ground.add(&second, "db/postgres-0").result()), before);
    ground.network = ground.network.with("config", json!({ "wait": false }));
    assert_ne!(ground.wired("third", "db/postgres-0").1, before);
}

/// What stands between fences of a language.
fn block(readme: &str, language: &str) -> String {
    let opened = readme.split_once(&format!("```{language}\n")).expect("the README has such a block").1;
    opened.split("```").next().expect("a fence that closes").to_owned()
}

#[test]
fn readmes_show_what_podwire_prints() {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples");
    let _ = fs::remove_dir_all(&place);
    for policy in ["routed", "sticky", "tenant"] {
        let readme = fs::read_to_string(guests().join(policy).join("README.md")).expect("it is there");
        let folder = place.join(policy);
        fs::create_dir_all(&folder).expect("the folder is the tests' own");
        write_file(folder.join("pods.conflist"), block(&readme, "json"));
        put_in_force(policy, |arguments| shell(&format!("podwire {}", arguments.join(" ")), &folder));
        let shown = block(&readme, "console");
        let commands = shown.lines().filter_map(|line| line.strip_prefix("$ "));
        let printed: String =
            commands.map(|command| format!("$ {command}\n{}", shell(command, &folder))).collect();
        assert_eq!(printed, shown, "guests/{policy}/README.md");
    }
    fs::remove_dir_all(place).expect("the folder is the tests' own");
}

fn shell(command: &str, folder: &Path) -> String {
    let test = std::env::current_exe().expect("a test knows its own file");
    let profile = test.ancestors().nth(2).expect("cargo puts tests into target/PROFILE/deps");
    let path = format!("{}:{}", profile.display(), std::env::var("PATH").expect("sh was found by it"));
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(folder).env("PATH", path).env("PODWIRE_ROOT", folder);
    let output = shell.output().expect("there is a shell");
    String::from_utf8(output.stdout).expect("podwire prints text")
}
