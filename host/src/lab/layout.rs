//! What the lab looks like: names and addresses, as the lecture has them. Plain data, kept beside the lab
//! while it runs.

use std::iter;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The network between the nodes, 192.168.1.0/24.
pub const UNDERLAY: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 1, 0), 24);
/// All pods, 10.244.0.0/16.
pub const CLUSTER: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16);
/// Nodes are .11, .12, …; 240 of them end at .250.
pub const MOST_NODES: u8 = 240;
/// A node's /24 holds 253 pods beside its bridge.
pub const MOST_PODS: u8 = 253;

/// A lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lab {
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// Whether a router holds the routes, instead of each node.
    pub router: bool,
}

/// A node of the lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// "node1": also its network namespace.
    pub name: String,
    /// 192.168.1.11.
    pub address: Ipv4Addr,
    /// 10.244.1.0/24.
    pub pool: Ipv4Net,
    /// Its pods.
    pub pods: Vec<Pod>,
}

/// A pod of the lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// "pod1-1": also its network namespace and its container ID.
    pub name: String,
    /// Of Kubernetes.
    pub namespace: String,
    /// What the plugin is called with.
    pub configuration: Map<String, Value>,
    /// What the plugin gave it; none before its ADD.
    pub address: Option<IpAddr>,
}

impl Lab {
    /// The lecture's addresses for so many nodes and pods.
    pub fn new(nodes: u8, pods: u8, router: bool) -> Self {
        Self { nodes: (1..=nodes).map(|n| Node::new(n, pods)).collect(), router }
    }

    /// The router's address in the network between nodes, 192.168.1.1.
    pub fn router_address() -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 1, 1)
    }

    /// An address in the network between nodes, with its prefix.
    pub fn on_underlay(address: Ipv4Addr) -> IpNet {
        Ipv4Net::new(address, UNDERLAY.prefix_len()).expect("a length below 33").into()
    }

    /// The names of all its network namespaces.
    pub fn names(&self) -> Vec<&str> {
        let pods = self.nodes.iter().flat_map(|node| &node.pods).map(|pod| pod.name.as_str());
        let nodes = self.nodes.iter().map(|node| node.name.as_str());
        let router = self.router.then_some("router");
        iter::once("switch").chain(router).chain(nodes).chain(pods).collect()
    }

    /// Every pod that has an address, with its node.
    pub fn pods(&self) -> impl Iterator<Item = (&Node, &Pod, IpAddr)> {
        let all = self.nodes.iter().flat_map(|node| node.pods.iter().map(move |pod| (node, pod)));
        all.filter_map(|(node, pod)| Some((node, pod, pod.address?)))
    }
}

impl Node {
    fn new(number: u8, pods: u8) -> Self {
        Self {
            name: format!("node{number}"),
            address: Ipv4Addr::new(192, 168, 1, 10 + number),
            pool: Ipv4Net::new(Ipv4Addr::new(10, 244, number, 0), 24).expect("a length below 33"),
            pods: (1..=pods).map(|p| Pod::new(format!("pod{number}-{p}"))).collect(),
        }
    }

    /// Its state: what is /run/podwire, /var/lib/podwire and /etc/podwire on a node of one's own.
    pub fn root(&self) -> PathBuf {
        PathBuf::from("/run/podwire-lab").join(&self.name)
    }
}

impl Pod {
    /// In the lab's own network, which leaves everything to the node.
    fn new(name: String) -> Self {
        let network = [("cniVersion", "1.1.0"), ("name", "lab"), ("type", "podwire")];
        let configuration = network.map(|(key, value)| (key.to_owned(), value.into()));
        Self {
            name,
            namespace: "lab".to_owned(),
            configuration: Map::from_iter(configuration),
            address: None,
        }
    }

    /// In a network of that configuration, or else in the lab's own.
    pub fn named(namespace: String, name: String, configuration: Option<Map<String, Value>>) -> Self {
        let pod = Self::new(name);
        Self { namespace, configuration: configuration.unwrap_or(pod.configuration), ..pod }
    }
}

/// The lab as a picture in text.
pub fn picture(lab: &Lab) -> String {
    let mut lines = vec![format!("  switch {UNDERLAY}")];
    if lab.router {
        let routes = lab.nodes.iter().map(|n| format!("{} via {}", n.pool, n.address)).collect::<Vec<_>>();
        lines.push(format!("  ├── router {}", Lab::router_address()));
        lines.extend(routes.iter().map(|route| format!("  │     route {route}")));
    }
    for (i, node) in lab.nodes.iter().enumerate() {
        let (fork, stem) = if i + 1 == lab.nodes.len() { ("└", " ") } else { ("├", "│") };
        let bridge = node.pool.hosts().next().unwrap_or(node.pool.addr());
        lines.push(format!("  {fork}── {} {}", node.name, node.address));
        lines.extend(routes_of(lab, node).map(|route| format!("  {stem}   │   route {route}")));
        lines.push(format!("  {stem}   └── cni0 {bridge}/{}", node.pool.prefix_len()));
        for (j, pod) in node.pods.iter().enumerate() {
            let fork = if j + 1 == node.pods.len() { "└" } else { "├" };
            let address = pod.address.map_or_else(|| "no address".to_owned(), |a| a.to_string());
            lines.push(format!("  {stem}         {fork}── {} {address}", pod.name));
        }
    }
    lines.join("\n") + "\n"
}

fn routes_of<'a>(lab: &'a Lab, node: &'a Node) -> impl Iterator<Item = String> + 'a {
    let default = lab.router.then(|| format!("default via {}", Lab::router_address()));
    let peers = lab.nodes.iter().filter(|peer| !lab.router && peer.name != node.name);
    default.into_iter().chain(peers.map(|peer| format!("{} via {}", peer.pool, peer.address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lectures_three_nodes() {
        let mut lab = Lab::new(2, 1, false);
        lab.nodes[0].pods[0].address = Some("10.244.1.2".parse().expect("an address"));
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
        let picture = picture(&Lab::new(3, 0, true));
        assert!(picture.contains("router 192.168.1.1\n"));
        assert_eq!(picture.matches("default via 192.168.1.1").count(), 3);
        assert_eq!(picture.matches("via 192.168.1.12").count(), 1);
    }
}
