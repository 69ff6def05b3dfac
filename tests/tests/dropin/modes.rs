//! The keys of the reference plugin that switch something on. Debian 12's, version 1.1.1, does not know all of them,
//! and passes over those that it does not know: where a test says so, it is about podwire alone.

use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use podwire_tests::{Namespace, Node, Pod, assert_reaches, kernel};
use serde_json::{Value, json};

use crate::bridge::port;
use crate::{address, alone, bridge, with_each};

/// The bridge's address.
const GATEWAY: &str = "10.88.0.1";

/// Far more than a datagram takes on one machine.
const PATIENCE: Duration = Duration::from_secs(5);

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Counts how often the pod asks its link for an address: the target of a neighbour solicitation (RFC 4861, section
/// 4.3) comes after 64 bits.
fn watch(pod: &Pod, address: Ipv6Addr) {
    pod.namespace.run(|| {
        kernel::run("nft", "add table ip6 watch");
        kernel::run("nft", "add chain ip6 watch out { type filter hook output priority 0; }");
        let question = format!("icmpv6 type nd-neighbor-solicit @th,64,128 {:#034x}", address.to_bits());
        kernel::run("nft", &format!("add rule ip6 watch out {question} counter"));
    });
}

fn has_asked(pod: &Pod) -> bool {
    !pod.namespace.run(|| kernel::run("nft", "list table ip6 watch")).contains("packets 0")
}

fn is_in_use(pod: &Pod) -> bool {
    let all = pod.namespace.run(|| kernel::json("-6 address show dev eth0 scope global"));
    let flags = &all[0]["addr_info"][0];
    flags["local"].is_string() && flags.get("tentative").is_none()
}

#[test]
fn the_link_is_asked_for_an_ipv6_address_only_if_wanted() {
    let ipam = json!({ "type": "host-local", "ranges": [[{ "subnet": "fd00:88::/64" }]] });
    for wanted in [false, true] {
        with_each(|node, kind| {
            let pod = node.pod("a");
            watch(&pod, "fd00:88::2".parse().expect("valid"));
            let result = alone(node, bridge(kind, &json!({ "enabledad": wanted, "ipam": ipam }))).add(&pod);
            assert_eq!(address(&result, 0), ip("fd00:88::2"), "{kind}");
            if wanted {
                kernel::eventually("the link is asked, and nobody has it", || {
                    has_asked(&pod) && is_in_use(&pod)
                });
            } else {
                assert!(is_in_use(&pod) && !has_asked(&pod), "{kind}");
            }
        });
    }
}

fn listening(at: &Namespace) -> UdpSocket {
    let receiver = at.run(|| UdpSocket::bind("0.0.0.0:9999")).expect("a port is free");
    receiver.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    receiver
}

fn send(from: &Namespace, to: IpAddr, word: &str) {
    let sender = from.run(|| UdpSocket::bind("0.0.0.0:0")).expect("a port is free");
    sender.send_to(word.as_bytes(), (to, 9999)).expect("sent");
}

/// What was sent, up to the word that arrives in any case, so that nobody waits for what does not come.
fn heard(receiver: &UdpSocket, last: &str) -> Vec<String> {
    let mut heard = Vec::<String>::new();
    while heard.last().is_none_or(|word| word != last) {
        let mut word = [0; 16];
        let (length, _) = podwire_tests::receive(receiver, &mut word).expect("the last one is heard");
        heard.push(String::from_utf8_lossy(&word[..length]).into_owned());
    }
    heard
}

fn mac(pod: &Pod) -> String {
    pod.namespace.run(|| kernel::link("eth0")).expect("wired").mac
}

/// Not known to Debian's.
#[test]
fn pods_on_isolated_ports_reach_the_node_alone() {
    for isolated in [false, true] {
        let Some(node) = Node::enter() else { return };
        let chain = alone(&node, bridge("podwire", &json!({ "portIsolation": isolated })));
        let (a, b) = (node.pod("a"), node.pod("b"));
        let (result, other) = (chain.add(&a), chain.add(&b));
        assert_eq!(port()["isolated"], isolated);
        chain.check(&a, &result);
        let (ip_a, ip_b) = (address(&result, 0), address(&other, 0));
        for (pod, own) in [(&a, ip_a), (&b, ip_b)] {
            assert_reaches(&pod.namespace, &node.namespace, ip(GATEWAY), own);
        }
        let receiver = listening(&b.namespace);
        // So that it need not ask first.
        a.namespace.run(|| kernel::ip(&format!("neighbour replace {ip_b} lladdr {} dev eth0", mac(&b))));
        send(&a.namespace, ip_b, "pod");
        send(&node.namespace, ip_b, "node");
        let expected = if isolated { &["node"][..] } else { &["pod", "node"] };
        assert_eq!(heard(&receiver, "node"), expected);
    }
}

/// Not known to Debian's.
#[test]
fn the_containers_interface_is_left_down_if_it_shall_be() {
    let Some(node) = Node::enter() else { return };
    let keys = |ipam: Value| json!({ "isGateway": false, "disableContainerInterface": true, "ipam": ipam });
    let chain = alone(&node, bridge("podwire", &keys(json!({}))));
    let pod = node.pod("a");
    let result = chain.add(&pod);
    assert!(!pod.namespace.run(|| kernel::link("eth0")).expect("wired").up);
    chain.check(&pod, &result);
    let with_addresses = keys(json!({ "type": "host-local", "subnet": "10.88.0.0/24" }));
    let chain = alone(&node, bridge("podwire", &with_addresses)).named("others");
    let error = chain.try_add(&node.pod("b")).expect_err("it has no use for them").error();
    assert!(error.message.contains("disableContainerInterface"), "{}", error.message);
}

/// The reference plugin runs `nft` for it.
#[test]
fn a_pod_cannot_pretend_another_mac_where_that_is_checked() {
    const FORGED: &str = "02:00:00:00:00:66";
    for checked in [false, true] {
        with_each(|node, kind| {
            let chain = alone(node, bridge(kind, &json!({ "macspoofchk": checked })));
            let pod = node.pod("a");
            let result = chain.add(&pod);
            let (own, bridge) = (mac(&pod), kernel::link("br0").expect("made").mac);
            let (from, to) = (address(&result, 0), ip(GATEWAY));
            assert_reaches(&pod.namespace, &node.namespace, to, from);
            let receiver = listening(&node.namespace);
            for (mac, word) in [(FORGED, "forged"), (&own, "own")] {
                pod.namespace.run(|| {
                    kernel::ip(&format!("link set eth0 address {mac}"));
                    // So that it need not ask first.
                    kernel::ip(&format!("neighbour replace {to} lladdr {bridge} dev eth0"));
                });
                send(&pod.namespace, to, word);
            }
            let expected = if checked { &["own"][..] } else { &["forged", "own"] };
            assert_eq!(heard(&receiver, "own"), expected, "{kind}");
            chain.del(&pod, &result);
            let rules = kernel::run("nft", "list ruleset");
            assert!(!rules.contains(&own), "{kind}: {rules}");
        });
    }
}

#[test]
fn check_notices_a_bridge_that_is_not_promiscuous_any_more() {
    with_each(|node, kind| {
        let chain = alone(node, bridge(kind, &json!({ "promiscMode": true })));
        let pod = node.pod("a");
        let result = chain.add(&pod);
        chain.check(&pod, &result);
        kernel::ip("link set br0 promisc off");
        let error = chain.try_check(&pod, &result).expect_err("it is off").error();
        assert!(error.message.to_lowercase().contains("promisc"), "{kind}: {}", error.message);
    });
}

/// Where the reference plugin gives up, podwire leaves the old address there, and adds its own.
#[test]
fn an_old_address_stays_unless_forced() {
    with_each(|node, kind| {
        kernel::ip("link add br0 type bridge");
        kernel::ip("address add 10.77.0.1/24 dev br0");
        let added = alone(node, bridge(kind, &json!({ "forceAddress": false }))).try_add(&node.pod("a"));
        assert_eq!(added.is_ok(), kind == "podwire");
        let carried: Vec<String> = kernel::addresses_of("br0").iter().map(ToString::to_string).collect();
        let expected =
            if kind == "podwire" { &["10.77.0.1/24", "10.88.0.1/24"][..] } else { &["10.77.0.1/24"] };
        assert_eq!(carried, expected, "{kind}");
    });
}

/// Whether this machine's kernel can be tried: there is no way to know but to ask it.
fn kernel_filters_by_vlan() -> bool {
    let made = std::process::Command::new("ip")
        .args("link add probe type bridge vlan_filtering 1".split(' '))
        .output()
        .expect("installed");
    if made.status.success() {
        kernel::ip("link delete probe");
    }
    made.status.success()
}

#[test]
fn a_vlan_has_a_gateway_of_its_own_or_the_error_says_what_the_kernel_lacks() {
    with_each(|node, kind| {
        let pod = node.pod("a");
        let added = alone(node, bridge(kind, &json!({ "vlan": 100 }))).try_add(&pod);
        if kernel_filters_by_vlan() {
            let result = added.expect("the kernel can");
            assert_eq!(result["interfaces"][3]["name"], "br0.100", "{kind}: {result}");
            assert_eq!(kernel::addresses_of("br0.100"), ["10.88.0.1/24".parse().expect("valid")], "{kind}");
            assert_eq!(kernel::addresses_of("br0"), [], "{kind}");
            assert_reaches(&pod.namespace, &node.namespace, ip(GATEWAY), address(&result, 0));
        } else {
            let error = added.expect_err("the kernel cannot").error();
            let says_why = error.message.contains("CONFIG_BRIDGE_VLAN_FILTERING");
            assert!(says_why || kind == "bridge", "{kind}: {}", error.message);
            assert_eq!(kernel::veths(), 0, "{kind}");
        }
    });
}
