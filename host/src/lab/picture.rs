//! The lab as a picture in text.

use super::layout::{Lab, Node};

/// Everything that the lab has, and the routes that it was made with.
pub(super) fn picture(lab: &Lab) -> String {
    let shape = &lab.shape;
    let mut lines = Vec::new();
    for site in 1..=shape.sites {
        let networks = shape.router(site).into_iter().map(|a| super::layout::on_underlay(a).trunc());
        lines.push(format!("  switch {}", listed(networks)));
        if shape.has_router() {
            lines.push(format!("  ├── router {}", listed(shape.router(site))));
            lines.extend(routes_of_router(lab, site).map(|route| format!("  │     route {route}")));
        }
        if site == 1 && !shape.names_pools() {
            lines.push(format!("  ├── store {}", listed(shape.store())));
        }
        let here: Vec<&Node> = lab.nodes.iter().filter(|node| node.site == site).collect();
        for (i, node) in here.iter().enumerate() {
            let (fork, stem) = if i + 1 == here.len() { ("└", " ") } else { ("├", "│") };
            let off = if node.dead { " (switched off)" } else { "" };
            lines.push(format!("  {fork}── {} {}{off}", node.name, listed(&node.addresses)));
            lines.extend(
                routes_of(lab, node).into_iter().map(|route| format!("  {stem}   │   route {route}")),
            );
            pods(node, stem, &mut lines);
        }
    }
    lines.join("\n") + "\n"
}

fn pods(node: &Node, stem: &str, lines: &mut Vec<String>) {
    let gateway = |pool: &ipnet::IpNet| {
        let first = pool.hosts().find(|host| *host != pool.network()).unwrap_or(pool.addr());
        format!("{first}/{}", pool.prefix_len())
    };
    lines.push(format!("  {stem}   └── cni0 {}", listed(node.pools.iter().map(gateway))));
    for (j, pod) in node.pods.iter().enumerate() {
        let fork = if j + 1 == node.pods.len() { "└" } else { "├" };
        let addresses = match listed(&pod.addresses) {
            none if none.is_empty() => "no address".to_owned(),
            some => some,
        };
        lines.push(format!("  {stem}         {fork}── {} {addresses}", pod.name));
    }
}

fn routes_of_router(lab: &Lab, site: u8) -> impl Iterator<Item = String> {
    lab.nodes.iter().filter(move |node| lab.shape.router && node.site == site).flat_map(routes_to)
}

/// With agents the policy decides: `lab status` says what there is.
fn routes_of(lab: &Lab, node: &Node) -> Vec<String> {
    if lab.shape.has_router() {
        return lab.shape.router(node.site).iter().map(|router| format!("default via {router}")).collect();
    }
    if lab.shape.agents.is_some() {
        return Vec::new();
    }
    lab.nodes.iter().filter(|peer| peer.name != node.name).flat_map(routes_to).collect()
}

fn routes_to(node: &Node) -> impl Iterator<Item = String> {
    let via = |pool: &ipnet::IpNet| {
        let via = node.addresses.iter().find(|address| address.is_ipv4() == pool.addr().is_ipv4())?;
        Some(format!("{pool} via {via}"))
    };
    node.pools.iter().filter_map(via)
}

fn listed<T: ToString>(all: impl IntoIterator<Item = T>) -> String {
    all.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::layout::{Families, Shape};

    fn shape(router: bool) -> Shape {
        Shape { families: Families::Ipv4, sites: 1, router, way: None, agents: None }
    }

    #[test]
    fn the_lectures_three_nodes() {
        let mut lab = Lab::new(shape(false), 2, 1);
        lab.nodes[0].pods[0].addresses = vec!["10.244.1.2".parse().expect("an address")];
        let expected = "  \
  switch 192.168.1.0/24
  ├── node1 192.168.1.11
  │   │   route 10.244.2.0/24 via 192.168.1.12
  │   └── cni0 10.244.1.1/24
  │         └── pod1-1 10.244.1.2
  └── node2 192.168.1.12
      │   route 10.244.1.0/24 via 192.168.1.11
      └── cni0 10.244.2.1/24
            └── pod2-1 no address
";
        assert_eq!(picture(&lab), expected);
        assert_eq!(lab.pods().count(), 1);
    }

    #[test]
    fn a_router_takes_the_routes_over() {
        let picture = picture(&Lab::new(shape(true), 3, 0));
        assert!(picture.contains("router 192.168.1.1\n"));
        assert_eq!(picture.matches("default via 192.168.1.1").count(), 3);
        assert_eq!(picture.matches("via 192.168.1.12").count(), 1);
    }

    #[test]
    fn two_sites_are_joined_by_a_router() {
        let shape = Shape { families: Families::Dual, sites: 2, ..shape(false) };
        let picture = picture(&Lab::new(shape, 3, 0));
        for line in [
            "  switch 192.168.2.0/24, fd00:192:168:2::/64",
            "  ├── router 192.168.2.1, fd00:192:168:2::1",
            "  └── node2 192.168.2.12, fd00:192:168:2::12",
            "      └── cni0 10.244.2.1/24, fd00:10:244:2::1/64",
        ] {
            assert!(picture.lines().any(|said| said == line), "{line:?} is not in\n{picture}");
        }
    }
}
