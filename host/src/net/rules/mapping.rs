//! What one plan has in the sets for port mappings.
//!
//! A mapping's own key does not say whose it is. So each family's mappings hang on one element that does: it has the
//! pod's address for its key, and is added and removed in the same batch. Where it is not, none of them is this
//! pod's.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::ports::{ADDRESS_PORTS4, ADDRESS_PORTS6, ITSELF4, ITSELF6, PORTS4, PORTS6, neighbours};
use super::rule::octets;
use super::table::{Element, Value};
use super::{Part, Role, Share};
use crate::plan::{Checked, PortMapping, Protocol, Wiring};

/// The elements of a plan's port mappings, for each family that the pod has.
pub(super) fn shares(plan: &Checked) -> Vec<Share> {
    let mut shares = Vec::new();
    for pod in targets(plan) {
        let mapped: Vec<Element> =
            plan.traffic.port_mappings.iter().filter_map(|mapping| element(mapping, pod.addr())).collect();
        if mapped.is_empty() {
            continue;
        }
        shares.push(claim(plan, pod));
        let role = Role::Claimed { ipv4: pod.addr().is_ipv4() };
        shares.push(Share { part: Part::Ports, role, elements: mapped });
    }
    shares
}

/// The first address of each family, with its link.
fn targets(plan: &Checked) -> impl Iterator<Item = IpNet> {
    let first =
        |ipv4: bool| plan.addresses.iter().find(move |address| address.prefix.addr().is_ipv4() == ipv4);
    [first(true), first(false)].into_iter().flatten().map(|address| address.prefix)
}

fn claim(plan: &Checked, pod: IpNet) -> Share {
    let address = octets(pod.addr());
    let (part, set, key) = match plan.wiring {
        Wiring::Bridge { .. } => {
            let link = pod.trunc();
            (Part::Link(link), neighbours(link), Value::default().and(&address))
        }
        Wiring::Routed => {
            let set = if pod.addr().is_ipv4() { ITSELF4 } else { ITSELF6 };
            (Part::Ports, set, Value::default().and(&address).and(&address))
        }
    };
    let element = Element { set, key, data: None, name: pod.addr().to_string() };
    Share { part, role: Role::Claim { ipv4: pod.addr().is_ipv4() }, elements: vec![element] }
}

/// None if the mapping is not of the address's family.
fn element(mapping: &PortMapping, pod: IpAddr) -> Option<Element> {
    let PortMapping { protocol, host_ip, host_port, container_port } = *mapping;
    if host_ip.is_some_and(|address| address.is_ipv4() != pod.is_ipv4()) {
        return None;
    }
    let of_address = host_ip.filter(|address| !address.is_unspecified());
    let set = match (of_address.is_some(), pod.is_ipv4()) {
        (false, true) => PORTS4,
        (false, false) => PORTS6,
        (true, true) => ADDRESS_PORTS4,
        (true, false) => ADDRESS_PORTS6,
    };
    let address = of_address.map(|address| Value::default().and(&octets(address))).unwrap_or_default();
    let key = address.and(&[number(protocol)]).and(&host_port.to_be_bytes());
    let data = Value::default().and(&octets(pod)).and(&container_port.to_be_bytes());
    Some(Element { set, key, data: Some(data), name: name(protocol, of_address, host_port) })
}

/// As in /etc/protocols.
pub(super) fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// "tcp port 8080", "udp port 53 of 192.168.1.11".
fn name(protocol: Protocol, of_address: Option<IpAddr>, port: u16) -> String {
    let protocol = match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    };
    let address = of_address.map(|address| format!(" of {address}")).unwrap_or_default();
    format!("{protocol} port {port}{address}")
}

/// The pod and its port, out of an element's data.
pub(super) fn pod(data: &[u8]) -> Option<SocketAddr> {
    let (address, port) = data.split_at_checked(data.len().checked_sub(4)?)?;
    let address = match address.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
    };
    Some(SocketAddr::new(address, u16::from_be_bytes([port[0], port[1]])))
}
