//! For a terminal: a tree, whole however large.

use super::{Bridge, Node, Topology};

/// Draws it.
pub fn render(topology: &Topology) -> String {
    let mut lines = vec![format!("  switch {}", topology.network)];
    let last = topology.nodes.len().saturating_sub(1);
    for (i, node) in topology.nodes.iter().enumerate() {
        lines.extend(of_node(topology, i, node, i == last));
    }
    lines.join("\n") + "\n"
}

fn of_node(topology: &Topology, place: usize, node: &Node, is_last: bool) -> Vec<String> {
    let (fork, stem) = if is_last { ("└", " ") } else { ("├", "│") };
    let is_leaf = node.bridges.is_empty() && node.pools.is_empty();
    let twig = if is_leaf { "  " } else { "│   " };
    let mut words = vec![node.name.clone()];
    words.extend(node.addresses.clone());
    words.extend(node.is_here.then(|| "(this node)".to_owned()));
    words.extend((!node.is_here && topology.is_tunnelled(place)).then(|| "(by tunnel)".to_owned()));
    let mut lines = vec![format!("  {fork}── {}", words.join(" "))];
    lines.extend(node.routes.iter().map(|route| format!("  {stem}   {twig}route {route}")));
    lines.extend(below(node, stem));
    lines
}

/// Bridges with their pods, or the blocks that are known of them.
fn below(node: &Node, stem: &str) -> Vec<String> {
    let last = (node.bridges.len() + node.pools.len()).saturating_sub(1);
    let fork = |place: usize| if place == last { ("└", " ") } else { ("├", "│") };
    let mut lines = Vec::new();
    for (i, bridge) in node.bridges.iter().enumerate() {
        lines.extend(of_bridge(bridge, stem, fork(i)));
    }
    for (i, pool) in node.pools.iter().enumerate() {
        lines.push(format!("  {stem}   {}── pods {pool}", fork(node.bridges.len() + i).0));
    }
    lines
}

fn of_bridge(bridge: &Bridge, stem: &str, (fork, twig): (&str, &str)) -> Vec<String> {
    let mut words = vec![bridge.name.clone()];
    words.extend(bridge.addresses.clone());
    let mut lines = vec![format!("  {stem}   {fork}── {}", words.join(" "))];
    let last = bridge.pods.len().saturating_sub(1);
    lines.extend(bridge.pods.iter().enumerate().map(|(i, pod)| {
        let fork = if i == last { "└" } else { "├" };
        let addresses =
            if pod.addresses.is_empty() { pod.address().to_owned() } else { pod.addresses.join(" ") };
        format!("  {stem}   {twig}     {fork}── {} {addresses}", pod.name)
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::super::Pod;
    use super::*;

    #[test]
    fn what_is_known_of_a_node_is_told_and_no_more() {
        let pod = Pod {
            name: "shop/web".to_owned(),
            addresses: vec!["10.244.1.2".to_owned(), "fd00::2".to_owned()],
        };
        let bridge = |name: &str, pods| Bridge { name: name.to_owned(), addresses: Vec::new(), pods };
        let here = Node {
            name: "a".to_owned(),
            is_here: true,
            addresses: vec!["192.168.1.11".to_owned()],
            routes: vec!["10.244.2.0/24 via 192.168.1.12".to_owned()],
            bridges: vec![
                bridge("cni0", vec![pod.clone(), Pod { addresses: Vec::new(), ..pod }]),
                bridge("cni1", Vec::new()),
            ],
            ..Node::default()
        };
        let peer = Node { name: "b".to_owned(), pools: vec!["10.244.2.0/24".to_owned()], ..Node::default() };
        let tunnels = vec![super::super::Tunnel { from: 0, to: 1 }];
        let topology = Topology { network: "192.168.1.0/24".to_owned(), nodes: vec![here, peer], tunnels };
        let expected = "  \
  switch 192.168.1.0/24
  ├── a 192.168.1.11 (this node)
  │   │   route 10.244.2.0/24 via 192.168.1.12
  │   ├── cni0
  │   │     ├── shop/web 10.244.1.2 fd00::2
  │   │     └── shop/web no address
  │   └── cni1
  └── b (by tunnel)
      └── pods 10.244.2.0/24
";
        assert_eq!(render(&topology), expected);
    }
}
