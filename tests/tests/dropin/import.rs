//! A node changes over from host-local under its pods.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use podwire_tests::{assert_reaches, kernel};
use serde_json::{Value, json};

use crate::{Node, address, alone, bridge};

/// Where host-local keeps its leases of the network.
const LEASES: &str = "/var/lib/cni/networks/pods";

#[test]
fn a_node_changes_over_under_its_pods() {
    let Some(node) = Node::enter() else { return };
    let before = alone(&node, bridge("bridge", &json!({})));
    let after = alone(&node, bridge("podwire", &json!({})));
    let old: Vec<_> = (0..4).map(|i| node.pod(&format!("old{i}"))).collect();
    let results: Vec<Value> = old.iter().map(|pod| before.add(pod)).collect();
    let held: BTreeSet<IpAddr> = results.iter().map(|result| address(result, 0)).collect();

    let new = node.pod("new");
    let result = after.add(&new);
    let own = address(&result, 0);
    assert!(!held.contains(&own), "{own} is a pod's of host-local: {held:?}");
    for (pod, result) in old.iter().zip(&results) {
        assert_reaches(&new.namespace, &pod.namespace, address(result, 0), own);
    }

    // Some runtimes call for a DEL what they called for the ADD, and some what the configuration now says.
    for (i, (pod, result)) in old.iter().zip(&results).enumerate() {
        if i % 2 == 0 { &before } else { &after }.del(pod, result);
        pod.namespace.remove();
    }
    let free: BTreeSet<IpAddr> =
        (0..252).map(|i| address(&after.add(&node.pod(&format!("p{i}"))), 0)).collect();
    assert!(held.is_subset(&free) && !free.contains(&own), "{:?}", held.difference(&free));
    assert!(!Path::new(LEASES).exists(), "nobody has a lease there any more");
}

/// A lease as host-local writes it, or wrote it before it knew interfaces.
fn lease(address: &str, content: &str) {
    fs::create_dir_all(LEASES).expect("/var/lib is the test's own");
    for (name, content) in [("lock", ""), (address, content)] {
        let mut file = File::create(Path::new(LEASES).join(name)).expect("just made");
        file.write_all(content.as_bytes()).expect("there is room");
    }
}

/// One of an earlier boot.
fn dead_lease(address: &str) {
    lease(address, "dead\r\neth0");
    let file = File::options().write(true).open(Path::new(LEASES).join(address)).expect("there");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    file.set_modified(long_ago).expect("a time can be set");
}

#[test]
fn a_delete_that_comes_before_any_add_releases_too() {
    let Some(node) = Node::enter() else { return };
    let mut plugin = bridge("podwire", &json!({}));
    plugin["ipam"]["ranges"] = json!([[{ "subnet": "10.88.0.0/29" }]]);
    let chain = alone(&node, plugin);
    lease("10.88.0.2", "container-old\r\neth0");
    lease("10.88.0.3", "container-ancient");
    for name in ["old", "ancient"] {
        chain.del(&node.pod(name), &json!({ "cniVersion": "1.0.0" }));
    }
    // All that there are.
    (0..5).for_each(|i| drop(chain.add(&node.pod(&format!("new{i}")))));
}

#[test]
fn a_delete_needs_no_policy_to_release() {
    let Some(node) = Node::enter() else { return };
    let mut plugin = bridge("podwire", &json!({}));
    plugin["policy"] = json!("absent");
    lease("10.88.0.2", "container-old\r\neth0");
    alone(&node, plugin).del(&node.pod("old"), &json!({ "cniVersion": "1.0.0" }));
    assert!(!Path::new(LEASES).join("10.88.0.2").exists());
}

#[test]
fn a_lease_of_an_earlier_boot_is_nobodys() {
    let Some(node) = Node::enter() else { return };
    let chain = alone(&node, bridge("podwire", &json!({})));
    lease("10.88.0.2", "alive\r\neth0");
    dead_lease("10.88.0.3");
    assert_eq!(address(&chain.add(&node.pod("a")), 0).to_string(), "10.88.0.3");
}

#[test]
fn a_delete_takes_the_interface_away_before_its_address_is_free() {
    let Some(node) = Node::enter() else { return };
    let before = alone(&node, bridge("bridge", &json!({})));
    let after = alone(&node, bridge("podwire", &json!({})));
    let pod = node.pod("old");
    let result = before.add(&pod);
    after.check(&pod, &result);
    pod.namespace.run(|| kernel::ip("address flush dev eth0"));
    let error = after.try_check(&pod, &result).expect_err("its address is gone").error();
    assert!(error.message.contains(&address(&result, 0).to_string()), "{}", error.message);
    after.del(&pod, &result);
    assert!(pod.namespace.run(|| kernel::link("eth0")).is_none(), "it would still answer");
}

#[test]
fn a_lease_that_says_nothing_is_one_all_the_same() {
    let Some(node) = Node::enter() else { return };
    let chain = alone(&node, bridge("podwire", &json!({})));
    lease("10.88.0.2", "");
    lease("10.88.0.3", "\u{0}\u{1}");
    lease("10.88.0.4", &"x".repeat(2000));
    assert_eq!(address(&chain.add(&node.pod("a")), 0).to_string(), "10.88.0.5");
    chain.gc(&[]).done();
    let next = address(&chain.add(&node.pod("b")), 0).to_string();
    assert!(!["10.88.0.2", "10.88.0.3", "10.88.0.4"].contains(&next.as_str()), "{next}");
}

#[test]
fn leases_in_doubt_keep_nobody_from_being_deleted() {
    let Some(node) = Node::enter() else { return };
    let chain = alone(&node, bridge("podwire", &json!({})));
    let running = node.pod("running");
    let result = chain.add(&running);
    // Its own address, and the gateway of all: neither can be the other's.
    lease(&address(&result, 0).to_string(), "old\r\neth0");
    lease("10.88.0.1", "other\r\neth0");
    lease("10.88.0.9", "third\r\neth0");
    chain.check(&running, &result);
    chain.gc(&[&running]).done();
    chain.del(&node.pod("old"), &result);
    chain.del(&running, &result);
    assert_eq!(kernel::veths(), 0);
}

#[test]
fn a_lease_that_cannot_be_taken_away_keeps_nobody_from_being_deleted() {
    let Some(node) = Node::enter() else { return };
    let chain = alone(&node, bridge("podwire", &json!({})));
    lease("10.88.0.2", "container-old\r\neth0");
    kernel::run("mount", &format!("--bind {LEASES} {LEASES}"));
    kernel::run("mount", &format!("-o remount,bind,ro {LEASES}"));
    let pod = node.pod("old");
    for _twice in 0..2 {
        chain.del(&pod, &json!({ "cniVersion": "1.0.0" }));
    }
}

#[test]
fn a_container_in_two_networks_keeps_the_addresses_of_both() {
    let Some(node) = Node::enter() else { return };
    lease("10.88.0.2", "old");
    fs::create_dir_all("/var/lib/cni/networks/others").expect("the test's own");
    for name in ["lock", "10.89.0.2"] {
        fs::copy(Path::new(LEASES).join("10.88.0.2"), Path::new("/var/lib/cni/networks/others").join(name))
            .expect("copied");
    }
    let mut plugin = bridge("podwire", &json!({}));
    plugin["ipam"]["ranges"] = json!([[{ "subnet": "10.89.0.0/24" }]]);
    let (pods, others) = (alone(&node, bridge("podwire", &json!({}))), alone(&node, plugin).named("others"));
    assert_eq!(address(&pods.add(&node.pod("a")), 0).to_string(), "10.88.0.3");
    assert_eq!(address(&others.add(&node.pod("b")), 0).to_string(), "10.89.0.3");
}

#[test]
fn adds_at_once_all_find_the_folder_or_none() {
    let Some(node) = Node::enter() else { return };
    let chain = alone(&node, bridge("podwire", &json!({})));
    for round in 0..4 {
        dead_lease("10.88.0.99");
        let pods: Vec<_> = (0..6).map(|i| node.pod(&format!("p{round}-{i}"))).collect();
        std::thread::scope(|scope| pods.iter().for_each(|pod| drop(scope.spawn(|| chain.add(pod)))));
        assert!(!Path::new(LEASES).exists(), "nobody has a lease there");
    }
}
