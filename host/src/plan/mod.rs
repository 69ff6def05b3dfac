//! The plan: plain data that says what shall become true, the rules it must keep, and the script that
//! it stands for.
//!
//! Owns the vocabulary that the other rooms share, in std's types; [`check`] holds every rule. Pure
//! functions only: no netlink, no WebAssembly, no files.

pub mod check;
pub mod derived;
pub mod limits;
pub mod marks;
pub mod script;
mod traffic;
mod wishes;

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::names::{AttachmentId, InterfaceName, MacAddress, NetworkName};

pub use traffic::{Bandwidth, Masquerade, PortMapping, Protocol, Rate, SpoofCheck, Traffic};

/// The node on which podwire runs, as its operator configured it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// As in Kubernetes.
    pub name: String,
    /// Its addresses in the network between nodes.
    pub addresses: Vec<IpAddr>,
    /// Blocks from which its pods get their addresses. Never empty, but on a router.
    pub pools: Vec<IpNet>,
    /// Blocks that together hold every pod of the cluster.
    pub cluster: Vec<IpNet>,
}

/// What a machine does for the cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It has pods.
    #[default]
    Host,
    /// It has none, and carries packets between those that have.
    Router,
}

/// Another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// As in Kubernetes.
    pub name: String,
    /// What it does for the cluster.
    #[serde(default)]
    pub role: Role,
    /// Its addresses in the network between nodes.
    pub addresses: Vec<IpAddr>,
    /// Blocks from which its pods get their addresses.
    pub pools: Vec<IpNet>,
}

/// What the runtime said of the pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Its Kubernetes namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID; empty if unknown.
    pub uid: String,
    /// Its annotations, sorted by key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<(String, String)>,
}

/// A part of a pool from which addresses are given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRange {
    /// The prefix of the addresses' link.
    pub subnet: IpNet,
    /// The first address, itself included.
    pub first: IpAddr,
    /// The last address, itself included.
    pub last: IpAddr,
    /// Nobody is given it.
    pub gateway: Option<IpAddr>,
}

impl AddressRange {
    /// Whether the address lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.subnet.contains(&address) && (self.first..=self.last).contains(&address)
    }
}

/// One ADD: what a policy is asked, and what of it is not the policy's to decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddRequest {
    /// `name` of the network configuration.
    pub network: NetworkName,
    /// Container and interface.
    pub attachment: AttachmentId,
    /// The pod, inside Kubernetes.
    pub pod: Option<Pod>,
    /// This node.
    pub node: Node,
    /// Addresses that somebody asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requested_addresses: Vec<IpNet>,
    /// A hardware address that somebody asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_mac: Option<MacAddress>,
    /// Where the addresses shall come from, one of each set; none: from the node's pools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range_sets: Option<Vec<Vec<AddressRange>>>,
    /// Routes that the network configuration asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requested_routes: Vec<Route>,
    /// The policy's own configuration, JSON text.
    pub config: String,
    /// A bridge that the operator named for this network: podwire may use it, whoever made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operators_bridge: Option<InterfaceName>,
    /// Ports of the node that shall lead to the pod. No policy is asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub port_mappings: Vec<PortMapping>,
    /// How much the pod may receive and send. No policy is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
}

/// A route inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// A block; 0.0.0.0/0 and ::/0 are the default routes.
    pub destination: IpNet,
    /// The next hop; none means on the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// In bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Less is preferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// In bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// None: the main table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// `rtm_scope`; none: the link's without a next hop, else universal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
}

impl Route {
    /// With nothing said but where it leads.
    pub fn to(destination: IpNet, via: Option<IpAddr>) -> Self {
        Self { destination, via, mtu: None, metric: None, advmss: None, table: None, scope: None }
    }
}

/// An address of the container's interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address with its link's prefix length.
    pub prefix: IpNet,
    /// Reported in the CNI result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

/// A Linux bridge on the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge<Name = InterfaceName> {
    /// Its interface name.
    pub name: Name,
    /// What the bridge itself carries; where a port's native VLAN is another than the bridge's, the node's interface
    /// in that VLAN.
    pub addresses: Vec<IpNet>,
    /// In bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Takes in frames for whatever hardware address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub promiscuous: bool,
    /// Loses other addresses that stand in the way of these.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclusive: bool,
    /// The node's own addresses, which an exclusive bridge never loses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<IpAddr>,
    /// The operator named it for this network: podwire may use it, whoever made it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub operators: bool,
}

impl<Name> Bridge<Name> {
    /// One that is as the kernel makes it.
    pub fn plain(name: Name, addresses: Vec<IpNet>) -> Self {
        let (promiscuous, exclusive, operators) = (false, false, false);
        Self { name, addresses, mtu: None, promiscuous, exclusive, kept: Vec::new(), operators }
    }
}

/// The VLAN into which the kernel puts a bridge and each of its ports.
pub const DEFAULT_VLAN: u16 = 1;

/// The VLANs of a bridge's port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortVlans {
    /// Of the frames without a tag.
    pub native: u16,
    /// First and last of ranges whose frames pass with their tag.
    pub tagged: Vec<(u16, u16)>,
    /// Whether frames of VLAN 1 pass too.
    pub keep_default: bool,
}

/// How the host's end of the veth is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wiring<Name = InterfaceName> {
    /// As a port of a bridge.
    Bridge {
        /// The bridge.
        bridge: Bridge<Name>,
        /// Whether a frame may leave by the port it came in by.
        hairpin: bool,
        /// Whether the port is kept apart from other isolated ports.
        isolated: bool,
        /// None: as the bridge has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlans: Option<PortVlans>,
    },
    /// Point to point, with a route on the node to each of the container's addresses.
    Routed,
}

/// What the runtime may put into resolv.conf(5).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Name servers, the preferred one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<IpAddr>,
    /// The local domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Search domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Resolver options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// What a policy proposes for one ADD. Nothing in it is trusted: [`check::add`] makes a [`Checked`] of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddPlan {
    /// The veth's end on the node.
    pub host_interface: Option<String>,
    /// How that end is connected.
    pub wiring: Wiring<String>,
    /// Of the container's interface.
    pub addresses: Vec<Address>,
    /// Inside the container.
    pub routes: Vec<Route>,
    /// Of the container's end.
    pub mac: Option<String>,
    /// Of both ends, in bytes.
    pub mtu: Option<u32>,
    /// For the container's resolver.
    pub dns: Option<Dns>,
    /// Names and values, for the container's network namespace.
    pub sysctls: Vec<(String, String)>,
    /// Whether packets leave the cluster's blocks with the node's own address.
    pub masquerade: bool,
    /// What the pod must not pretend.
    pub spoof_check: SpoofCheck,
    /// Whether the kernel asks the link before it uses an IPv6 address.
    pub duplicate_address_detection: bool,
    /// Whether the container's interface is left down.
    pub interface_down: bool,
    /// Keys of later versions.
    pub extra: Vec<(String, String)>,
}

/// A plan that keeps every rule, with nothing left open: what [`crate::net`] applies, what the lease
/// database records, and what CHECK compares the kernel with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The veth's end in the container.
    pub container_interface: InterfaceName,
    /// The veth's end on the node.
    pub host_interface: InterfaceName,
    /// How that end is connected.
    pub wiring: Wiring,
    /// Of the container's interface.
    pub addresses: Vec<Address>,
    /// Inside the container.
    pub routes: Vec<Route>,
    /// Of the container's end.
    pub mac: MacAddress,
    /// Of the node's end.
    pub host_mac: MacAddress,
    /// Of both ends, in bytes; none: as the bridge has it, or 1,500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// For the container's resolver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
    /// Paths below /proc/sys and values, for the container's network namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sysctls: Vec<(String, String)>,
    /// What the node does with the pod's packets. Absent from the records of earlier versions.
    #[serde(default)]
    pub traffic: Traffic,
    /// Whether the kernel asks the link before it uses an IPv6 address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate_address_detection: bool,
    /// Whether the container's interface is left down.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interface_down: bool,
}

/// One DEL, as a policy is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelRequest {
    /// `name` of the network configuration.
    pub network: NetworkName,
    /// Container and interface.
    pub attachment: AttachmentId,
    /// The pod, inside Kubernetes.
    pub pod: Option<Pod>,
    /// What is given back.
    pub addresses: Vec<IpAddr>,
    /// As at the ADD.
    pub config: String,
}

/// An interface of the node into the network between nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uplink {
    /// Its name.
    pub name: InterfaceName,
    /// Each with the length of its link's prefix.
    pub addresses: Vec<IpNet>,
    /// In bytes.
    pub mtu: u32,
}

/// The node itself, as a policy sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRequest {
    /// This node.
    pub node: Node,
    /// What it does for the cluster.
    #[serde(default)]
    pub role: Role,
    /// Its interfaces into the network between nodes.
    #[serde(default)]
    pub uplinks: Vec<Uplink>,
    /// The others. Thousands, who pass from hand to hand.
    pub peers: Arc<[Peer]>,
    /// The policy's own configuration, JSON text.
    pub config: String,
}

/// Where a route of the node leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NextHop {
    /// To an address that the node reaches directly.
    Via(IpAddr),
    /// Nowhere.
    Blackhole,
    /// Through the node's VXLAN device, to the peer that has this address.
    Tunnel(IpAddr),
}

/// A route on the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRoute {
    /// A block inside the cluster's.
    pub destination: IpNet,
    /// Where it leads.
    pub next_hop: NextHop,
    /// Less is preferred.
    pub metric: Option<u32>,
}

/// The node's end of tunnels to its peers (RFC 7348).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vxlan<Name = InterfaceName> {
    /// Its interface name.
    pub name: Name,
    /// The VXLAN network identifier.
    pub id: u32,
    /// The UDP port.
    pub port: u16,
    /// One of the node's addresses.
    pub local: IpAddr,
    /// In bytes.
    pub mtu: u32,
}

/// What a policy proposes for the node; [`check::node`] makes it one with checked names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePlan<Name = InterfaceName> {
    /// The node's bridges.
    pub bridges: Vec<Bridge<Name>>,
    /// The node's end of tunnels.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub vxlan: Option<Vxlan<Name>>,
    /// The node's routes to pods elsewhere.
    pub routes: Vec<NodeRoute>,
    /// Blocks whose packets leave the cluster's blocks with the node's own address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masquerade: Vec<IpNet>,
    /// Keys of later versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<(String, String)>,
}

/// Why a policy says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalReason {
    /// Its configuration is wrong.
    InvalidConfig,
    /// This pod must not have this.
    Denied,
    /// No address is left.
    Exhausted,
    /// Something else that passes.
    TryAgain,
}

/// A policy's reasoned no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For the code of the CNI error.
    pub reason: RefusalReason,
    /// For the operator.
    pub message: String,
}

impl<Name> NodePlan<Name> {
    /// Nothing at all.
    pub fn nothing() -> Self {
        let (bridges, routes, masquerade, extra) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { bridges, vxlan: None, routes, masquerade, extra }
    }
}
