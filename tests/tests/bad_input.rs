//! Whatever a plugin is called with, it answers with one error object, the right code and an exit status other
//! than 0, and changes nothing.

use std::path::Path;

use podwire_tests::network::V4;
use podwire_tests::{Call, CniError, Network, Node, Plugin, Pod, kernel};
use serde_json::{Value, json};

/// Codes of the CNI specification, section 5.
mod code {
    pub(super) const INCOMPATIBLE_VERSION: u64 = 1;
    pub(super) const INVALID_ENVIRONMENT: u64 = 4;
    pub(super) const UNDECODABLE: u64 = 6;
    pub(super) const INVALID_CONFIGURATION: u64 = 7;
}

/// A node with one pod wired and one that waits: what could be harmed, and what a wrong call is about.
struct Bench {
    node: Node,
    plugin: Plugin,
    network: Network,
    waiting: Pod,
}

impl Bench {
    fn new() -> Option<Self> {
        let node = Node::enter()?;
        let plugin = Plugin::under_test(&node);
        let network = Network::new("1.0.0", &[V4]);
        let wired = node.pod("wired");
        plugin.add(&network, &wired).result();
        let waiting = node.pod("waiting");
        Some(Self { node, plugin, network, waiting })
    }

    /// A right ADD for the pod that waits, to be spoilt.
    fn add(&self) -> Call {
        self.plugin.call("ADD", &self.network, &self.waiting)
    }

    /// A right ADD but for its configuration.
    fn add_with(&self, spoil: impl FnOnce(&mut Value)) -> Call {
        let mut configuration = self.network.configuration(&self.plugin);
        spoil(&mut configuration);
        self.add().stdin(configuration.to_string())
    }

    /// Makes every call, and panics with the list of all that went wrong.
    fn expect(&self, cases: Vec<(&str, Call, u64)>) {
        let problems: Vec<_> =
            cases.into_iter().filter_map(|(name, call, code)| self.problem(name, &call, code)).collect();
        assert!(problems.is_empty(), "{} of the calls went wrong:\n{}", problems.len(), problems.join("\n"));
    }

    fn problem(&self, name: &str, call: &Call, code: u64) -> Option<String> {
        let pod = &self.waiting.namespace;
        let (on_node, in_pod) = (self.node.snapshot(), pod.run(|| kernel::Snapshot::take(&[])));
        let outcome = self.plugin.run(call);
        let changes = [on_node.changes(), pod.run(|| in_pod.changes())].concat();
        let wrong = match outcome.try_error() {
            Ok(CniError { code: given, .. }) if given == code => None,
            Ok(CniError { code: given, .. }) => Some(format!("code {given}, not {code}")),
            Err(problem) => Some(problem),
        };
        let found = wrong.into_iter().chain(changes).collect::<Vec<_>>().join("; ");
        (!found.is_empty()).then(|| format!("{name}: {found}: {outcome}"))
    }
}

#[test]
fn a_right_call_succeeds() {
    let Some(bench) = Bench::new() else { return };
    bench.plugin.run(&bench.add()).result();
}

#[test]
fn an_environment_that_is_missing_or_wrong() {
    let Some(bench) = Bench::new() else { return };
    let add = || bench.add();
    let cases = [
        ("no environment at all", add().without_environment()),
        ("no CNI_COMMAND", add().without("CNI_COMMAND")),
        ("an unknown command", add().env("CNI_COMMAND", "MAKE")),
        ("a command in lower case", add().env("CNI_COMMAND", "add")),
        ("no CNI_CONTAINERID", add().without("CNI_CONTAINERID")),
        ("an empty container ID", add().env("CNI_CONTAINERID", "")),
        ("a container ID that is a path", add().env("CNI_CONTAINERID", "../a")),
        ("no CNI_IFNAME", add().without("CNI_IFNAME")),
        ("an interface name with a slash", add().env("CNI_IFNAME", "a/b")),
        ("an interface name of 16 bytes", add().env("CNI_IFNAME", "sixteen-bytes-xx")),
        ("an interface name that is a folder", add().env("CNI_IFNAME", "..")),
        ("no CNI_NETNS", add().without("CNI_NETNS")),
        ("no container ID on DEL", add().env("CNI_COMMAND", "DEL").without("CNI_CONTAINERID")),
        ("no CNI_IFNAME on DEL", add().env("CNI_COMMAND", "DEL").without("CNI_IFNAME")),
        ("no CNI_NETNS on CHECK", add().env("CNI_COMMAND", "CHECK").without("CNI_NETNS")),
        ("half an environment", Call::new("ADD").env("CNI_IFNAME", "eth0")),
    ];
    bench.expect(cases.map(|(name, call)| (name, call, code::INVALID_ENVIRONMENT)).into());
}

#[test]
fn a_path_that_is_no_namespace_of_another() {
    let Some(bench) = Bench::new() else { return };
    let file = Path::new("/run/a-file");
    std::fs::File::create(file).expect("/run is the test's own");
    let own = bench.node.namespace.path();
    let paths = [
        ("an empty path", Path::new("")),
        ("nothing", Path::new("/run/netns/missing")),
        ("a regular file", file),
        ("a device", Path::new("/dev/null")),
        ("a folder", Path::new("/run/netns")),
        ("a mount namespace", Path::new("/proc/self/ns/mnt")),
        ("the plugin's own namespace", Path::new("/proc/self/ns/net")),
        ("the plugin's own namespace by another name", own),
    ];
    let add = |path: &Path| bench.add().env("CNI_NETNS", &path.display().to_string());
    bench.expect(paths.map(|(name, path)| (name, add(path), code::INVALID_ENVIRONMENT)).into());
}

#[test]
fn a_configuration_that_cannot_be_read() {
    let Some(bench) = Bench::new() else { return };
    let right = bench.network.configuration(&bench.plugin).to_string().into_bytes();
    let not_utf8 = right.iter().map(|&byte| if byte == b'p' { 0xff } else { byte }).collect::<Vec<_>>();
    let mut endless = right[..right.len() - 1].to_vec();
    endless.extend_from_slice(b",\"cni.dev/x\":\"");
    endless.resize(10 << 20, b'x');
    let inputs = [
        ("empty", Vec::new()),
        ("blank", b" \n".to_vec()),
        ("truncated", right[..right.len() / 2].to_vec()),
        ("without its last byte", right[..right.len() - 1].to_vec()),
        ("two of them", [right.clone(), right.clone()].concat()),
        ("not UTF-8", not_utf8),
        ("not an object", b"[]".to_vec()),
        ("nested without end", vec![b'['; 1 << 20]),
        ("ten megabytes of nothing", vec![0; 10 << 20]),
        ("ten megabytes that begin well", endless),
    ];
    bench.expect(inputs.map(|(name, bytes)| (name, bench.add().stdin(bytes), code::UNDECODABLE)).into());
}

#[test]
fn a_version_that_does_not_exist() {
    let Some(bench) = Bench::new() else { return };
    let version = |text: &str| bench.add_with(|c| c["cniVersion"] = json!(text));
    let older = Network::new("0.3.1", &[V4]);
    let current = Network::new("1.0.0", &[V4]);
    let cases = vec![
        ("of the future", version("9.9.9")),
        ("that never was", version("1.3.0")),
        ("in part", version("1.0")),
        ("not a version", version("latest")),
        ("CHECK before there was one", bench.plugin.call("CHECK", &older, &bench.waiting)),
        ("STATUS before there was one", bench.plugin.call("STATUS", &current, &bench.waiting)),
        ("GC before there was one", bench.plugin.call("GC", &current, &bench.waiting)),
    ];
    let cases = cases.into_iter().map(|(name, call)| (name, call, code::INCOMPATIBLE_VERSION));
    bench.expect(cases.collect());
}

#[test]
fn a_configuration_that_is_wrong() {
    let Some(bench) = Bench::new() else { return };
    let cases = [
        ("no name", bench.add_with(|c| drop(c.as_object_mut().and_then(|c| c.remove("name"))))),
        ("an empty name", bench.add_with(|c| c["name"] = json!(""))),
        ("a name that is a path", bench.add_with(|c| c["name"] = json!("../pods"))),
        ("a pool that is no block", bench.add_with(|c| c["pools"] = json!(["10.244.1.0/33"]))),
        ("a pool outside the cluster", bench.add_with(|c| c["pools"] = json!(["10.9.1.0/24"]))),
        ("a policy that is a path", bench.add_with(|c| c["policy"] = json!("../bridge"))),
    ];
    bench.expect(cases.map(|(name, call)| (name, call, code::INVALID_CONFIGURATION)).into());
}

#[test]
fn an_unknown_key_is_told_from_the_nearest() {
    let Some(bench) = Bench::new() else { return };
    let call = bench.add_with(|c| c["pool"] = json!(["10.244.1.0/24"]));
    let error = bench.plugin.run(&call).error();
    assert_eq!(error.code, 2, "the specification's for a field that is not supported");
    assert!(error.message.contains(r#""pool""#) && error.message.contains(r#""pools""#), "{error:?}");
}

#[test]
fn keys_of_the_runtime_and_of_the_specification_pass() {
    let Some(bench) = Bench::new() else { return };
    let call = bench.add_with(|c| {
        c["cni.dev/trace"] = json!("x");
        c["args"] = json!({ "cni": {} });
        c["runtimeConfig"] = json!({});
        c["capabilities"] = json!({ "ips": true });
        c["dns"] = json!({});
    });
    bench.plugin.run(&call).result();
}

#[test]
fn a_delete_never_removes_a_link_of_the_node() {
    let Some(bench) = Bench::new() else { return };
    kernel::ip("link add uplink type veth peer name uplink-peer");
    let before = bench.node.snapshot();
    let del = bench.add().env("CNI_COMMAND", "DEL").env("CNI_IFNAME", "uplink");
    for own in [bench.node.namespace.path(), Path::new("/proc/self/ns/net")] {
        bench.plugin.run(&del.clone().env("CNI_NETNS", &own.display().to_string()));
        before.assert_unchanged();
    }
}
