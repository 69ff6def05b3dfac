//! A lab, as its record says; of what agents made true, as they say.

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;

use super::{Bridge, Node, Pod, Topology, Tunnel};
use crate::agent::record::Kept;
use crate::lab::layout::{self, Lab, on_underlay};
use crate::plan::{NextHop, Role};
use crate::state::State;

impl From<&Lab> for Topology {
    fn from(lab: &Lab) -> Self {
        let shape = &lab.shape;
        let networks =
            (1..=shape.sites).flat_map(|site| shape.router(site)).map(|one| on_underlay(one).trunc());
        let machines = shape.has_router().then(|| router(lab)).into_iter().chain(store(lab));
        let mut nodes: Vec<Node> = machines.collect();
        let first = nodes.len();
        nodes.extend(lab.nodes.iter().map(|node| host(lab, node)));
        Self { network: listed(networks), nodes, tunnels: tunnels(lab, first) }
    }
}

fn router(lab: &Lab) -> Node {
    let shape = &lab.shape;
    let made = || lab.nodes.iter().filter(|_| shape.router).flat_map(directly).collect();
    let routes = kept("router").map_or_else(made, |kept| of_plan(&kept));
    Node {
        name: "router".to_owned(),
        role: Role::Router,
        addresses: (1..=shape.sites).flat_map(|site| shape.router(site)).map(|one| one.to_string()).collect(),
        routes: routes.iter().map(told).collect(),
        ..Node::default()
    }
}

fn store(lab: &Lab) -> Option<Node> {
    let addresses = lab.shape.store().iter().map(IpAddr::to_string).collect();
    let node = Node { name: "store".to_owned(), addresses, ..Node::default() };
    (!lab.shape.names_pools()).then_some(node)
}

fn host(lab: &Lab, node: &layout::Node) -> Node {
    let gateways = node.pools.iter().filter_map(|pool| {
        let first = pool.hosts().find(|host| *host != pool.network())?;
        Some(format!("{first}/{}", pool.prefix_len()))
    });
    let pods = node.pods.iter().map(|pod| Pod {
        name: pod.name.clone(),
        addresses: pod.addresses.iter().map(IpAddr::to_string).collect(),
    });
    let bridge = Bridge { name: "cni0".to_owned(), addresses: gateways.collect(), pods: pods.collect() };
    Node {
        name: if node.dead { format!("{} (switched off)", node.name) } else { node.name.clone() },
        addresses: node.addresses.iter().map(IpAddr::to_string).collect(),
        routes: defaults(lab, node).chain(routes(lab, node).iter().map(told)).collect(),
        bridges: vec![bridge],
        ..Node::default()
    }
}

/// What an agent keeps true; none if none runs.
fn kept(machine: &str) -> Option<Kept> {
    Kept::read(&State::new(Some(&crate::lab::root(machine))))
}

/// Where a block of pods is reached.
type Way = (IpNet, NextHop);

fn told((block, hop): &Way) -> String {
    match hop {
        NextHop::Via(via) => format!("{block} via {via}"),
        NextHop::Tunnel(to) => format!("{block} through the tunnel to {to}"),
        NextHop::Blackhole => format!("{block} nowhere"),
    }
}

fn of_plan(kept: &Kept) -> Vec<Way> {
    kept.plan.routes.iter().map(|route| (route.destination, route.next_hop.clone())).collect()
}

/// What the node's agent keeps true, or what was made without one.
fn routes(lab: &Lab, node: &layout::Node) -> Vec<Way> {
    kept(&node.name).map_or_else(|| made(lab, node), |kept| of_plan(&kept))
}

/// As the built-in policy decides: a router with all the routes leaves none for the nodes.
fn made(lab: &Lab, node: &layout::Node) -> Vec<Way> {
    let shape = &lab.shape;
    let peers = lab.nodes.iter().filter(|peer| !shape.router && peer.name != node.name);
    let to = |peer: &layout::Node| match shape.way {
        Some(layout::Way::Vxlan) => by_tunnel(peer),
        None if peer.site != node.site => by_tunnel(peer),
        None | Some(layout::Way::Direct) if peer.site == node.site => directly(peer),
        _ => Vec::new(),
    };
    peers.flat_map(to).collect()
}

/// What nodes have beside, where nobody keeps a plan.
fn defaults(lab: &Lab, node: &layout::Node) -> impl Iterator<Item = String> {
    let is_told = lab.shape.has_router() && lab.shape.agents.is_none();
    let routers = lab.shape.router(node.site).into_iter().filter(move |_| is_told);
    routers.map(|router| format!("default via {router}"))
}

fn directly(node: &layout::Node) -> Vec<Way> {
    let via =
        |pool: &IpNet| node.addresses.iter().find(|one| one.is_ipv4() == pool.addr().is_ipv4()).copied();
    node.pools.iter().filter_map(|pool| Some((*pool, NextHop::Via(via(pool)?)))).collect()
}

/// Tunnels carry both families.
fn by_tunnel(node: &layout::Node) -> Vec<Way> {
    let end = node.addresses.first();
    end.map(|end| node.pools.iter().map(|pool| (*pool, NextHop::Tunnel(*end))).collect()).unwrap_or_default()
}

/// Each pair of nodes once.
fn tunnels(lab: &Lab, first: usize) -> Vec<Tunnel> {
    let mut tunnels = Vec::new();
    for (from, node) in lab.nodes.iter().enumerate() {
        let routes = routes(lab, node);
        let is_end = |to: &layout::Node| {
            routes.iter().any(|(_, hop)| matches!(hop, NextHop::Tunnel(end) if to.addresses.contains(end)))
        };
        let later = lab.nodes.iter().enumerate().skip(from + 1).filter(|(_, to)| is_end(to));
        tunnels.extend(later.map(|(to, _)| Tunnel { from: first + from, to: first + to }));
    }
    tunnels
}

fn listed<T: ToString>(all: impl IntoIterator<Item = T>) -> String {
    all.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(", ")
}

/// The lab to which the node belongs; none if it belongs to none.
pub fn around(state: &State) -> Option<Lab> {
    let root = Path::new(crate::lab::holder::DIRECTORY);
    let text = state.run.starts_with(root).then(|| std::fs::read(root.join("lab.json")))?.ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::super::text;
    use super::*;
    use crate::lab::layout::{Families, Shape};

    fn shape(router: bool) -> Shape {
        Shape { families: Families::Ipv4, sites: 1, router, way: None, agents: None }
    }

    fn picture(lab: &Lab) -> String {
        text::render(&Topology::from(lab))
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
    fn tunnels_where_they_were_asked_for_or_nothing_else_leads_there() {
        let asked = Shape { way: Some(layout::Way::Vxlan), ..shape(false) };
        let elsewhere = Shape { sites: 2, ..shape(false) };
        for (shape, line, tunnels) in [
            (asked, "route 10.244.2.0/24 through the tunnel to 192.168.1.12\n", 3),
            (elsewhere, "route 10.244.2.0/24 through the tunnel to 192.168.2.12\n", 2),
        ] {
            let lab = Lab::new(shape, 3, 0);
            assert!(picture(&lab).contains(line), "{}", picture(&lab));
            assert_eq!(Topology::from(&lab).tunnels.len(), tunnels);
        }
    }

    #[test]
    fn two_sites_are_joined_by_a_router() {
        let shape = Shape { families: Families::Dual, sites: 2, ..shape(false) };
        let picture = picture(&Lab::new(shape, 3, 0));
        for line in [
            "  switch 192.168.1.0/24, fd00:192:168:1::/64, 192.168.2.0/24, fd00:192:168:2::/64",
            "  ├── router 192.168.1.1 fd00:192:168:1::1 192.168.2.1 fd00:192:168:2::1",
            "  ├── node2 192.168.2.12 fd00:192:168:2::12 (by tunnel)",
            "  │   └── cni0 10.244.2.1/24 fd00:10:244:2::1/64",
        ] {
            assert!(picture.lines().any(|said| said == line), "{line:?} is not in\n{picture}");
        }
    }
}
