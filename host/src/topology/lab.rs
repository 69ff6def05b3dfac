//! A lab, as its record says.

use std::path::Path;

use super::{Bridge, Node, Pod, Topology};
use crate::lab::layout::{self, Lab, UNDERLAY};
use crate::plan::Role;
use crate::state::State;

impl From<&Lab> for Topology {
    fn from(lab: &Lab) -> Self {
        let nodes =
            lab.router.then(|| router(lab)).into_iter().chain(lab.nodes.iter().map(|node| host(lab, node)));
        Self { network: UNDERLAY.to_string(), nodes: nodes.collect(), tunnels: Vec::new() }
    }
}

fn router(lab: &Lab) -> Node {
    let routes = lab.nodes.iter().map(|node| format!("{} via {}", node.pool, node.address));
    Node {
        name: "router".to_owned(),
        role: Role::Router,
        addresses: vec![Lab::router_address().to_string()],
        routes: routes.collect(),
        ..Node::default()
    }
}

fn host(lab: &Lab, node: &layout::Node) -> Node {
    let bridge = node.pool.hosts().next().unwrap_or(node.pool.addr());
    let pods = node.pods.iter().map(|pod| Pod {
        name: pod.name.clone(),
        addresses: pod.address.map(|address| address.to_string()).into_iter().collect(),
    });
    let addresses = vec![format!("{bridge}/{}", node.pool.prefix_len())];
    Node {
        name: node.name.clone(),
        addresses: vec![node.address.to_string()],
        routes: routes_of(lab, node),
        bridges: vec![Bridge { name: "cni0".to_owned(), addresses, pods: pods.collect() }],
        ..Node::default()
    }
}

fn routes_of(lab: &Lab, node: &layout::Node) -> Vec<String> {
    if lab.router {
        return vec![format!("default via {}", Lab::router_address())];
    }
    let peers = lab.nodes.iter().filter(|peer| peer.name != node.name);
    peers.map(|peer| format!("{} via {}", peer.pool, peer.address)).collect()
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

    #[test]
    fn a_lab_looks_as_it_did() {
        for (nodes, pods, router) in [(3, 2, false), (2, 1, true), (1, 0, false), (3, 0, true)] {
            let mut lab = Lab::new(nodes, pods, router);
            if let Some(pod) = lab.nodes[0].pods.first_mut() {
                pod.address = Some("10.244.1.2".parse().expect("an address"));
            }
            assert_eq!(text::render(&Topology::from(&lab)), layout::picture(&lab));
        }
    }
}
