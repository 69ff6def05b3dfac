//! From the vocabulary of [`crate::plan`] to the contract's types: what a policy is asked, or told.

use std::net::IpAddr;

use ipnet::IpNet;

use super::bindings::podwire::policy::{leases as wit_leases, types as wit};
use crate::leases;
use crate::plan;

pub(super) fn ip(address: IpAddr) -> wit::IpAddress {
    match address {
        IpAddr::V4(address) => wit::IpAddress::Ipv4(address.octets().into()),
        IpAddr::V6(address) => wit::IpAddress::Ipv6(address.segments().into()),
    }
}

fn ips(addresses: &[IpAddr]) -> Vec<wit::IpAddress> {
    addresses.iter().copied().map(ip).collect()
}

fn prefix(prefix: &IpNet) -> wit::IpPrefix {
    wit::IpPrefix { address: ip(prefix.addr()), length: prefix.prefix_len() }
}

fn prefixes(prefixes: &[IpNet]) -> Vec<wit::IpPrefix> {
    prefixes.iter().map(prefix).collect()
}

fn ranges(set: &[plan::AddressRange]) -> Vec<wit::AddressRange> {
    set.iter().map(range).collect()
}

fn this_node(node: &plan::Node) -> wit::Node {
    wit::Node {
        name: node.name.clone(),
        addresses: ips(&node.addresses),
        pools: prefixes(&node.pools),
        cluster: prefixes(&node.cluster),
    }
}

fn peer(peer: &plan::Peer) -> wit::Peer {
    wit::Peer {
        name: peer.name.clone(),
        role: role(peer.role),
        addresses: ips(&peer.addresses),
        pools: prefixes(&peer.pools),
    }
}

fn pod(pod: &plan::Pod) -> wit::Pod {
    wit::Pod {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        uid: pod.uid.clone(),
        annotations: pod.annotations.clone(),
    }
}

fn range(range: &plan::AddressRange) -> wit::AddressRange {
    wit::AddressRange {
        subnet: prefix(&range.subnet),
        first: ip(range.first),
        last: ip(range.last),
        gateway: range.gateway.map(ip),
    }
}

fn route(route: &plan::Route) -> wit::Route {
    wit::Route {
        destination: prefix(&route.destination),
        via: route.via.map(ip),
        mtu: route.mtu,
        metric: route.metric,
        advmss: route.advmss,
        table: route.table,
        scope: route.scope,
    }
}

pub(super) fn add(request: &plan::AddRequest) -> wit::AddRequest {
    wit::AddRequest {
        network: request.network.to_string(),
        container_id: request.attachment.container_id.to_string(),
        ifname: request.attachment.ifname.to_string(),
        pod: request.pod.as_ref().map(pod),
        node: this_node(&request.node),
        requested_addresses: prefixes(&request.requested_addresses),
        requested_mac: request.requested_mac.map(|mac| mac.to_string()),
        range_sets: request.range_sets.as_ref().map(|sets| sets.iter().map(|set| ranges(set)).collect()),
        requested_routes: request.requested_routes.iter().map(route).collect(),
        config: request.config.clone(),
        extra: Vec::new(),
    }
}

pub(super) fn del(request: &plan::DelRequest) -> wit::DelRequest {
    wit::DelRequest {
        network: request.network.to_string(),
        container_id: request.attachment.container_id.to_string(),
        ifname: request.attachment.ifname.to_string(),
        pod: request.pod.as_ref().map(pod),
        addresses: ips(&request.addresses),
        config: request.config.clone(),
    }
}

fn role(role: plan::Role) -> wit::Role {
    match role {
        plan::Role::Host => wit::Role::Host,
        plan::Role::Router => wit::Role::Router,
    }
}

fn uplink(uplink: &plan::Uplink) -> wit::Uplink {
    wit::Uplink { name: uplink.name.to_string(), addresses: prefixes(&uplink.addresses), mtu: uplink.mtu }
}

pub(super) fn node(request: &plan::NodeRequest) -> wit::NodeRequest {
    wit::NodeRequest {
        node: this_node(&request.node),
        role: role(request.role),
        uplinks: request.uplinks.iter().map(uplink).collect(),
        peers: request.peers.iter().map(peer).collect(),
        config: request.config.clone(),
        extra: Vec::new(),
    }
}

pub(super) fn holder(holder: leases::Holder) -> wit_leases::Holder {
    wit_leases::Holder {
        network: holder.network.into(),
        container_id: holder.attachment.container_id.into(),
        ifname: holder.attachment.ifname.into(),
        pod: holder.pod,
    }
}
