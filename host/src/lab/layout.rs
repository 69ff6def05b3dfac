//! What the lab looks like: names and addresses, as the lecture has them. Plain data, kept beside the lab
//! while it runs.

use std::iter;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::ValueEnum;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Nodes are .11, .12, …; 240 of them end at .250.
pub const MOST_NODES: u8 = 240;
/// A node's /24 holds 253 pods beside its bridge.
pub const MOST_PODS: u8 = 253;
/// The networks between nodes are 192.168.1.0/24, 192.168.2.0/24, …
pub const MOST_SITES: u8 = 9;

/// Which addresses everybody has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Families {
    /// 192.168.1.11 and 10.244.1.2.
    #[default]
    Ipv4,
    /// fd00:192:168:1::11 and fd00:10:244:1::2.
    Ipv6,
    /// Both.
    Dual,
}

/// How pods of one node reach those of another, as the default policy has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// A route by way of the other node.
    Direct,
    /// A tunnel to the other node.
    Vxlan,
    /// A route by way of the router.
    Router,
}

/// Where the agents learn who belongs to the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Membership {
    /// From peers.json, which the lab keeps.
    Static,
    /// From an etcd that the lab runs.
    Etcd,
    /// From what somebody else runs: `source` of agent.json.
    Other(Value),
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Which addresses everybody has.
    pub families: Families,
    /// How many networks there are between nodes; a router joins several.
    pub sites: u8,
    /// Whether a router knows where the pods are, instead of each node.
    pub router: bool,
    /// None: as the policy likes.
    pub way: Option<Way>,
    /// Whether an agent runs on each node, and where it learns of the others; none: `podwire node up`, once.
    pub agents: Option<Membership>,
}

/// A lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lab {
    /// What was asked for.
    pub shape: Shape,
    /// Its nodes.
    pub nodes: Vec<Node>,
}

/// A node of the lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// "node1": also its network namespace.
    pub name: String,
    /// Its network between nodes, from 1.
    pub site: u8,
    /// 192.168.1.11.
    pub addresses: Vec<IpAddr>,
    /// 10.244.1.0/24. With etcd the agent decides: then what it has got, once it is known.
    pub pools: Vec<IpNet>,
    /// Its pods.
    pub pods: Vec<Pod>,
    /// Whether it is switched off.
    pub dead: bool,
}

/// A pod of the lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// "pod1-1": also its network namespace and its container ID.
    pub name: String,
    /// Of Kubernetes.
    pub namespace: String,
    /// What the plugin is called with; none: the lab's own network, which leaves everything to the node.
    pub configuration: Option<Map<String, Value>>,
    /// What the plugin gave it; none before its ADD.
    pub addresses: Vec<IpAddr>,
}

impl Families {
    /// Those of the lab's pods and machines, IPv4 first.
    fn choose<T>(self, ipv4: T, ipv6: T) -> Vec<T> {
        match self {
            Self::Ipv4 => vec![ipv4],
            Self::Ipv6 => vec![ipv6],
            Self::Dual => vec![ipv4, ipv6],
        }
    }

    /// All pods: 10.244.0.0/16, fd00:10:244::/48.
    pub fn cluster(self) -> Vec<IpNet> {
        self.choose(block(Ipv4Addr::new(10, 244, 0, 0).into(), 16), block(ipv6("fd00:10:244::"), 48))
    }

    /// The pods of one node: 10.244.1.0/24, fd00:10:244:1::/64.
    pub fn pools(self, number: u8) -> Vec<IpNet> {
        let ipv4 = block(Ipv4Addr::new(10, 244, number, 0).into(), 24);
        self.choose(ipv4, block(ipv6(&format!("fd00:10:244:{number}::")), 64))
    }

    /// A machine in the network of a site: 192.168.1.11, fd00:192:168:1::11.
    pub fn machine(self, site: u8, number: u8) -> Vec<IpAddr> {
        let ipv4 = Ipv4Addr::new(192, 168, site, number).into();
        self.choose(ipv4, ipv6(&format!("fd00:192:168:{site}::{number}")))
    }
}

/// An address in the network between nodes, with the length of its prefix.
pub fn on_underlay(address: IpAddr) -> IpNet {
    block(address, if address.is_ipv4() { 24 } else { 64 })
}

fn block(address: IpAddr, length: u8) -> IpNet {
    match address {
        IpAddr::V4(address) => Ipv4Net::new(address, length).expect("a length below 33").into(),
        IpAddr::V6(address) => Ipv6Net::new(address, length).expect("a length below 129").into(),
    }
}

/// Numbers are written in decimal where IPv6 reads hexadecimal digits: node 11 is …::11.
fn ipv6(text: &str) -> IpAddr {
    text.parse().expect("digits and colons")
}

impl Shape {
    /// Whether there is a router at all.
    pub fn has_router(&self) -> bool {
        self.router || self.sites > 1
    }

    /// The router's addresses in the network of a site, 192.168.1.1.
    pub fn router(&self, site: u8) -> Vec<IpAddr> {
        self.families.machine(site, 1)
    }

    /// The addresses of the machine on which etcd runs, 192.168.1.2.
    pub fn store(&self) -> Vec<IpAddr> {
        self.families.machine(1, 2)
    }

    /// Whether nodes know the pods' blocks beforehand.
    pub fn names_pools(&self) -> bool {
        matches!(self.agents, None | Some(Membership::Static))
    }

    /// Node of that number, with so many pods.
    pub fn node(&self, number: u8, pods: u8) -> Node {
        let site = (number - 1) % self.sites + 1;
        Node {
            name: format!("node{number}"),
            site,
            addresses: self.families.machine(site, 10 + number),
            pools: if self.names_pools() { self.families.pools(number) } else { Vec::new() },
            pods: (1..=pods).map(|p| Pod::named("lab".into(), format!("pod{number}-{p}"), None)).collect(),
            dead: false,
        }
    }
}

impl Lab {
    /// The lecture's addresses for so many nodes and pods.
    pub fn new(shape: Shape, nodes: u8, pods: u8) -> Self {
        Self { nodes: (1..=nodes).map(|n| shape.node(n, pods)).collect(), shape }
    }

    /// The names of all its network namespaces.
    pub fn names(&self) -> Vec<&str> {
        let pods = self.nodes.iter().flat_map(|node| &node.pods).map(|pod| pod.name.as_str());
        let nodes = self.nodes.iter().map(|node| node.name.as_str());
        let router = self.shape.has_router().then_some("router");
        let store = (!self.shape.names_pools()).then_some("store");
        iter::once("switch").chain(router).chain(store).chain(nodes).chain(pods).collect()
    }

    /// Every address of a pod on a node that is not switched off.
    pub fn pods(&self) -> impl Iterator<Item = (&Pod, IpAddr)> {
        let pods = self.nodes.iter().filter(|node| !node.dead).flat_map(|node| &node.pods);
        pods.flat_map(|pod| pod.addresses.iter().map(move |address| (pod, *address)))
    }

    /// The node of that name, or who there is.
    pub fn node_mut(&mut self, name: &str) -> anyhow::Result<&mut Node> {
        let known: Vec<_> = self.nodes.iter().map(|node| node.name.clone()).collect();
        let found = self.nodes.iter_mut().find(|node| node.name == name);
        found.ok_or_else(|| anyhow::anyhow!("the lab has no node {name:?}: it has {}", known.join(", ")))
    }
}

impl Node {
    /// Its state: what is /run/podwire, /var/lib/podwire and /etc/podwire on a node of one's own.
    pub fn root(&self) -> PathBuf {
        super::root(&self.name)
    }

    /// The network configuration that its agent keeps.
    pub fn conflist(&self) -> PathBuf {
        self.root().join("net.d/10-podwire.conflist")
    }
}

impl Pod {
    /// In a network of that configuration, or else in the lab's own.
    pub fn named(namespace: String, name: String, configuration: Option<Map<String, Value>>) -> Self {
        Self { name, namespace, configuration, addresses: Vec::new() }
    }
}
