//! The node's interfaces into the network between nodes.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::net::link::Link;
use crate::net::route::Hop;
use crate::net::socket::Socket;
use crate::net::{Error, address, link, route};
use crate::plan::Uplink;

/// Those that carry one of the addresses, with all of their addresses; or, if no address is given, those of the
/// default routes. Never one of podwire's own, nor the loopback interface.
pub fn uplinks(addresses: &[IpAddr]) -> Result<Vec<Uplink>, Error> {
    let mut socket = Socket::route()?;
    let mut carried: HashMap<u32, Vec<IpNet>> = HashMap::new();
    for found in address::all(&mut socket)? {
        carried.entry(found.index).or_default().push(found.prefix);
    }
    let wanted: HashSet<u32> = if addresses.is_empty() {
        of_default_routes(&mut socket)?
    } else {
        let is_one = |prefix: &IpNet| addresses.contains(&prefix.addr());
        carried.iter().filter(|(_, prefixes)| prefixes.iter().any(is_one)).map(|(index, _)| *index).collect()
    };
    let mut found = link::all(&mut socket)?;
    found.retain(|link| wanted.contains(&link.index) && is_uplink(link));
    found.sort_by_key(|link| link.index);
    let uplink = |link: Link| {
        let addresses = carried.remove(&link.index).unwrap_or_default();
        link.name.parse().ok().map(|name| Uplink { name, addresses, mtu: link.mtu })
    };
    Ok(found.into_iter().filter_map(uplink).collect())
}

fn is_uplink(link: &Link) -> bool {
    !link.is_ours() && !link.loopback
}

fn of_default_routes(socket: &mut Socket) -> Result<HashSet<u32>, Error> {
    let interface = |found: route::Found| match found.hop? {
        Hop::Link { interface } | Hop::Via { interface: Some(interface), .. } => Some(interface),
        _ => None,
    };
    let found = route::all(socket)?.into_iter().filter(|found| found.destination.prefix_len() == 0);
    Ok(found.filter_map(interface).collect())
}
