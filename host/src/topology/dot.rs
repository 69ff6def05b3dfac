//! For Graphviz: a cluster for each node, whole however large.

use super::{Bridge, Node, Topology};

/// Draws it.
pub fn render(topology: &Topology) -> String {
    let mut lines = vec![
        "graph podwire {".to_owned(),
        "  graph [fontname=\"sans-serif\", compound=true, nodesep=0.3];".to_owned(),
        "  node [fontname=\"sans-serif\", shape=box, style=\"rounded,filled\", fillcolor=white, color=\"#8a97a6\"];"
            .to_owned(),
        "  edge [color=\"#6b7785\"];".to_owned(),
        format!("  network [label={}, fillcolor=\"#dde4ec\"];", quoted(&topology.network)),
    ];
    for (i, node) in topology.nodes.iter().enumerate() {
        lines.extend(of_node(i, node));
    }
    let tunnels = topology.tunnels.iter();
    lines.extend(tunnels.map(|tunnel| {
        format!("  n{} -- n{} [style=dashed, color=\"#b8711a\", constraint=false];", tunnel.from, tunnel.to)
    }));
    lines.join("\n") + "\n}\n"
}

fn of_node(place: usize, node: &Node) -> Vec<String> {
    let own = [vec![node.name.clone()], node.addresses.clone()].concat().join("\n");
    let mut lines = vec![
        format!("  subgraph cluster_{place} {{"),
        "    color=\"#8a97a6\"; style=rounded; label=\"\";".to_owned(),
        format!("    n{place} [label={}, fillcolor=\"#cfe0f0\"];", quoted(&own)),
    ];
    for (i, bridge) in node.bridges.iter().enumerate() {
        lines.extend(of_bridge(place, i, bridge));
    }
    if !node.pools.is_empty() {
        let label = format!("pods\n{}", node.pools.join("\n"));
        lines.push(format!("    n{place}pools [label={}]; n{place} -- n{place}pools;", quoted(&label)));
    }
    lines.push("  }".to_owned());
    lines.push(format!("  network -- n{place};"));
    lines
}

fn of_bridge(node: usize, place: usize, bridge: &Bridge) -> Vec<String> {
    let own = format!("n{node}b{place}");
    let label = [vec![bridge.name.clone()], bridge.addresses.clone()].concat().join("\n");
    let mut lines =
        vec![format!("    {own} [label={}, fillcolor=\"#eef3f8\"]; n{node} -- {own};", quoted(&label))];
    lines.extend(bridge.pods.iter().enumerate().map(|(i, pod)| {
        let label = [vec![pod.name.clone()], pod.addresses.clone()].concat().join("\n");
        format!("    {own}p{i} [label={}]; {own} -- {own}p{i};", quoted(&label))
    }));
    lines
}

/// In a quoted string of DOT only the quotation mark and the backslash mean something.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_ends_its_string() {
        let name = "a\"]; evil \\";
        let topology = Topology {
            nodes: vec![Node { name: name.to_owned(), ..Node::default() }],
            ..Topology::default()
        };
        assert!(render(&topology).contains(r#"n0 [label="a\"]; evil \\", fillcolor"#));
    }
}
