//! Debian's containerd wires pods with the plugin under test, through its CRI, as on a Kubernetes node.

use std::net::IpAddr;

use podwire_tests::command::Podwire;
use podwire_tests::containerd::{Client, Containerd, Sandbox, Wishes};
use podwire_tests::network::{V4, V6};
use podwire_tests::traffic::{SERVED, Surroundings, Wired};
use podwire_tests::{Network, Node, Plugin, assert_reaches, kernel};
use serde_json::{Value, json};

/// What containerd 1.6 speaks at most.
const VERSION: &str = "1.0.0";

#[test]
fn pods_get_addresses_reach_each_other_and_leave_nothing() {
    let Some(node) = Node::enter() else { return };
    let plugin = Plugin::under_test(&node);
    let network = Network::new(VERSION, &[V4]);
    let containerd = Containerd::start(&node, &plugin, &network.list(&plugin));
    let client = containerd.client();

    let a = client.run_sandbox("a").expect("containerd wires a pod");
    let b = client.run_sandbox("b").expect("containerd wires a second pod");
    let address = |ip: &str| ip.parse::<IpAddr>().unwrap_or_else(|e| panic!("{ip:?}: {e}"));
    let (ip_a, ip_b) = (address(&a.ip), address(&b.ip));
    assert_ne!(ip_a, ip_b);
    assert!([ip_a, ip_b].iter().all(|ip| network.pools()[0].contains(ip)), "{ip_a} {ip_b}");

    assert_reaches(&containerd.namespace(&a), &containerd.namespace(&b), ip_b, ip_a);
    assert_reaches(&containerd.namespace(&b), &containerd.namespace(&a), ip_a, ip_b);
    let container = client.run_container(&a).expect("containerd runs a container");
    let ping = client.exec(&container, &format!("ping -c 1 -W 5 {ip_b}")).expect("containerd runs a command");
    assert_eq!(ping.exit, 0, "{}", ping.output);

    assert_eq!(kernel::veths(), 2);
    for sandbox in [&a, &b] {
        client.stop_sandbox(sandbox).expect("a sandbox stops");
        client.stop_sandbox(sandbox).expect("a stopped sandbox stops again");
        client.remove_sandbox(sandbox).expect("a stopped sandbox can be removed");
    }
    kernel::eventually("no link of a pod is left", || kernel::veths() == 0);
}

#[test]
fn addresses_come_back_after_pods_are_gone() {
    let Some(node) = Node::enter() else { return };
    let plugin = Plugin::under_test(&node);
    // Five addresses for pods.
    let network = Network::new(VERSION, &["10.244.1.0/29"]);
    let containerd = Containerd::start(&node, &plugin, &network.list(&plugin));
    let client = containerd.client();
    for round in 0..2 {
        let run = |i| client.run_sandbox(&format!("pod-{round}-{i}")).expect("five addresses are free");
        let pods = (0..5).map(run).collect::<Vec<_>>();
        client.run_sandbox("one-too-many").expect_err("a sixth pod finds no address");
        for pod in &pods {
            client.stop_sandbox(pod).expect("a sandbox stops");
            client.remove_sandbox(pod).expect("a stopped sandbox can be removed");
        }
    }
    kernel::eventually("no link of a pod is left", || kernel::veths() == 0);
}

#[test]
fn dual_stack_pods_have_both_addresses() {
    let Some(node) = Node::enter() else { return };
    let plugin = Plugin::under_test(&node);
    let containerd = Containerd::start(&node, &plugin, &Network::new(VERSION, &[V4, V6]).list(&plugin));
    let pod = containerd.client().run_sandbox("a").expect("containerd wires a pod");
    let mut addresses: Vec<IpAddr> = vec![pod.ip.parse().expect("an address")];
    addresses.extend(pod.additional_ips.iter().map(|ip| ip.parse::<IpAddr>().expect("an address")));
    assert!(addresses.iter().any(IpAddr::is_ipv4) && addresses.iter().any(IpAddr::is_ipv6), "{addresses:?}");
}

#[test]
fn the_example_configurations_for_a_node_work() {
    let Some(node) = Node::enter() else { return };
    let plugin = Plugin::under_test(&node);
    if plugin.does_not_promise("to take podwire's configuration") {
        return;
    }
    let example = include_str!("../../deploy/10-podwire.conflist");
    let list = serde_json::from_str(example).expect("the example is JSON");
    Podwire::on(&node).write("node.json", include_str!("../../deploy/node.json"));
    let containerd = Containerd::start(&node, &plugin, &list);
    let pod = containerd.client().run_sandbox("a").expect("containerd wires a pod");
    assert!(Network::new(VERSION, &[V4]).pools()[0].contains(&pod.ip.parse::<IpAddr>().expect("an address")));
}

/// Debian's `bridge` with what is chained to it, or podwire in its place, or in the place of all three.
fn list(kind: &str, chained: bool) -> Value {
    let mut first = json!({
        "type": kind, "bridge": "br0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
        "ipam": {
            "type": "host-local", "ranges": [[{ "subnet": "10.88.0.0/29" }]], "routes": [{ "dst": "0.0.0.0/0" }]
        }
    });
    let portmap = json!({ "type": "portmap", "capabilities": { "portMappings": true }, "snat": true });
    let bandwidth = json!({ "type": "bandwidth", "capabilities": { "bandwidth": true } });
    let plugins = if chained {
        vec![first, portmap, bandwidth]
    } else {
        first["capabilities"] = json!({ "portMappings": true, "bandwidth": true });
        vec![first]
    };
    json!({ "cniVersion": VERSION, "name": "pods", "plugins": plugins })
}

/// A pod with a port of the node and limits, and a neighbour without.
struct Pair {
    port: u16,
    sandboxes: [Sandbox; 2],
    pods: [Wired; 2],
}

impl Pair {
    fn run(containerd: &Containerd, client: &Client, name: &str, port: u16) -> Self {
        let bandwidth = Some(("8M".to_owned(), "16M".to_owned()));
        let asked = [Wishes { ports: vec![(port, SERVED)], bandwidth }, Wishes::default()];
        let sandboxes = ["server", "neighbour"].map(|role| format!("{name}-{role}"));
        let sandboxes = [0, 1]
            .map(|i| client.run_sandbox_with(&sandboxes[i], &asked[i]).expect("containerd wires a pod"));
        let pods = [0, 1].map(|i: usize| Wired {
            namespace: containerd.namespace(&sandboxes[i]),
            ip: sandboxes[i].ip.parse().expect("an address"),
        });
        Self { port, sandboxes, pods }
    }

    fn assert_wired(&self, surroundings: &Surroundings<'_>) {
        let [server, neighbour] = &self.pods;
        surroundings.assert_neighbours(&[server, neighbour]);
        surroundings.assert_masqueraded(server);
        surroundings.assert_published(self.port, server, neighbour);
    }

    fn remove(&self, client: &Client) {
        for sandbox in &self.sandboxes {
            client.stop_sandbox(sandbox).expect("a sandbox stops");
            client.remove_sandbox(sandbox).expect("a stopped sandbox can be removed");
        }
    }
}

#[test]
fn masquerade_ports_and_limits_are_those_of_the_reference_plugins() {
    for (kind, chained) in [("bridge", true), ("podwire", false)] {
        let Some(node) = Node::enter() else { return };
        let plugin = Plugin::under_test(&node);
        if kind == "podwire" && plugin.does_not_promise("to know podwire's name") {
            return;
        }
        let surroundings = Surroundings::of(&node);
        let before = kernel::links().len();
        let containerd = Containerd::start(&node, &plugin, &list(kind, chained));
        let client = containerd.client();
        let pair = Pair::run(&containerd, &client, "a", 8080);
        pair.assert_wired(&surroundings);
        assert_eq!(kernel::limits(), [8_000_000, 16_000_000], "{kind}");

        pair.remove(&client);
        surroundings.assert_closed(8080);
        // The bridge is the node's.
        assert_eq!(kernel::links().len(), before + 1, "{kind}: {:?}", kernel::links());
        let rules = kernel::run("nft", "list ruleset");
        assert!(!pair.pods.iter().any(|pod| rules.contains(&pod.ip.to_string())), "{kind}: {rules}");
    }
}

#[test]
fn a_node_changes_over_under_its_pods() {
    let Some(node) = Node::enter() else { return };
    let plugin = Plugin::under_test(&node);
    if plugin.does_not_promise("to take another plugin's pods over") {
        return;
    }
    let surroundings = Surroundings::of(&node);
    let containerd = Containerd::start(&node, &plugin, &list("bridge", true));
    let client = containerd.client();
    let old = Pair::run(&containerd, &client, "old", 8080);
    old.assert_wired(&surroundings);

    // One word.
    containerd.change_list(&list("podwire", true));
    let new = Pair::run(&containerd, &client, "new", 8081);
    for pair in [&old, &new] {
        pair.assert_wired(&surroundings);
    }
    surroundings.assert_neighbours(&[&old.pods[0], &new.pods[0]]);
    assert_eq!(kernel::limits(), [8_000_000, 8_000_000, 16_000_000, 16_000_000]);

    old.remove(&client);
    surroundings.assert_closed(8080);
    new.assert_wired(&surroundings);
    assert_eq!(kernel::limits(), [8_000_000, 16_000_000]);

    // And podwire alone. Of five addresses two are held: those of the old pods have come back.
    containerd.change_list(&list("podwire", false));
    let last = Pair::run(&containerd, &client, "last", 8082);
    for pair in [&new, &last] {
        pair.assert_wired(&surroundings);
    }
    client.run_sandbox("fifth").expect("one address is free");
    client.run_sandbox("sixth").expect_err("all are held");
}
