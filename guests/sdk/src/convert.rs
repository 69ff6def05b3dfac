//! Between the contract's types and ours, field by field.

use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;

use crate::raw::types as wit;
use crate::{
    AddPlan, AddRequest, Address, AddressRange, Bridge, BridgePort, DelRequest, Dns, NextHop, Node, NodePlan,
    NodeRequest, NodeRoute, Peer, Pod, PortVlans, Refusal, RefusalReason, Release, Role, Route, SpoofCheck,
    Uplink, Vxlan, Wiring,
};

fn all<T, U: From<T>>(list: Vec<T>) -> Vec<U> {
    list.into_iter().map(U::from).collect()
}

impl From<wit::IpAddress> for IpAddr {
    fn from(address: wit::IpAddress) -> Self {
        match address {
            wit::IpAddress::Ipv4((a, b, c, d)) => [a, b, c, d].into(),
            wit::IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => [a, b, c, d, e, f, g, h].into(),
        }
    }
}

impl From<IpAddr> for wit::IpAddress {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::Ipv4(address.octets().into()),
            IpAddr::V6(address) => Self::Ipv6(address.segments().into()),
        }
    }
}

impl From<wit::IpPrefix> for IpNet {
    fn from(prefix: wit::IpPrefix) -> Self {
        IpNet::new(prefix.address.into(), prefix.length).expect("the host sends lengths of the family")
    }
}

impl From<IpNet> for wit::IpPrefix {
    fn from(prefix: IpNet) -> Self {
        Self { address: prefix.addr().into(), length: prefix.prefix_len() }
    }
}

impl From<wit::Node> for Node {
    fn from(node: wit::Node) -> Self {
        Self {
            name: node.name,
            addresses: all(node.addresses),
            pools: all(node.pools),
            cluster: all(node.cluster),
        }
    }
}

impl From<wit::Role> for Role {
    fn from(role: wit::Role) -> Self {
        match role {
            wit::Role::Host => Self::Host,
            wit::Role::Router => Self::Router,
        }
    }
}

impl From<wit::Uplink> for Uplink {
    fn from(uplink: wit::Uplink) -> Self {
        Self { name: uplink.name, addresses: all(uplink.addresses), mtu: uplink.mtu }
    }
}

impl From<wit::Peer> for Peer {
    fn from(peer: wit::Peer) -> Self {
        Self {
            name: peer.name,
            role: peer.role.into(),
            addresses: all(peer.addresses),
            pools: all(peer.pools),
        }
    }
}

impl From<wit::Pod> for Pod {
    fn from(pod: wit::Pod) -> Self {
        let wit::Pod { namespace, name, uid, annotations } = pod;
        Self { namespace, name, uid, annotations }
    }
}

impl From<wit::AddressRange> for AddressRange {
    fn from(range: wit::AddressRange) -> Self {
        Self {
            subnet: range.subnet.into(),
            first: range.first.into(),
            last: range.last.into(),
            gateway: range.gateway.map(Into::into),
        }
    }
}

impl From<wit::Route> for Route {
    fn from(route: wit::Route) -> Self {
        Self {
            destination: route.destination.into(),
            via: route.via.map(Into::into),
            mtu: route.mtu,
            metric: route.metric,
            advmss: route.advmss,
            table: route.table,
            scope: route.scope,
        }
    }
}

impl From<wit::AddRequest> for AddRequest {
    fn from(request: wit::AddRequest) -> Self {
        Self {
            network: request.network,
            container_id: request.container_id,
            ifname: request.ifname,
            pod: request.pod.map(Into::into),
            node: request.node.into(),
            requested_addresses: all(request.requested_addresses),
            requested_mac: request.requested_mac,
            range_sets: request.range_sets.map(|sets| sets.into_iter().map(all).collect()),
            requested_routes: all(request.requested_routes),
            extra: request.extra,
        }
    }
}

impl From<wit::DelRequest> for DelRequest {
    fn from(request: wit::DelRequest) -> Self {
        Self {
            network: request.network,
            container_id: request.container_id,
            ifname: request.ifname,
            pod: request.pod.map(Into::into),
            addresses: all(request.addresses),
        }
    }
}

impl From<wit::NodeRequest> for NodeRequest {
    fn from(request: wit::NodeRequest) -> Self {
        Self {
            node: request.node.into(),
            role: request.role.into(),
            uplinks: all(request.uplinks),
            peers: all(request.peers),
            extra: request.extra,
        }
    }
}

impl From<Route> for wit::Route {
    fn from(route: Route) -> Self {
        Self {
            destination: route.destination.into(),
            via: route.via.map(Into::into),
            mtu: route.mtu,
            metric: route.metric,
            advmss: route.advmss,
            table: route.table,
            scope: route.scope,
        }
    }
}

impl From<Address> for wit::Address {
    fn from(address: Address) -> Self {
        Self { prefix: address.prefix.into(), gateway: address.gateway.map(Into::into) }
    }
}

impl From<Bridge> for wit::Bridge {
    fn from(bridge: Bridge) -> Self {
        let Bridge { name, addresses, mtu, promiscuous, exclusive } = bridge;
        Self { name, addresses: all(addresses), mtu, promiscuous, exclusive }
    }
}

impl From<PortVlans> for wit::PortVlans {
    fn from(vlans: PortVlans) -> Self {
        let PortVlans { native, tagged, keep_default } = vlans;
        Self { native, tagged, keep_default }
    }
}

impl From<BridgePort> for wit::BridgePort {
    fn from(port: BridgePort) -> Self {
        let BridgePort { bridge, hairpin, isolated, vlans } = port;
        Self { bridge: bridge.into(), hairpin, isolated, vlans: vlans.map(Into::into) }
    }
}

impl From<SpoofCheck> for wit::SpoofCheck {
    fn from(check: SpoofCheck) -> Self {
        let chosen = |chosen, flag| if chosen { flag } else { Self::empty() };
        chosen(check.mac, Self::MAC) | chosen(check.address, Self::ADDRESS)
    }
}

impl From<Wiring> for wit::Wiring {
    fn from(wiring: Wiring) -> Self {
        match wiring {
            Wiring::Bridge(port) => Self::Bridge(port.into()),
            Wiring::Routed => Self::Routed,
        }
    }
}

impl From<Dns> for wit::Dns {
    fn from(dns: Dns) -> Self {
        let Dns { nameservers, domain, search, options } = dns;
        Self { nameservers: all(nameservers), domain, search, options }
    }
}

impl From<AddPlan> for wit::AddPlan {
    fn from(plan: AddPlan) -> Self {
        Self {
            host_interface: plan.host_interface,
            wiring: plan.wiring.into(),
            addresses: all(plan.addresses),
            routes: all(plan.routes),
            mac: plan.mac,
            mtu: plan.mtu,
            dns: plan.dns.map(Into::into),
            sysctls: plan.sysctls,
            masquerade: plan.masquerade,
            spoof_check: plan.spoof_check.into(),
            duplicate_address_detection: plan.duplicate_address_detection,
            interface_down: plan.interface_down,
            extra: plan.extra,
        }
    }
}

impl From<Release> for wit::Release {
    fn from(release: Release) -> Self {
        match release {
            Release::Now => Self::Now,
            Release::AfterSeconds(seconds) => Self::AfterSeconds(seconds),
        }
    }
}

impl From<NextHop> for wit::NextHop {
    fn from(next_hop: NextHop) -> Self {
        match next_hop {
            NextHop::Via(address) => Self::Via(address.into()),
            NextHop::Blackhole => Self::Blackhole,
            NextHop::Tunnel(address) => Self::Tunnel(address.into()),
        }
    }
}

impl From<NodeRoute> for wit::NodeRoute {
    fn from(route: NodeRoute) -> Self {
        Self { destination: route.destination.into(), next_hop: route.next_hop.into(), metric: route.metric }
    }
}

impl From<Vxlan> for wit::Vxlan {
    fn from(vxlan: Vxlan) -> Self {
        let Vxlan { name, id, port, local, mtu } = vxlan;
        Self { name, id, port, local: local.into(), mtu }
    }
}

impl From<NodePlan> for wit::NodePlan {
    fn from(plan: NodePlan) -> Self {
        Self {
            bridges: all(plan.bridges),
            vxlan: plan.vxlan.map(Into::into),
            routes: all(plan.routes),
            masquerade: all(plan.masquerade),
            extra: plan.extra,
        }
    }
}

impl From<RefusalReason> for wit::RefusalReason {
    fn from(reason: RefusalReason) -> Self {
        match reason {
            RefusalReason::InvalidConfig => Self::InvalidConfig,
            RefusalReason::Denied => Self::Denied,
            RefusalReason::Exhausted => Self::Exhausted,
            RefusalReason::TryAgain => Self::TryAgain,
        }
    }
}

/// The host takes no longer message of a refusal, in bytes.
const MESSAGE: usize = 1_024;

impl From<Refusal> for wit::Refusal {
    fn from(refusal: Refusal) -> Self {
        let Refusal { reason, mut message } = refusal;
        message.truncate(message.floor_char_boundary(MESSAGE));
        Self { reason: reason.into(), message }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString as _};

    use super::*;

    #[test]
    fn addresses_go_and_come_back() {
        for text in ["10.244.1.2/24", "fd00:10:244:1::2/64", "0.0.0.0/0", "::/0"] {
            let prefix: IpNet = text.parse().expect("a prefix");
            assert_eq!(IpNet::from(wit::IpPrefix::from(prefix)), prefix);
        }
        let wit::IpAddress::Ipv4(octets) = IpAddr::from([10, 244, 1, 2]).into() else {
            panic!("an IPv4 address became an IPv6 one");
        };
        assert_eq!(octets, (10, 244, 1, 2), "in the order in which they are written");
    }

    #[test]
    fn spoof_checks_are_the_contracts_flags() {
        for (mac, address) in [(false, false), (true, false), (false, true), (true, true)] {
            let flags = wit::SpoofCheck::from(SpoofCheck { mac, address });
            assert_eq!(flags.contains(wit::SpoofCheck::MAC), mac);
            assert_eq!(flags.contains(wit::SpoofCheck::ADDRESS), address);
        }
    }

    #[test]
    fn a_refusal_is_as_long_as_the_host_takes_it() {
        let of = |message: String| wit::Refusal::from(Refusal::denied(message)).message;
        assert_eq!(of("x".repeat(MESSAGE)).len(), MESSAGE);
        assert_eq!(of("ä".repeat(MESSAGE)), "ä".repeat(MESSAGE / 2));
        assert_eq!(of("x".to_string() + &"ä".repeat(MESSAGE)).len(), MESSAGE - 1);
    }
}
