//! Whoever is slow to read what a policy says keeps nobody else waiting.

use std::io::{PipeReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use podwire_tests::network::V4;
use podwire_tests::{Network, Node, Plugin, Pod, Podwire};
use serde_json::json;

const HOSTILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/guests/built/hostile.wasm");

/// So much that the policy's words do not fit behind it into a pipe, which takes 64 KiB (pipe(7)).
const BEFORE: usize = 60 << 10;

/// Waits for something that happens at once unless all is lost.
fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::yield_now();
    }
}

/// An ADD whose policy says more than its standard error has room for, with the end that nobody reads.
fn add_that_is_not_read(node: &Node, plugin: &Plugin, pod: &Pod) -> (Child, PipeReader) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(&vec![b'.'; BEFORE]).expect("room");
    let config = json!({ "do": "log-line", "count": 16_000 });
    let network = Network::new("1.1.0", &[V4]).with("policy", "hostile".into()).with("config", config);
    let mut child = Command::new(plugin.path())
        .env_clear()
        .envs([("CNI_COMMAND", "ADD"), ("CNI_PATH", "/opt/cni/bin"), ("CNI_IFNAME", &pod.ifname)])
        .envs([("CNI_CONTAINERID", pod.container_id.as_str())])
        .env("CNI_NETNS", pod.namespace.path())
        .env("PODWIRE_ROOT", node.root())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(writer)
        .spawn()
        .expect("the plugin starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(network.configuration(plugin).to_string().as_bytes()).expect("read");
    (child, reader)
}

#[test]
fn the_leases_are_free_while_nobody_reads_what_a_policy_says() {
    let Some(node) = Node::enter() else { return };
    let plugin = Plugin::under_test(&node);
    if plugin.does_not_promise("policies") {
        return;
    }
    Podwire::on(&node).put_into_use("hostile", Path::new(HOSTILE));
    let (mut blocked, reader) = add_that_is_not_read(&node, &plugin, &node.pod("blocked"));
    let has_begun = || rustix::io::ioctl_fionread(&reader).expect("a pipe") > BEFORE as u64;
    eventually("the policy's words go to standard error", has_begun);
    let (network, pod) = (Network::new("1.1.0", &["10.244.2.0/24"]), node.pod("other"));
    let mut other = plugin.start(&plugin.call("ADD", &network, &pod));
    eventually("another ADD goes on", || other.has_ended());
    other.finish().result();
    assert!(blocked.try_wait().expect("a child").is_none(), "it still wants to write");
    drop(reader);
    blocked.wait().expect("a child");
}
