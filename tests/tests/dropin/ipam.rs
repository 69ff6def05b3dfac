//! Addresses alone: podwire under another main plugin, and other plugins under podwire.

use podwire_tests::{Chain, Podwire, kernel};
use serde_json::{Value, json};

use crate::{Node, VERSION, address, alone};

/// The reference plugin with addresses from podwire.
fn under(kind: &str, more: &Value) -> Value {
    let mut plugin = json!({
        "type": kind,
        "ipam": { "type": "podwire", "ranges": [[{ "subnet": "10.88.0.0/29" }]], "routes": [{ "dst": "0.0.0.0/0" }] }
    });
    plugin.as_object_mut().expect("an object").extend(more.as_object().expect("keys").clone());
    plugin
}

#[test]
fn the_reference_bridge_takes_addresses_from_podwire() {
    let Some(node) = Node::enter() else { return };
    let chain = alone(&node, under("bridge", &json!({ "bridge": "br0", "isGateway": true })));
    for _round in 0..2 {
        let pods: Vec<_> = (0..5).map(|i| node.pod(&format!("p{i}"))).collect();
        let results: Vec<Value> = pods.iter().map(|pod| chain.add(pod)).collect();
        for (pod, result) in pods.iter().zip(&results) {
            let held = pod.namespace.run(|| kernel::addresses_of("eth0"));
            assert_eq!(held.iter().map(ipnet::IpNet::addr).collect::<Vec<_>>(), [address(result, 0)]);
            chain.check(pod, result);
        }
        let error = chain.try_add(&node.pod("full")).expect_err("five addresses are held").error();
        assert_eq!(error.code, 11, "{}", error.message);
        for (pod, result) in pods.iter().zip(&results) {
            chain.del(pod, result);
            pod.namespace.remove();
        }
        kernel::ip("netns delete full");
    }
}

#[test]
fn macvlan_takes_addresses_from_podwire() {
    let Some(node) = Node::enter() else { return };
    kernel::ip("link add up0 type veth peer name up1");
    kernel::ip("link set up0 up");
    let chain = alone(&node, under("macvlan", &json!({ "master": "up0", "mode": "bridge" })));
    let pod = node.pod("a");
    let result = chain.add(&pod);
    assert_eq!(pod.namespace.run(|| kernel::link("eth0")).expect("wired").kind, "macvlan");
    chain.check(&pod, &result);
    chain.del(&pod, &result);
    assert!(pod.namespace.run(|| kernel::link("eth0")).is_none());
}

#[test]
fn as_ipam_only_addresses_are_said() {
    let Some(node) = Node::enter() else { return };
    let plugin = podwire_tests::Plugin::under_test(&node);
    let mut config = under("macvlan", &json!({ "master": "up0" }));
    config
        .as_object_mut()
        .expect("an object")
        .extend([("name".to_owned(), json!("pods")), ("cniVersion".to_owned(), json!(VERSION))]);
    let before = kernel::links();
    let call =
        plugin.verb("ADD").env("CNI_CONTAINERID", "a").env("CNI_NETNS", "/no/such").env("CNI_IFNAME", "x");
    let result = plugin.run(&call.stdin(config.to_string())).result();
    assert_eq!(result["ips"][0]["address"], "10.88.0.2/29");
    assert!(
        result["interfaces"].as_array().is_none_or(Vec::is_empty)
            && result["ips"][0].get("interface").is_none()
    );
    assert_eq!(result["routes"][0]["dst"], "0.0.0.0/0");
    assert_eq!(kernel::links(), before);
}

/// podwire's own wiring with addresses from another plugin.
fn over(ipam: &Value) -> Value {
    json!({ "type": "podwire", "bridge": "br0", "isGateway": true, "isDefaultGateway": true, "ipam": ipam })
}

#[test]
fn another_plugin_gives_the_addresses() {
    let Some(node) = Node::enter() else { return };
    let ipam = json!({
        "type": "static",
        "addresses": [{ "address": "10.99.0.7/24", "gateway": "10.99.0.1" }],
        "routes": [{ "dst": "10.100.0.0/16" }],
        "dns": { "nameservers": ["10.99.0.53"] }
    });
    let chain = alone(&node, over(&ipam));
    let pod = node.pod("a");
    let result = chain.add(&pod);
    assert_eq!(pod.namespace.run(|| kernel::addresses_of("eth0")), ["10.99.0.7/24".parse().expect("valid")]);
    assert_eq!(result["dns"]["nameservers"], json!(["10.99.0.53"]));
    let destinations: Vec<_> =
        result["routes"].as_array().expect("routes").iter().map(|r| &r["dst"]).collect();
    assert!(destinations.contains(&&json!("10.100.0.0/16")), "{result}");
    chain.check(&pod, &result);
    let twice = chain.try_add(&node.pod("b")).expect_err("one address for two").error();
    assert!(twice.message.contains("10.99.0.7"), "{}", twice.message);
    chain.del(&pod, &result);
    chain.del(&pod, &result);
    chain.add(&node.pod("c"));
}

/// A plugin that writes down each of its calls, and answers with one address.
fn recording() {
    let script = "#!/bin/sh\necho \"$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $(cat | head -c 9)\" >> /run/calls\n\
        case $CNI_COMMAND in\nADD) echo '{\"cniVersion\": \"1.0.0\", \"ips\": [{\"address\": \"10.99.0.7/24\", \"gateway\": \"10.99.0.1\"}]}';;\n\
        STATUS) echo '{\"code\": 50, \"msg\": \"tired\"}'; exit 1;;\nesac\n";
    podwire_tests::command::write_program("/run/cni-bin/recorder", script);
}

fn calls() -> Vec<String> {
    let text = std::fs::read_to_string("/run/calls").unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_delegate_hears_of_every_call() {
    let Some(node) = Node::enter() else { return };
    let chain = Chain::new(&node, "1.1.0", &[over(&json!({ "type": "recorder" }))]);
    let pod = node.pod("a");
    podwire_tests::Plugin::under_test(&node).folder_with_its_name();
    recording();
    let result = chain.add(&pod);
    chain.check(&pod, &result);
    let status = chain.status();
    assert_eq!((status.error().code, status.error().message.contains("tired")), (50, true));
    chain.gc(&[&pod]).done();
    chain.del(&pod, &result);
    let line = |command: &str, of: &str| format!("{command} {of} {{\"bridge\"");
    let expected = [
        line("ADD", "container-a eth0"),
        line("CHECK", "container-a eth0"),
        line("STATUS", " "),
        line("GC", " "),
        line("DEL", "container-a eth0"),
    ];
    assert_eq!(calls(), expected);
}

#[test]
fn what_a_delegate_gave_is_given_back_if_the_add_fails() {
    let Some(node) = Node::enter() else { return };
    let chain = alone(&node, over(&json!({ "type": "recorder" })));
    let pod = node.pod("a");
    podwire_tests::Plugin::under_test(&node).folder_with_its_name();
    recording();
    pod.namespace.run(|| kernel::ip("link add eth0 type veth peer name x"));
    chain.try_add(&pod).expect_err("the name is taken");
    let commands: Vec<_> =
        calls().iter().map(|call| call.split(' ').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(commands, ["ADD", "DEL"]);
}

#[test]
fn a_delegate_that_is_not_there_is_named() {
    let Some(node) = Node::enter() else { return };
    let chain = alone(&node, over(&json!({ "type": "nowhere" })));
    let error = chain.try_add(&node.pod("a")).expect_err("no such plugin").error();
    assert!(
        error.code == 7 && error.message.contains("nowhere") && error.message.contains("CNI_PATH"),
        "{error:?}"
    );
}

#[test]
fn a_network_with_its_own_addresses_need_not_lie_in_the_nodes_cluster() {
    let Some(node) = Node::enter() else { return };
    Podwire::on(&node)
        .configure("node.json", &json!({ "pools": ["10.244.1.0/24"], "cluster": ["10.244.0.0/16"] }));
    let lent =
        json!({ "type": "static", "addresses": [{ "address": "10.99.0.7/24", "gateway": "10.99.0.1" }] });
    alone(&node, over(&lent)).add(&node.pod("a"));
    let chain = alone(&node, crate::bridge("podwire", &json!({})));
    let pod = node.pod("b");
    let result = chain.add(&pod);
    assert_eq!(address(&result, 0).to_string(), "10.88.0.2");
    chain.check(&pod, &result);
    let mut narrow = crate::bridge("podwire", &json!({ "cluster": ["10.244.0.0/16"] }));
    narrow["bridge"] = json!("br1");
    let error = alone(&node, narrow).try_add(&node.pod("c")).expect_err("said in the same file").error();
    assert!(error.message.contains("10.88.0.0/24") && error.message.contains("cluster"), "{error:?}");
}

#[test]
fn under_another_name_podwire_still_makes_the_interface() {
    let Some(node) = Node::enter() else { return };
    let plugin = podwire_tests::Plugin::under_test(&node);
    let other = plugin.folder_with_its_name().join("podwire-2");
    std::os::unix::fs::symlink(plugin.path(), &other).expect("/run is the test's own");
    let mut config = under("podwire-2", &json!({ "bridge": "br0", "name": "pods", "cniVersion": VERSION }));
    for (kind, wired) in [("podwire-2", true), ("macvlan", false)] {
        config["type"] = json!(kind);
        let pod = node.pod(kind);
        let call = plugin
            .verb("ADD")
            .env("CNI_CONTAINERID", &pod.container_id)
            .env("CNI_NETNS", &pod.namespace.path().display().to_string())
            .env("CNI_IFNAME", "eth0")
            .stdin(config.to_string());
        let result = plugin.standing_in(&other.display().to_string()).run(&call).result();
        assert_eq!(result["ips"].as_array().map(Vec::len), Some(1));
        assert_eq!(pod.namespace.run(|| kernel::link("eth0")).is_some(), wired, "{kind}");
    }
}
