//! `podwire topology`: what the node has is drawn, by the names that people know it by.

use podwire_tests::command::{Podwire, Processes};
use podwire_tests::kernel::{ip, uplink};
use podwire_tests::{Network, Node, Plugin};
use serde_json::json;

/// A node with two pods and three peers, one of them behind a tunnel.
fn node() -> Option<(Node, Podwire)> {
    let node = Node::enter()?;
    uplink("192.168.1.11/24");
    let podwire = Podwire::on(&node);
    podwire.configure(
        "node.json",
        &json!({ "name": "node-1", "addresses": ["192.168.1.11"], "pools": ["10.244.1.0/24"], "cluster": ["10.244.0.0/16"] }),
    );
    let peer = |n: u8| json!({ "name": format!("node-{n}"), "addresses": [format!("192.168.1.1{n}")], "pools": [format!("10.244.{n}.0/24")] });
    podwire.configure("peers.json", &json!({ "peers": [peer(2)] }));
    podwire.run(&["node", "up"]).done();
    podwire.configure("peers.json", &json!({ "peers": [peer(2), peer(3)] }));
    ip("link add pwvxlan group 1886873970 type vxlan id 1 dstport 4789 local 192.168.1.11 nolearning");
    ip("link set dev pwvxlan up");
    ip("route add 10.244.3.0/24 via 10.244.3.0 dev pwvxlan onlink proto 112");
    ip("route add 10.244.9.0/24 via 192.168.1.19 proto 112");
    let network = Network::new("1.0.0", &["10.244.1.0/24"]);
    for name in ["b", "a"] {
        Plugin::under_test(&node).add(&network, &node.pod(name)).result();
    }
    Some((node, podwire))
}

#[test]
fn the_node_that_runs() {
    let Some((_node, podwire)) = node() else { return };
    let expected = "  \
  switch 192.168.1.0/24
  ├── node-1 192.168.1.11 (this node)
  │   │   route 10.244.2.0/24 via 192.168.1.12
  │   │   route 10.244.3.0/24 through pwvxlan
  │   │   route 10.244.9.0/24 via 192.168.1.19
  │   └── cni0 10.244.1.1/24
  │         ├── test/container-a 10.244.1.3
  │         └── test/container-b 10.244.1.2
  ├── node-2 192.168.1.12
  │   └── pods 10.244.2.0/24
  ├── node-3 192.168.1.13 (by tunnel)
  │   └── pods 10.244.3.0/24
  └── 192.168.1.19
      └── pods 10.244.9.0/24
";
    assert_eq!(podwire.run(&["topology"]).done(), expected);
}

#[test]
fn the_same_as_a_picture() {
    let Some((node, podwire)) = node() else { return };
    let before = node.snapshot();
    let svg = podwire.run(&["topology", "--format", "svg"]).done();
    let dot = podwire.run(&["topology", "--format", "dot"]).done();
    for name in
        ["192.168.1.0/24", "node-1", "node-2", "node-3", "test/container-a", "10.244.1.3", "10.244.9.0/24"]
    {
        assert!(svg.contains(&format!(">{name}</text>")), "{name} is not in\n{svg}");
        assert!(dot.contains(name), "{name} is not in\n{dot}");
    }
    assert!(svg.starts_with("<?xml ") && svg.contains(">VXLAN</text>") && svg.ends_with("</svg>\n"), "{svg}");
    assert!(dot.contains("n0 -- n2 [style=dashed"), "{dot}");
    before.assert_unchanged();
    let file = node.root().join("picture.svg");
    let path = file.to_str().expect("text");
    assert_eq!(podwire.run(&["topology", "--format", "svg", "--output", path]).done(), "");
    assert_eq!(std::fs::read_to_string(&file).expect("it was written"), svg);
    let nowhere = podwire.run(&["topology", "--output", "/run/nowhere/picture.svg"]).failed();
    assert!(nowhere.contains("/run/nowhere/picture.svg cannot be written"), "{nowhere}");
}

#[test]
fn a_node_that_nobody_has_configured() {
    let Some(node) = Node::enter() else { return };
    let drawn = Podwire::on(&node).run(&["topology"]).done();
    let lines: Vec<&str> = drawn.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "  switch the network between nodes"), "{drawn}");
    assert!(lines[1].ends_with(" (this node)"), "{drawn}");
    Podwire::on(&node).write("node.json", "{");
    let said = Podwire::on(&node).run(&["topology"]).failed();
    assert!(said.contains("node.json"), "{said}");
}

#[test]
fn a_node_of_a_lab_draws_the_whole_lab() {
    let Some(node) = Node::enter() else { return };
    let processes = Processes::new();
    let podwire = Podwire::on(&node).inside(&processes);
    podwire.run(&["lab", "up", "--nodes", "2", "--pods", "1"]).done();
    let program = podwire_tests::command::program();
    let program = program.to_str().expect("text");
    let drawn = podwire.run(&["lab", "exec", "node1", "--", program, "topology"]).done();
    let status = podwire.run(&["lab", "status"]).done();
    assert!(status.starts_with(&drawn) && drawn.contains("└── pod2-1 10.244.2.2\n"), "{drawn}\n{status}");
    podwire.run(&["lab", "down"]).done();
}
