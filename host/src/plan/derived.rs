//! What follows from a plan without being said in it: [`crate::net`] makes it true, and [`super::script`]
//! prints it.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};
use sha2::{Digest as _, Sha256};

use super::{Bridge, Checked, DEFAULT_VLAN, PortVlans, Wiring};
use crate::names::{InterfaceName, MacAddress};

/// The node's own interface in a VLAN of a bridge: one end of a veth whose other end is a port of the bridge in that
/// VLAN. Like a bridge it is the node's, and stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VlanGateway {
    /// It carries what the plan gives the bridge.
    pub interface: Bridge,
    /// The other end.
    pub port: InterfaceName,
    /// Of the other end: one is given so that nobody draws one.
    pub port_mac: MacAddress,
    /// The only VLAN of that port.
    pub vlans: PortVlans,
}

/// What carries a bridge's addresses, if the bridge cannot: pods outside of its own VLAN would not reach it.
pub fn vlan_gateway(bridge: &Bridge, vlans: Option<&PortVlans>) -> Option<VlanGateway> {
    let native = vlans?.native;
    if native == DEFAULT_VLAN || bridge.addresses.is_empty() {
        return None;
    }
    let [name, port] = vlan_gateway_names(&bridge.name, native)?;
    let interface = Bridge { name, promiscuous: false, ..bridge.clone() };
    let mut port_mac = bridge_mac(&interface);
    // As the nodes' ends of pods have it.
    port_mac.0[0] = 0x0e;
    let vlans = PortVlans { native, tagged: Vec::new(), keep_default: false };
    Some(VlanGateway { interface, port, port_mac, vlans })
}

/// What such an interface and its port are called; none if the bridge's name leaves no room for the VLAN's number.
pub(super) fn vlan_gateway_names(bridge: &InterfaceName, vlan: u16) -> Option<[InterfaceName; 2]> {
    Some([format!("{bridge}.{vlan}").parse().ok()?, format!("{bridge}-{vlan}").parse().ok()?])
}

/// The bridge itself, and what carries its addresses in its place.
pub fn divided(bridge: &Bridge, vlans: Option<&PortVlans>) -> (Bridge, Option<VlanGateway>) {
    match vlan_gateway(bridge, vlans) {
        Some(gateway) => {
            let plain = Bridge { addresses: Vec::new(), exclusive: false, ..bridge.clone() };
            (plain, Some(gateway))
        }
        None => (bridge.clone(), None),
    }
}

/// The interface by which the node reaches the pods of a plan with a bridge.
pub fn node_interface(plan: &Checked) -> Option<InterfaceName> {
    let Wiring::Bridge { bridge, vlans, .. } = &plan.wiring else { return None };
    let gateway = vlan_gateway(bridge, vlans.as_ref());
    Some(gateway.map_or_else(|| bridge.name.clone(), |gateway| gateway.interface.name))
}

/// A bridge's hardware address: the same whenever and by whomever the bridge is made, for pods keep it in
/// their neighbour tables.
pub fn bridge_mac(bridge: &Bridge) -> MacAddress {
    by_address(match bridge.addresses.first() {
        Some(IpNet::V4(prefix)) => prefix.addr().octets(),
        _ => digest(bridge),
    })
}

/// The hardware address of the VXLAN device of a node that has this address, which so nobody has to tell the others. Of
/// IPv4 it is the address itself; of IPv6 a digest of forty bits, of which two nodes' may be alike once in a hundred
/// thousand clusters of 5,000.
pub fn tunnel_mac(node: IpAddr) -> MacAddress {
    match node {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            MacAddress([0x02, 0x58, a, b, c, d])
        }
        IpAddr::V6(address) => {
            let digest = Sha256::digest(address.octets());
            MacAddress([0x06, digest[0], digest[1], digest[2], digest[3], digest[4]])
        }
    }
}

/// Whether a hardware address is of those that podwire gives.
pub fn is_podwires(mac: MacAddress) -> bool {
    mac.0[..2] == by_address([0; 4]).0[..2]
}

/// Locally administered, and what a pod has by its IPv4 address if nobody chooses another.
fn by_address([a, b, c, d]: [u8; 4]) -> MacAddress {
    MacAddress([0x0a, 0x58, a, b, c, d])
}

fn digest(bridge: &Bridge) -> [u8; 4] {
    let mut hash = Sha256::new();
    hash.update(bridge.name.as_str());
    bridge.addresses.iter().for_each(|prefix| hash.update(prefix.to_string()));
    let digest = hash.finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

/// The addresses of a bridge with this hardware address: the plan's, and with IPv6 the link-local one,
/// without which the node cannot ask for a pod's hardware address when it forwards. Given rather than
/// drawn, it is in use at once.
pub fn bridge_addresses(bridge: &Bridge, mac: MacAddress) -> Vec<IpNet> {
    let mut addresses = bridge.addresses.clone();
    if has_ipv6(&addresses) {
        addresses.push(link_local(mac));
    }
    addresses
}

/// What the host's end carries when the pod is routed: every gateway of the plan, so that the node answers
/// for it, and with IPv6 a link-local address, without which it cannot ask for the pod's hardware address.
pub fn routed_addresses(plan: &Checked) -> Vec<IpNet> {
    let mut addresses: Vec<IpNet> = Vec::with_capacity(2);
    let gateways = plan.addresses.iter().filter_map(|address| address.gateway);
    for gateway in gateways.chain(plan.routes.iter().filter_map(|route| route.via)) {
        let prefix = on_host_end(gateway);
        if !addresses.contains(&prefix) {
            addresses.push(prefix);
        }
    }
    let ipv6 = plan.addresses.iter().any(|address| address.prefix.addr().is_ipv6());
    if ipv6 && !addresses.iter().any(|prefix| is_ipv6_link_local(prefix.addr())) {
        addresses.push(link_local(plan.host_mac));
    }
    addresses
}

/// Prefixes of the families of which the node forwards for the pod: those for which it is the pod's gateway.
pub fn forwarded(plan: &Checked) -> impl Iterator<Item = &IpNet> + Clone {
    let is_gateway = move |prefix: &&IpNet| match &plan.wiring {
        Wiring::Bridge { bridge, .. } => {
            bridge.addresses.iter().any(|own| own.addr().is_ipv4() == prefix.addr().is_ipv4())
        }
        Wiring::Routed => true,
    };
    plan.addresses.iter().map(|address| &address.prefix).filter(is_gateway)
}

/// A link-local prefix leads to the pod's own link-local address; other gateways stand for themselves.
fn on_host_end(gateway: IpAddr) -> IpNet {
    let host = IpNet::from(gateway);
    if is_ipv6_link_local(gateway) { IpNet::new(gateway, 64).unwrap_or(host) } else { host }
}

fn is_ipv6_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// The pod's addresses that somebody on the bridge may remember with another hardware address, from a pod that had
/// them before: those from which the pod's hardware address does not follow.
pub fn newly_paired(plan: &Checked) -> impl Iterator<Item = IpAddr> {
    let follows = |address: &IpAddr| match address {
        IpAddr::V4(address) => plan.mac == by_address(address.octets()),
        IpAddr::V6(_) => false,
    };
    plan.addresses.iter().map(|address| address.prefix.addr()).filter(move |address| !follows(address))
}

/// Whether a bridge that shall have the plan's addresses alone must lose this one.
pub fn is_in_the_way(bridge: &Bridge, found: &IpNet) -> bool {
    let in_the_way_of = |planned: &IpNet| match (planned, found) {
        (IpNet::V4(_), IpNet::V4(_)) => true,
        (IpNet::V6(planned), IpNet::V6(found)) => {
            let overlap = planned.contains(found) || found.contains(planned);
            overlap && !found.addr().is_unicast_link_local()
        }
        _ => false,
    };
    bridge.exclusive && !bridge.addresses.contains(found) && bridge.addresses.iter().any(in_the_way_of)
}

/// Whether any is of IPv6.
pub fn has_ipv6(prefixes: &[IpNet]) -> bool {
    prefixes.iter().any(|prefix| prefix.addr().is_ipv6())
}

/// The link-local address that belongs to a hardware address (RFC 4291, appendix A).
pub fn link_local(mac: MacAddress) -> IpNet {
    let [a, b, c, d, e, f] = mac.0.map(u16::from);
    let (ab, de) = ((a ^ 2) << 8 | b, 0xfe00 | d);
    let address = Ipv6Addr::new(0xfe80, 0, 0, 0, ab, c << 8 | 0xff, de, e << 8 | f);
    IpNet::V6(Ipv6Net::new_assert(address, 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::check::tests::{lecture, request};

    fn bridge(name: &str, addresses: &[&str]) -> Bridge {
        let addresses = addresses.iter().map(|a| a.parse().expect("valid")).collect();
        Bridge::plain(name.parse().expect("valid"), addresses)
    }

    #[test]
    fn the_hardware_address_follows_from_the_plan() {
        assert_eq!(bridge_mac(&bridge("cni0", &["10.244.1.1/24"])).to_string(), "0a:58:0a:f4:01:01");
        let (one, other) = (bridge("cni0", &["fd00:1::1/64"]), bridge("cni0", &["fd00:2::1/64"]));
        assert_eq!(bridge_mac(&one), bridge_mac(&one.clone()));
        assert_ne!(bridge_mac(&one), bridge_mac(&other));
        assert!(bridge_mac(&bridge("cni0", &[])).is_unicast());
    }

    #[test]
    fn tunnels_have_a_hardware_address_for_each_node() {
        let of = |node: &str| tunnel_mac(node.parse().expect("valid"));
        assert_eq!(of("192.168.1.11").to_string(), "02:58:c0:a8:01:0b");
        assert_ne!(of("fd00::1"), of("fd00::2"));
        assert_eq!(of("fd00::1"), of("fd00:0::1"));
        for node in ["192.168.1.11", "fd00::1"] {
            let mac = of(node);
            assert!(mac.is_unicast() && mac.0[0] & 2 != 0, "{mac} is no locally administered one");
            assert!(!is_podwires(mac), "{mac} might be a bridge's");
        }
    }

    #[test]
    fn link_local_addresses_follow_the_hardware_address() {
        let mac = MacAddress([0x0a, 0x58, 0x0a, 0xf4, 0x01, 0x02]);
        assert_eq!(link_local(mac).to_string(), "fe80::858:aff:fef4:102/64");
        let addresses = |planned: &[&str]| bridge_addresses(&bridge("cni0", planned), mac).len();
        assert_eq!((addresses(&["10.244.1.1/24"]), addresses(&["10.244.1.1/24", "fd00::1/64"])), (1, 3));
    }

    #[test]
    fn only_what_overlaps_is_in_the_way_and_only_where_the_plans_shall_be_alone() {
        let planned = Bridge { exclusive: true, ..bridge("cni0", &["10.244.1.1/24", "fd00:1::1/64"]) };
        let goes = |found: &str| is_in_the_way(&planned, &found.parse().expect("valid"));
        for other in [
            "10.244.1.2/24",
            "10.244.1.1/16",
            "192.0.2.1/32",
            "fd00:1::2/64",
            "fd00:9::1/16",
            "fd00:1::9/128",
        ] {
            assert!(goes(other), "{other}");
            let shared = Bridge { exclusive: false, ..planned.clone() };
            assert!(!is_in_the_way(&shared, &other.parse().expect("valid")), "{other}");
        }
        for own_or_elsewhere in ["10.244.1.1/24", "fd00:1::1/64", "fd00:2::1/64", "fe80::1/64"] {
            assert!(!goes(own_or_elsewhere), "{own_or_elsewhere}");
        }
        let of_one_family = Bridge { exclusive: true, ..bridge("cni0", &["fd00:1::1/64"]) };
        assert!(!is_in_the_way(&of_one_family, &"10.244.1.2/24".parse().expect("valid")));
        let everything = Bridge { exclusive: true, ..bridge("cni0", &["::1/0"]) };
        assert!(!is_in_the_way(&everything, &"fe80::1/64".parse().expect("valid")), "the kernel's own");
    }

    #[test]
    fn the_node_forwards_for_those_whose_gateway_it_is() {
        let mut plan = crate::plan::check::add(&request(), lecture()).expect("keeps every rule");
        let six = "fd00:1::2/64".parse().expect("valid");
        plan.addresses.push(crate::plan::Address { prefix: six, gateway: None });
        let families = |plan: &Checked| forwarded(plan).map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(families(&plan), ["10.244.1.2/24"], "the bridge has no address of IPv6");
        let Wiring::Bridge { bridge, .. } = &mut plan.wiring else { panic!("the lecture has a bridge") };
        bridge.addresses.clear();
        assert_eq!(families(&plan), [""; 0]);
        plan.wiring = Wiring::Routed;
        assert_eq!(families(&plan).len(), 2);
    }

    #[test]
    fn what_the_hardware_address_follows_from_is_known_to_all() {
        let mut plan = crate::plan::check::add(&request(), lecture()).expect("keeps every rule");
        let newly = |plan: &Checked| newly_paired(plan).map(|it| it.to_string()).collect::<Vec<_>>();
        assert_eq!(newly(&plan), [""; 0]);
        let six = "fd00:1::2/64".parse().expect("valid");
        plan.addresses.push(crate::plan::Address { prefix: six, gateway: None });
        assert_eq!(newly(&plan), ["fd00:1::2"]);
        plan.mac.0[5] += 1;
        assert_eq!(newly(&plan), ["10.244.1.2", "fd00:1::2"]);
    }
}
