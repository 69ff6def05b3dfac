//! What a policy answers: plain data, checked by the host before anything is changed. The rules and
//! limits are in `wit/policy.wit`.

mod display;

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;

use crate::Family;

/// A route inside the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// A block; 0.0.0.0/0 and ::/0 are the default routes.
    pub destination: IpNet,
    /// The next hop; none: the destination is on the link itself.
    pub via: Option<IpAddr>,
    /// In bytes.
    pub mtu: Option<u32>,
    /// Less is preferred.
    pub metric: Option<u32>,
    /// The largest TCP segment that is told to the other side, in bytes.
    pub advmss: Option<u32>,
    /// The routing table; none: the main table.
    pub table: Option<u32>,
    /// How far the destination is (`rtm_scope`); none: on the link without a next hop, else anywhere.
    pub scope: Option<u8>,
}

impl Route {
    /// With nothing said but where it leads.
    pub fn to(destination: IpNet, via: Option<IpAddr>) -> Self {
        Self { destination, via, mtu: None, metric: None, advmss: None, table: None, scope: None }
    }
}

/// An address of the container's interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The address with the length of its link's prefix.
    pub prefix: IpNet,
    /// Reported in the CNI result; adds no route.
    pub gateway: Option<IpAddr>,
}

/// A Linux bridge on the node, created if it is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// An interface name.
    pub name: String,
    /// What the bridge itself carries, each with the length of its link's prefix.
    pub addresses: Vec<IpNet>,
    /// In bytes; none: 1,500 when it is created, else as it is.
    pub mtu: Option<u32>,
    /// Whether it takes in frames for whatever hardware address. Not together with a port's hairpin.
    pub promiscuous: bool,
    /// Whether it loses other addresses that stand in the way of these.
    pub exclusive: bool,
}

impl Bridge {
    /// One without addresses, as the kernel makes it.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), addresses: Vec::new(), mtu: None, promiscuous: false, exclusive: false }
    }

    /// Adds an address that the bridge carries, with the length of its link's prefix.
    pub fn address(mut self, prefix: IpNet) -> Self {
        self.addresses.push(prefix);
        self
    }
}

/// The VLANs of a bridge's port (IEEE 802.1Q), each 1 to 4,094.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortVlans {
    /// Of the frames without a tag.
    pub native: u16,
    /// First and last of ranges whose frames pass with their tag.
    pub tagged: Vec<(u16, u16)>,
    /// Whether frames of VLAN 1, which the kernel gives to every port, pass too.
    pub keep_default: bool,
}

/// A port of a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgePort {
    /// The bridge.
    pub bridge: Bridge,
    /// Whether a frame may leave by the port it came in by: a pod that reaches itself by a service's
    /// address needs it.
    pub hairpin: bool,
    /// Isolated ports reach the bridge, but not each other.
    pub isolated: bool,
    /// None: the bridge does not filter by VLAN, or the port is in the bridge's default VLAN.
    pub vlans: Option<PortVlans>,
}

impl BridgePort {
    /// A port as the kernel makes it.
    pub fn of(bridge: Bridge) -> Self {
        Self { bridge, hairpin: false, isolated: false, vlans: None }
    }
}

/// What a container must not pretend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpoofCheck {
    /// Another source hardware address than the plan's.
    pub mac: bool,
    /// Another source address than one of the plan's.
    pub address: bool,
}

impl SpoofCheck {
    /// Both.
    pub const ALL: Self = Self { mac: true, address: true };
}

/// How the host's end of the container's veth is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wiring {
    /// As a port of a bridge.
    Bridge(BridgePort),
    /// Point to point: the host gets a route to each of the container's addresses and answers for the
    /// gateways.
    Routed,
}

/// What the runtime may put into the container's resolv.conf(5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dns {
    /// Name servers, the preferred one first.
    pub nameservers: Vec<IpAddr>,
    /// The local domain.
    pub domain: Option<String>,
    /// Search domains.
    pub search: Vec<String>,
    /// Resolver options.
    pub options: Vec<String>,
}

/// What shall become true for one ADD. Begin with [`AddPlan::port_of`] or [`AddPlan::routed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddPlan {
    /// The name of the veth's end on the node; none: the host makes one.
    pub host_interface: Option<String>,
    /// How that end is connected.
    pub wiring: Wiring,
    /// Of the container's interface.
    pub addresses: Vec<Address>,
    /// Inside the container.
    pub routes: Vec<Route>,
    /// The hardware address of the container's end; none: the host makes one.
    pub mac: Option<String>,
    /// Of both ends, in bytes; none: that of the bridge, or 1,500.
    pub mtu: Option<u32>,
    /// For the container's resolver.
    pub dns: Option<Dns>,
    /// Names and values, for the container's network namespace.
    pub sysctls: Vec<(String, String)>,
    /// Whether the pod's packets leave the cluster's blocks with the node's own address.
    pub masquerade: bool,
    /// What the container must not pretend.
    pub spoof_check: SpoofCheck,
    /// Whether the kernel first asks the link for each IPv6 address if somebody has it already.
    pub duplicate_address_detection: bool,
    /// Whether the container's interface is left down. Not with addresses.
    pub interface_down: bool,
    /// Keys of later versions: a host refuses one that it does not know.
    pub extra: Vec<(String, String)>,
}

impl AddPlan {
    /// A veth whose other end is a port of a bridge.
    pub fn port_of(port: BridgePort) -> Self {
        Self::wired(Wiring::Bridge(port))
    }

    /// A veth with a route to it.
    pub fn routed() -> Self {
        Self::wired(Wiring::Routed)
    }

    fn wired(wiring: Wiring) -> Self {
        Self {
            host_interface: None,
            wiring,
            addresses: Vec::new(),
            routes: Vec::new(),
            mac: None,
            mtu: None,
            dns: None,
            sysctls: Vec::new(),
            masquerade: false,
            spoof_check: SpoofCheck::default(),
            duplicate_address_detection: false,
            interface_down: false,
            extra: Vec::new(),
        }
    }

    /// Adds an address to the container's interface.
    pub fn address(mut self, prefix: IpNet, gateway: Option<IpAddr>) -> Self {
        self.addresses.push(Address { prefix, gateway });
        self
    }

    /// Adds a route to the container.
    pub fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// Adds the default route of the next hop's family to the container.
    pub fn default_route(self, via: IpAddr) -> Self {
        self.route(Route::to(Family::of(via).everything(), Some(via)))
    }

    /// Adds default routes by way of the addresses' gateways, for the families that have none.
    pub fn default_routes(mut self) -> Self {
        let gateways: Vec<IpAddr> = self.addresses.iter().filter_map(|address| address.gateway).collect();
        for gateway in gateways {
            if !self.has_default_route(Family::of(gateway)) {
                self = self.default_route(gateway);
            }
        }
        self
    }

    /// Whether it has a default route of a family, by way of a next hop.
    pub fn has_default_route(&self, family: Family) -> bool {
        self.routes.iter().any(|route| route.destination == family.everything() && route.via.is_some())
    }

    /// Gives the container's end this hardware address; with none the host makes one.
    pub fn mac(mut self, mac: impl Into<Option<String>>) -> Self {
        self.mac = mac.into();
        self
    }

    /// Gives both ends this MTU, in bytes; with none they have that of the bridge, or 1,500.
    pub fn mtu(mut self, mtu: impl Into<Option<u32>>) -> Self {
        self.mtu = mtu.into();
        self
    }

    /// Names the veth's end on the node.
    pub fn host_interface(mut self, name: impl Into<String>) -> Self {
        self.host_interface = Some(name.into());
        self
    }

    /// Tells the container's resolver.
    pub fn dns(mut self, dns: Dns) -> Self {
        self.dns = Some(dns);
        self
    }

    /// Whether packets that leave the cluster's blocks get the node's own address.
    pub fn masquerade(mut self, masquerade: bool) -> Self {
        self.masquerade = masquerade;
        self
    }

    /// Stops what the container pretends.
    pub fn spoof_check(mut self, check: SpoofCheck) -> Self {
        self.spoof_check = check;
        self
    }

    /// Lets the kernel ask the link for IPv6 addresses before it uses them.
    pub fn duplicate_address_detection(mut self) -> Self {
        self.duplicate_address_detection = true;
        self
    }

    /// Leaves the container's interface down.
    pub fn interface_down(mut self) -> Self {
        self.interface_down = true;
        self
    }

    /// Sets a sysctl in the container's network namespace.
    pub fn sysctl(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.sysctls.push((name.into(), value.into()));
        self
    }
}

/// What becomes of the addresses that a DEL gave back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// They are free at once.
    Now,
    /// They rest for so many seconds.
    AfterSeconds(u32),
}

/// Where a route of the node leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextHop {
    /// To an address that the node reaches directly.
    Via(IpAddr),
    /// Nowhere: packets are dropped.
    Blackhole,
    /// Through the node's VXLAN device, to the peer that has this address.
    Tunnel(IpAddr),
}

/// A route on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRoute {
    /// A block inside the cluster's.
    pub destination: IpNet,
    /// Where it leads.
    pub next_hop: NextHop,
    /// Less is preferred.
    pub metric: Option<u32>,
}

/// The node's end of tunnels to its peers (RFC 7348).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vxlan {
    /// Its interface name.
    pub name: String,
    /// The VXLAN network identifier, 1 to 16,777,215; the same on every node.
    pub id: u32,
    /// The UDP port; the same on every node.
    pub port: u16,
    /// One of the node's addresses.
    pub local: IpAddr,
    /// In bytes: 50 less than the uplink's, 70 if `local` is IPv6.
    pub mtu: u32,
}

impl Vxlan {
    /// What tunnels from an address take of the uplink's MTU, in bytes: an outer header of 20 (IPv4) or 40 (IPv6), 8 of
    /// UDP, 8 of VXLAN, and the inner frame's 14.
    pub fn overhead(local: IpAddr) -> u32 {
        match Family::of(local) {
            Family::V4 => 50,
            Family::V6 => 70,
        }
    }
}

/// What shall be true on the node. What podwire made earlier and is not in it is taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodePlan {
    /// The node's bridges.
    pub bridges: Vec<Bridge>,
    /// Needed by a route through a tunnel.
    pub vxlan: Option<Vxlan>,
    /// The node's routes to pods elsewhere.
    pub routes: Vec<NodeRoute>,
    /// Blocks of the node's pools whose packets leave the cluster's blocks with the node's own address.
    pub masquerade: Vec<IpNet>,
    /// Keys of later versions: a host refuses one that it does not know.
    pub extra: Vec<(String, String)>,
}

impl NodePlan {
    /// Adds a bridge.
    pub fn bridge(mut self, bridge: Bridge) -> Self {
        self.bridges.push(bridge);
        self
    }

    /// Adds a route to pods elsewhere.
    pub fn route(mut self, destination: IpNet, next_hop: NextHop) -> Self {
        self.routes.push(NodeRoute { destination, next_hop, metric: None });
        self
    }

    /// Drops what is meant for a block, as far as no other route leads there: behind them all.
    pub fn blackhole(mut self, destination: IpNet) -> Self {
        let (next_hop, metric) = (NextHop::Blackhole, Some(u32::MAX));
        self.routes.push(NodeRoute { destination, next_hop, metric });
        self
    }

    /// Adds a route through the node's VXLAN device, to the peer that has this address.
    pub fn tunnel(self, destination: IpNet, peer: IpAddr) -> Self {
        self.route(destination, NextHop::Tunnel(peer))
    }

    /// Gives the node its end of tunnels.
    pub fn vxlan(mut self, vxlan: Vxlan) -> Self {
        self.vxlan = Some(vxlan);
        self
    }

    /// Lets what pods in a block of the node's pools send beyond the cluster's blocks leave with the node's own
    /// address.
    pub fn masquerade(mut self, block: IpNet) -> Self {
        self.masquerade.push(block);
        self
    }
}
