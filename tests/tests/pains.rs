//! What users of other plugins suffer most, each as a scenario that podwire must come through. Those that have a
//! test elsewhere name it.
//!
//! | pain | test |
//! | --- | --- |
//! | a lock's holder that was killed, or waits | `attachments::kill`, the lease database's own tests |
//! | a burst of pods | `attachments::many` |
//! | an ADD that fails leaves nothing | `attachments::failures` |
//! | a port mapping, a limit, a masquerade that stays behind | `dropin::traffic` |

use std::collections::BTreeSet;
use std::fs;

use podwire_tests::command::write_file;
use podwire_tests::network::{V4, V6};
use podwire_tests::{Network, Node, Plugin, Pod, assert_reaches, kernel};
use serde_json::{Value, json};

/// Five addresses for pods.
const SMALL: &str = "10.244.1.0/29";

/// A node, its plugin, its network.
struct Ground {
    node: Node,
    plugin: Plugin,
    network: Network,
}

impl Ground {
    fn new(pools: &[&str]) -> Option<Self> {
        let node = Node::enter()?;
        let plugin = Plugin::under_test(&node);
        Some(Self { node, plugin, network: Network::new("1.1.0", pools) })
    }

    fn wired(&self, name: &str) -> (Pod, Value) {
        let pod = self.node.pod(name);
        let result = self.plugin.add(&self.network, &pod).result();
        (pod, result)
    }

    fn address(&self, name: &str) -> std::net::IpAddr {
        address(&self.wired(name).1)
    }
}

fn address(result: &Value) -> std::net::IpAddr {
    let text = result["ips"][0]["address"].as_str().expect("an address");
    text.split('/').next().and_then(|text| text.parse().ok()).expect("an address")
}

/// Pain 1: addresses leaked by a reboot. What another boot left is not even opened.
#[test]
fn a_reboot_leaves_no_lease() {
    let Some(ground) = Ground::new(&[SMALL]) else { return };
    let first: BTreeSet<_> = (0..5).map(|i| ground.address(&format!("before-{i}"))).collect();
    let leases = ground.node.root().join("run/leases");
    let [boot] = &children(&leases)[..] else { panic!("one boot: {:?}", children(&leases)) };
    fs::rename(leases.join(boot), leases.join("00000000-0000-0000-0000-000000000000")).expect("ours");
    let again: BTreeSet<_> = (0..5).map(|i| ground.address(&format!("after-{i}"))).collect();
    assert_eq!(first, again);
}

fn children(folder: &std::path::Path) -> Vec<String> {
    let all = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    all.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
}

/// Pain 3: "no addresses available" without a cause.
#[test]
fn an_exhausted_pool_says_who_holds_it() {
    let Some(ground) = Ground::new(&[SMALL]) else { return };
    for i in 0..5 {
        ground.wired(&format!("holder-{i}"));
    }
    let pod = ground.node.pod("one-too-many");
    let error = ground.plugin.add(&ground.network, &pod).error();
    assert_eq!(error.code, 11, "{}", error.message);
    for told in [SMALL, "5 held", "holder-"] {
        assert!(error.message.contains(told), "{told} is not in: {}", error.message);
    }
}

/// Pain 5: a DEL that needs what is gone.
#[test]
fn a_delete_needs_neither_namespace_nor_configuration() {
    let Some(ground) = Ground::new(&[SMALL]) else { return };
    let before = ground.node.snapshot();
    let broken =
        [r#"{"cniVersion": "9.9"}"#, "{", "", r#"{"name": "pods", "cniVersion": "1.1.0", "pools": 7}"#];
    for (i, stdin) in broken.iter().enumerate() {
        let (pod, _) = ground.wired(&format!("a{i}"));
        let call = ground.plugin.call("DEL", &ground.network, &pod).stdin(*stdin);
        let call = if i % 2 == 0 { call.without("CNI_NETNS") } else { call };
        pod.namespace.remove();
        ground.plugin.run(&call).done();
        ground.plugin.run(&call).done();
    }
    let links = |changes: Vec<String>| -> Vec<String> {
        changes.into_iter().filter(|change| change.contains("veth")).collect()
    };
    assert_eq!(links(before.changes()), [""; 0]);
    for i in 0..5 {
        ground.wired(&format!("again-{i}"));
    }
}

/// Pain 2: state that is empty or torn.
#[test]
fn state_that_is_empty_or_torn_is_named_and_costs_no_pod_its_address() {
    let Some(ground) = Ground::new(&[V4]) else { return };
    let (_, result) = ground.wired("a");
    let data = find(&ground.node.root().join("run/leases"), "data.mdb");
    let whole = fs::read(&data).expect("readable");
    let pod = ground.node.pod("b");
    for torn in [&whole[..0], &whole[..100], &vec![0xff; whole.len()][..]] {
        write_file(&data, torn);
        let outcome = ground.plugin.add(&ground.network, &pod);
        if outcome.exit == Some(0) {
            assert_ne!(address(&outcome.result()), address(&result), "an address was given twice");
            ground.plugin.del(&ground.network, &pod).done();
        } else {
            let error = outcome.error();
            assert!(error.message.contains("leases"), "{}", error.message);
        }
    }
    write_file(&data, &whole);
    assert_ne!(address(&ground.plugin.add(&ground.network, &pod).result()), address(&result));
}

fn find(folder: &std::path::Path, name: &str) -> std::path::PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("readable").map(|entry| entry.expect("readable").path()) {
            if entry.file_name().is_some_and(|found| found == name) {
                return entry;
            }
            if entry.is_dir() {
                folders.push(entry);
            }
        }
    }
    panic!("no {name} in {}", folder.display())
}

/// Pain 9: ADD twice, and two ADDs of one container at once.
#[test]
fn of_two_adds_of_one_container_one_wins() {
    let Some(ground) = Ground::new(&[SMALL]) else { return };
    let pod = ground.node.pod("a");
    let call = ground.plugin.call("ADD", &ground.network, &pod);
    let running: Vec<_> = (0..8).map(|_| ground.plugin.start(&call)).collect();
    let outcomes: Vec<_> = running.into_iter().map(podwire_tests::plugin::Running::finish).collect();
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.iter().partition(|outcome| outcome.exit == Some(0));
    assert_eq!(won.len(), 1, "{outcomes:?}");
    assert!(lost.iter().all(|outcome| outcome.error().code == 104), "{lost:?}");
    assert_eq!(pod.namespace.run(|| kernel::addresses_of("eth0")).len(), 1);
    assert_eq!(ground.plugin.run(&call).error().code, 104);
    for i in 1..5 {
        ground.wired(&format!("p{i}"));
    }
}

/// Pain 8: an IPv6 address that cannot be used until the kernel has asked around for it.
#[test]
fn an_ipv6_address_can_be_used_at_once() {
    let Some(ground) = Ground::new(&[V6]) else { return };
    let (pod, _) = ground.wired("a");
    let addresses = pod.namespace.run(|| kernel::json("-6 address show dev eth0 scope global"));
    let flags = addresses[0]["addr_info"][0].clone();
    assert!(flags.get("tentative").is_none() && flags["nodad"] == true, "{flags}");
}

/// Pain 14: an address is used again, and somebody still knows its last owner.
#[test]
fn a_neighbour_finds_the_new_owner_of_an_address_at_once() {
    for pools in [&[V4][..], &[V4, V6]] {
        let Some(ground) = Ground::new(pools) else { return };
        let (talker, said) = ground.wired("talker");
        let mut macs = BTreeSet::new();
        for (i, mac) in ["02:00:00:00:00:01", "02:00:00:00:00:02"].iter().enumerate() {
            let runtime = json!({ "mac": mac, "ips": ["10.244.1.77"] });
            let network = ground.network.clone().with("runtimeConfig", runtime);
            let pod = ground.node.pod(&format!("p{i}"));
            let own = address(&ground.plugin.add(&network, &pod).result());
            macs.insert(pod.namespace.run(|| kernel::link("eth0")).expect("wired").mac);
            assert!(first_datagram_arrives(&talker, &pod, own), "the first packet to {own} ({mac}) is lost");
            assert_reaches(&talker.namespace, &pod.namespace, own, address(&said));
            ground.plugin.del(&network, &pod).done();
        }
        assert_eq!(macs.len(), 2);
    }
}

/// Within what a neighbour takes to answer, and far less than a stale entry lasts.
fn first_datagram_arrives(from: &Pod, to: &Pod, address: std::net::IpAddr) -> bool {
    use std::net::UdpSocket;
    let receiver = to.namespace.run(|| UdpSocket::bind("[::]:9999")).expect("a port is free");
    receiver.set_read_timeout(Some(std::time::Duration::from_secs(4))).expect("a timeout");
    let sender = from.namespace.run(|| UdpSocket::bind("[::]:0")).expect("a port is free");
    let target = std::net::SocketAddr::new(mapped(address), 9999);
    sender.send_to(b"first", target).expect("sent");
    podwire_tests::receive(&receiver, &mut [0; 8]).is_ok()
}

fn mapped(address: std::net::IpAddr) -> std::net::IpAddr {
    match address {
        std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        v6 => v6,
    }
}

/// Pain 19: a MAC that somebody changes after the interface is there.
#[test]
fn a_mac_is_what_the_result_says_and_the_same_again() {
    let Some(ground) = Ground::new(&[V4]) else { return };
    let mac_of = |name: &str| {
        let network = ground.network.clone().with("runtimeConfig", json!({ "ips": ["10.244.1.9"] }));
        let pod = ground.node.pod(name);
        let result = ground.plugin.add(&network, &pod).result();
        let link = pod.namespace.run(|| kernel::link("eth0")).expect("wired");
        let told = &result["interfaces"].as_array().expect("a list").last().expect("the container's")["mac"];
        assert_eq!(*told, link.mac);
        ground.plugin.del(&network, &pod).done();
        link.mac
    };
    assert_eq!(mac_of("a"), mac_of("b"));
}
