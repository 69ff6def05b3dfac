//! This node: what the kernel has, with the names that the leases and the list of peers know.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Bridge, Node, Pod, Topology, Tunnel};
use crate::agent::known::Known;
use crate::agent::settings;
use crate::leases::{self, Attachment, Store};
use crate::net;
use crate::net::route::{Found, Hop};
use crate::net::survey::{Interface, Survey};
use crate::plan::{self, Peer, Role};
use crate::state::State;

/// What pods are under that no bridge connects.
const POINT_TO_POINT: &str = "point to point";
const SOMEWHERE: &str = "the network between nodes";

/// Why the node cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node's settings cannot be used.
    #[error(transparent)]
    Settings(#[from] settings::Error),
    /// The kernel does not tell.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// The leases cannot be read.
    #[error(transparent)]
    Leases(#[from] leases::Error),
}

/// Looks at the node on which this runs. Changes nothing.
pub fn gather(state: &State) -> Result<Topology, Error> {
    let known = Known::read(state)?;
    let survey = Survey::make()?;
    let attachments = attachments(state)?;
    Ok(compose(&known, &survey, &attachments))
}

fn attachments(state: &State) -> Result<Vec<Attachment>, leases::Error> {
    match Store::open_existing(&state.leases_dir())? {
        None => Ok(Vec::new()),
        Some(store) => store.snapshot()?.attachments()?.collect(),
    }
}

fn compose(known: &Known, survey: &Survey, attachments: &[Attachment]) -> Topology {
    let Known { node, role, peers } = known;
    let ours: Vec<&Found> = survey.routes.iter().filter(|route| is_to_a_peer(route)).collect();
    let here = Node {
        name: node.name.clone(),
        role: *role,
        is_here: true,
        addresses: node.addresses.iter().map(IpAddr::to_string).collect(),
        routes: ours.iter().map(|route| describe(route, survey)).collect(),
        bridges: bridges(survey, attachments),
        ..Node::default()
    };
    let mut others: Vec<Node> = peers.iter().map(of_peer).collect();
    others.extend(nameless(&ours, peers));
    let routers = others.iter().filter(|peer| peer.role == Role::Router).cloned();
    let hosts = others.iter().filter(|peer| peer.role == Role::Host).cloned();
    let nodes: Vec<Node> = routers.chain([here]).chain(hosts).collect();
    let tunnels = tunnels(&nodes, &ours, survey);
    Topology { network: network(node, survey), nodes, tunnels }
}

/// The prefix of the link on which the node has its address.
fn network(node: &plan::Node, survey: &Survey) -> String {
    let prefixes = survey.interfaces.iter().filter(|it| !it.ours).flat_map(|it| &it.addresses);
    let own = prefixes.filter(|prefix| node.addresses.contains(&prefix.addr()));
    let names: Vec<String> = own.map(|prefix| prefix.trunc().to_string()).collect();
    if names.is_empty() { SOMEWHERE.to_owned() } else { names.join(" ") }
}

/// Those to single pods are on a link.
fn is_to_a_peer(route: &Found) -> bool {
    route.is_ours() && matches!(route.hop, Some(Hop::Via { .. }))
}

fn gateway(route: &Found) -> Option<IpAddr> {
    match route.hop {
        Some(Hop::Via { gateway, .. }) => Some(gateway),
        _ => None,
    }
}

fn device<'a>(route: &Found, survey: &'a Survey) -> Option<&'a Interface> {
    match route.hop {
        Some(Hop::Via { interface: Some(interface), .. }) => survey.interface(interface),
        _ => None,
    }
}

fn is_tunnel(route: &Found, survey: &Survey) -> bool {
    device(route, survey).is_some_and(|device| device.vxlan.is_some())
}

fn describe(route: &Found, survey: &Survey) -> String {
    match (device(route, survey).filter(|device| device.vxlan.is_some()), gateway(route)) {
        (Some(device), _) => format!("{} through {}", route.destination, device.name),
        (None, Some(gateway)) => format!("{} via {gateway}", route.destination),
        (None, None) => route.destination.to_string(),
    }
}

fn of_peer(peer: &Peer) -> Node {
    Node {
        name: peer.name.clone(),
        role: peer.role,
        addresses: peer.addresses.iter().map(IpAddr::to_string).collect(),
        pools: peer.pools.iter().map(IpNet::to_string).collect(),
        ..Node::default()
    }
}

/// Whom routes lead to that no list names: known by the address, one of several blocks once.
fn nameless(routes: &[&Found], peers: &[Peer]) -> Vec<Node> {
    let mut found: Vec<Node> = Vec::new();
    let known = |route: &Found| peers.iter().any(|peer| peer.pools.contains(&route.destination));
    for route in routes.iter().filter(|route| !known(route)) {
        let Some(name) = gateway(route).map(|gateway| gateway.to_string()) else { continue };
        let pool = route.destination.to_string();
        match found.iter_mut().find(|node| node.name == name) {
            Some(node) => node.pools.push(pool),
            None => found.push(Node { name, pools: vec![pool], ..Node::default() }),
        }
    }
    found
}

fn tunnels(nodes: &[Node], routes: &[&Found], survey: &Survey) -> Vec<Tunnel> {
    let through: Vec<String> = routes
        .iter()
        .filter(|route| is_tunnel(route, survey))
        .map(|route| route.destination.to_string())
        .collect();
    let Some(from) = nodes.iter().position(|node| node.is_here) else { return Vec::new() };
    let is_reached = |node: &Node| node.pools.iter().any(|pool| through.contains(pool));
    let ends = nodes.iter().enumerate().filter(|(_, node)| is_reached(node));
    ends.map(|(to, _)| Tunnel { from, to }).collect()
}

/// podwire's, each with its pods, and at last those pods that are on none.
fn bridges(survey: &Survey, attachments: &[Attachment]) -> Vec<Bridge> {
    let ours = survey.interfaces.iter().filter(|it| it.ours && it.is("bridge"));
    let mut bridges: Vec<Bridge> = ours
        .map(|bridge| Bridge {
            name: bridge.name.clone(),
            addresses: bridge
                .addresses
                .iter()
                .filter(|it| !is_link_local(it))
                .map(IpNet::to_string)
                .collect(),
            pods: pods(survey.ports(bridge.index), attachments),
        })
        .collect();
    let loose = survey.interfaces.iter().filter(|it| it.ours && it.is("veth") && it.master.is_none());
    let pods = pods(loose, attachments);
    if !pods.is_empty() {
        bridges.push(Bridge { name: POINT_TO_POINT.to_owned(), addresses: Vec::new(), pods });
    }
    bridges
}

/// Every interface has one; nobody looks for a node by it.
fn is_link_local(prefix: &IpNet) -> bool {
    matches!(prefix.addr(), IpAddr::V6(address) if address.is_unicast_link_local())
}

fn pods<'a>(interfaces: impl Iterator<Item = &'a Interface>, attachments: &[Attachment]) -> Vec<Pod> {
    let mut pods: Vec<Pod> = interfaces.map(|interface| pod(interface, attachments)).collect();
    pods.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    pods
}

/// An interface of which no lease knows goes by its own name.
fn pod(interface: &Interface, attachments: &[Attachment]) -> Pod {
    let holds = |attachment: &&Attachment| attachment.intent.plan.host_interface.as_str() == interface.name;
    let Some(Attachment { intent, .. }) = attachments.iter().find(holds) else {
        return Pod { name: interface.name.clone(), addresses: Vec::new() };
    };
    let name = intent.pod.as_ref().map(|pod| format!("{}/{}", pod.namespace, pod.name));
    Pod {
        name: name.unwrap_or_else(|| intent.attachment.container_id.to_string()),
        addresses: intent.addresses().map(|address| address.to_string()).collect(),
    }
}
