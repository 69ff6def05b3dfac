//! Debian's containerd wires pods with the plugin under test, through its CRI, as on a Kubernetes node.

use std::net::IpAddr;

use podwire_tests::command::Podwire;
use podwire_tests::containerd::Containerd;
use podwire_tests::network::{V4, V6};
use podwire_tests::{Network, Node, Plugin, assert_reaches, kernel};

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
