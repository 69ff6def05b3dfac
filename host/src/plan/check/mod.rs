//! Every rule that a plan must keep, checked before anything is changed.
//!
//! Pure: it sees the request and the plan, nothing else. What only the lease database can know (an
//! address that somebody holds, an interface name in use) is refused there; what only the kernel can
//! know (a bridge that podwire did not make) is refused in [`crate::net`].
//!
//! | module | owns |
//! | --- | --- |
//! | this one | what a pod's plan must keep, and a bridge's in either plan |
//! | `node` | what a node's plan must keep |

mod node;

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;
use sha2::{Digest as _, Sha256};

use super::derived::vlan_gateway_names;
use super::limits;
use super::wishes::Wishes;
use super::{
    AddPlan, AddRequest, Address, Bridge, Checked, DEFAULT_VLAN, Dns, Masquerade, Node, PortVlans, Route,
    Traffic, Wiring,
};
use crate::names::{AttachmentId, InterfaceName, MacAddress, hex};

pub use node::node;

/// How the rule begins that an address breaks which is not the node's to give.
pub(crate) const OUTSIDE_POOLS: &str = "it must lie in one of the node's pools";

/// The rule that an address breaks which the network does not give.
pub(crate) const OUTSIDE_RANGES: &str = "it lies in none of the ranges of the network configuration's `ipam`";

/// A rule that a plan breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[error("{field} is {value}, but {rule}")]
pub struct Violation {
    /// Where in the plan, such as `addresses[0].prefix`.
    pub field: String,
    /// What stands there.
    pub value: String,
    /// The rule.
    pub rule: String,
}

pub(super) fn violation(field: impl ToString, value: impl ToString, rule: impl Into<String>) -> Violation {
    Violation { field: field.to_string(), value: value.to_string(), rule: rule.into() }
}

pub(super) type Outcome<T = ()> = Result<T, Violation>;

/// Checks what a policy proposes for an ADD, and fills in what it left to the host.
pub fn add(request: &AddRequest, plan: AddPlan) -> Outcome<Checked> {
    let node = &request.node;
    no_extra(&plan.extra)?;
    let wiring = wiring(request, plan.wiring)?;
    addresses(node, &wiring, &plan.addresses)?;
    in_ranges(request, &plan.addresses)?;
    routes(&wiring, &plan.addresses, &plan.routes)?;
    mtu("mtu", plan.mtu, has_ipv6(&plan.addresses))?;
    left_down(plan.interface_down, &plan.addresses)?;
    if let Some(dns) = &plan.dns {
        resolver(dns)?;
    }
    let id = &request.attachment;
    Ok(Checked {
        container_interface: id.ifname.clone(),
        host_interface: host_interface(id, &wiring, plan.host_interface.as_deref())?,
        wiring,
        mac: mac(id, plan.mac.as_deref(), &plan.addresses)?,
        host_mac: derived_mac(0x0e, &mac_tail(id)),
        addresses: plan.addresses,
        routes: plan.routes,
        mtu: plan.mtu,
        dns: plan.dns,
        sysctls: sysctls(&id.ifname, &plan.sysctls)?,
        traffic: Traffic {
            masquerade: plan.masquerade.then(|| Masquerade { except: node.cluster.clone() }),
            spoof_check: plan.spoof_check,
            port_mappings: request.port_mappings.clone(),
            bandwidth: request.bandwidth,
        },
        duplicate_address_detection: plan.duplicate_address_detection,
        interface_down: plan.interface_down,
    })
}

/// What is on record of an attachment whose interface another plugin made.
pub fn addresses_only(id: &AttachmentId, addresses: Vec<Address>) -> Checked {
    Checked {
        container_interface: id.ifname.clone(),
        host_interface: default_host_interface(id),
        wiring: Wiring::Routed,
        mac: default_mac(id, &addresses),
        host_mac: default_mac(id, &[]),
        addresses,
        routes: Vec::new(),
        mtu: None,
        dns: None,
        sysctls: Vec::new(),
        traffic: Traffic::default(),
        duplicate_address_detection: false,
        interface_down: false,
    }
}

fn no_extra(extra: &[(String, String)]) -> Outcome {
    match extra.first() {
        Some((key, value)) => {
            let value = format!("{:?} ({:?})", clip(key), clip(value));
            Err(violation("extra", value, "this version of podwire knows no such key"))
        }
        None => Ok(()),
    }
}

fn at_most(field: &str, len: usize, most: usize) -> Outcome {
    if len > most {
        return Err(violation(field, format!("a list of {len}"), format!("at most {most} are allowed")));
    }
    Ok(())
}

/// What a policy wrote, for an error message: short, and without control characters.
fn clip(text: &str) -> String {
    text.chars().take(64).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn interface_name(field: &str, name: &str) -> Outcome<InterfaceName> {
    if limits::KERNEL_NAMES.contains(&name) {
        return Err(violation(field, name, "the kernel keeps that name for itself"));
    }
    name.parse().map_err(|_| {
        let rule =
            "an interface name has 1 to 15 bytes and no '/', ':', '%' or white space, and is not '.' or '..'";
        violation(field, format!("{:?}", clip(name)), rule)
    })
}

fn host_interface(id: &AttachmentId, wiring: &Wiring, planned: Option<&str>) -> Outcome<InterfaceName> {
    let Some(planned) = planned else { return Ok(default_host_interface(id)) };
    let name = interface_name("host-interface", planned)?;
    match wiring {
        Wiring::Bridge { bridge, .. } if bridge.name == name => {
            Err(violation("host-interface", name, "that is the name of the plan's bridge"))
        }
        _ => Ok(name),
    }
}

fn wiring(request: &AddRequest, wiring: Wiring<String>) -> Outcome<Wiring> {
    let Wiring::Bridge { bridge: planned, hairpin, isolated, vlans } = wiring else {
        return Ok(Wiring::Routed);
    };
    let mut bridge = bridge("wiring.bridge", &request.node, planned)?;
    if bridge.promiscuous && hairpin {
        let rule = "a promiscuous bridge would send a pod's frames back to it twice: choose one of the two";
        return Err(violation("wiring.hairpin", hairpin, rule));
    }
    bridge.operators = request.operators_bridge.as_ref() == Some(&bridge.name);
    if bridge.operators {
        Wishes::of(&request.config).cover(&bridge)?;
    }
    if let Some(vlans) = &vlans {
        port_vlans(vlans)?;
        room_for_gateway(&bridge, vlans.native)?;
    }
    Ok(Wiring::Bridge { bridge, hairpin, isolated, vlans })
}

fn port_vlans(vlans: &PortVlans) -> Outcome {
    vlan("wiring.vlans.native", vlans.native)?;
    at_most("wiring.vlans.tagged", vlans.tagged.len(), limits::VLAN_RANGES)?;
    for (i, (first, last)) in vlans.tagged.iter().enumerate() {
        let field = format!("wiring.vlans.tagged[{i}]");
        vlan(&field, *first)?;
        vlan(&field, *last)?;
        if first > last {
            return Err(violation(field, format!("{first} to {last}"), "a range begins with its least"));
        }
    }
    Ok(())
}

/// What carries the bridge's addresses in a VLAN of its own is called after both.
fn room_for_gateway(bridge: &Bridge, vlan: u16) -> Outcome {
    let needs_one = vlan != DEFAULT_VLAN && !bridge.addresses.is_empty();
    if needs_one && vlan_gateway_names(&bridge.name, vlan).is_none() {
        let rule =
            format!("with addresses in VLAN {vlan}, \"{}.{vlan}\" must be 15 bytes at most", bridge.name);
        return Err(violation("wiring.bridge.name", &bridge.name, rule));
    }
    Ok(())
}

fn vlan(field: &str, id: u16) -> Outcome {
    let (first, last) = (limits::VLAN_IDS.start(), limits::VLAN_IDS.end());
    match limits::VLAN_IDS.contains(&id) {
        true => Ok(()),
        false => Err(violation(field, id, format!("a VLAN has a number from {first} to {last}"))),
    }
}

fn left_down(down: bool, addresses: &[Address]) -> Outcome {
    match addresses.first() {
        Some(address) if down => {
            let rule = format!("an interface that is down has no use for the address {}", address.prefix);
            Err(violation("interface-down", true, rule))
        }
        _ => Ok(()),
    }
}

/// The network configuration may narrow the pools.
fn in_ranges(request: &AddRequest, addresses: &[Address]) -> Outcome {
    let Some(sets) = &request.range_sets else { return Ok(()) };
    let allowed =
        |address: &&Address| sets.iter().flatten().any(|range| range.contains(address.prefix.addr()));
    match addresses.iter().position(|address| !allowed(&address)) {
        Some(i) => Err(violation(format!("addresses[{i}].prefix"), addresses[i].prefix, OUTSIDE_RANGES)),
        None => Ok(()),
    }
}

fn bridge(field: &str, node: &Node, bridge: Bridge<String>) -> Outcome<Bridge> {
    let name = interface_name(&format!("{field}.name"), &bridge.name)?;
    let within = format!("{field}.addresses");
    at_most(&within, bridge.addresses.len(), limits::ADDRESSES)?;
    for (i, prefix) in bridge.addresses.iter().enumerate() {
        pod_address(&format!("{within}[{i}]"), node, prefix)?;
    }
    mtu(&format!("{field}.mtu"), bridge.mtu, bridge.addresses.iter().any(is_ipv6))?;
    let Bridge { addresses, mtu, promiscuous, exclusive, .. } = bridge;
    let kept = if exclusive { node.addresses.clone() } else { Vec::new() };
    Ok(Bridge { name, addresses, mtu, promiscuous, exclusive, kept, operators: false })
}

fn is_ipv6(prefix: &IpNet) -> bool {
    matches!(prefix, IpNet::V6(_))
}

fn has_ipv6(addresses: &[Address]) -> bool {
    addresses.iter().any(|a| is_ipv6(&a.prefix))
}

fn mtu(field: &str, mtu: Option<u32>, ipv6: bool) -> Outcome {
    let Some(mtu) = mtu else { return Ok(()) };
    if !limits::MTU.contains(&mtu) {
        let rule = format!("it must be {} to {}", limits::MTU.start(), limits::MTU.end());
        return Err(violation(field, mtu, rule));
    }
    if ipv6 && mtu < limits::MTU_IPV6 {
        return Err(violation(field, mtu, format!("IPv6 needs at least {}", limits::MTU_IPV6)));
    }
    Ok(())
}

/// What holds for every address on a pod's link, a container's or a bridge's.
fn pod_address(field: &str, node: &Node, prefix: &IpNet) -> Outcome {
    let Some(pool) = node.pools.iter().find(|pool| pool.contains(&prefix.addr())) else {
        let rule = format!("{OUTSIDE_POOLS} ({})", list(&node.pools));
        return Err(violation(field, prefix, rule));
    };
    for block in [pool, prefix] {
        usable(field, block, prefix.addr(), prefix)?;
    }
    let link = prefix.trunc();
    if !node.cluster.iter().chain([pool]).any(|block| block.contains(&link)) {
        let rule = format!("its link would reach beyond the cluster's blocks ({})", list(&node.cluster));
        return Err(violation(field, prefix, rule));
    }
    if let Some(own) = node.addresses.iter().find(|own| link.contains(*own)) {
        return Err(violation(field, prefix, format!("its link would cover {own}, the node's own address")));
    }
    Ok(())
}

/// A machine has none of the two addresses that a block keeps for itself: its first, and in IPv4 its last.
/// Blocks of one or two addresses keep none (RFC 3021, RFC 6164).
fn usable(field: &str, block: &IpNet, address: IpAddr, value: impl ToString) -> Outcome {
    let kept = match block {
        _ if block.max_prefix_len() - block.prefix_len() < 2 => return Ok(()),
        _ if address == block.network() => "network",
        IpNet::V4(_) if address == block.broadcast() => "broadcast",
        _ => return Ok(()),
    };
    Err(violation(field, value, format!("that is the {kept} address of {}", block.trunc())))
}

fn list(blocks: &[IpNet]) -> String {
    blocks.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ")
}

fn addresses(node: &Node, wiring: &Wiring, addresses: &[Address]) -> Outcome {
    at_most("addresses", addresses.len(), limits::ADDRESSES)?;
    let mut seen = HashSet::new();
    for (i, address) in addresses.iter().enumerate() {
        let field = format!("addresses[{i}].prefix");
        pod_address(&field, node, &address.prefix)?;
        if !seen.insert(address.prefix.addr()) {
            return Err(violation(field, address.prefix, "the plan has it twice"));
        }
        if let Some(gateway) = address.gateway {
            gateway_of(&format!("addresses[{i}].gateway"), node, wiring, &address.prefix, gateway)?;
        }
    }
    keep_gateways(wiring, addresses)
}

/// A gateway is somebody else on the pod's link. When the pod is `routed` the node itself answers for it,
/// so it must not be an address that means something elsewhere.
fn gateway_of(field: &str, node: &Node, wiring: &Wiring, prefix: &IpNet, gateway: IpAddr) -> Outcome {
    let pool = node.pools.iter().find(|pool| pool.contains(&gateway));
    let problem = match (wiring, pool) {
        (Wiring::Bridge { .. }, _) if prefix.contains(&gateway) => {
            return usable(field, prefix, gateway, gateway);
        }
        (Wiring::Bridge { .. }, _) => format!("it must lie on the address's link, {}", prefix.trunc()),
        (Wiring::Routed, _) if gateway.is_ipv4() != prefix.addr().is_ipv4() => {
            format!("it must be of the same family as {prefix}")
        }
        (Wiring::Routed, Some(pool)) => return usable(field, pool, gateway, gateway),
        (Wiring::Routed, None) if is_link_local_gateway(gateway) => return Ok(()),
        (Wiring::Routed, None) => {
            "it must lie in 169.254.1.0/24, fe80::/10 or one of the node's pools".to_owned()
        }
    };
    Err(violation(field, gateway, problem))
}

/// In IPv6 a link-local address belongs to one interface; in IPv4 it is the whole node's.
fn is_link_local_gateway(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => limits::LINK_LOCAL_GATEWAYS.contains(&v4),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn keep_gateways(wiring: &Wiring, addresses: &[Address]) -> Outcome {
    let bridge = match wiring {
        Wiring::Bridge { bridge, .. } => bridge.addresses.as_slice(),
        Wiring::Routed => &[],
    };
    for (i, address) in addresses.iter().enumerate() {
        let own = address.prefix.addr();
        let what = if bridge.iter().any(|b| b.addr() == own) {
            "the bridge's own address"
        } else if addresses.iter().any(|a| a.gateway == Some(own)) {
            "a gateway"
        } else {
            continue;
        };
        return Err(violation(format!("addresses[{i}].prefix"), address.prefix, format!("that is {what}")));
    }
    Ok(())
}

fn routes(wiring: &Wiring, addresses: &[Address], routes: &[Route]) -> Outcome {
    at_most("routes", routes.len(), limits::ROUTES)?;
    let mut seen = HashSet::new();
    for (i, route) in routes.iter().enumerate() {
        let field = format!("routes[{i}]");
        block(format!("{field}.destination"), &route.destination)?;
        next_hop(&field, wiring, addresses, route)?;
        mtu(&format!("{field}.mtu"), route.mtu, is_ipv6(&route.destination))?;
        details(&field, route)?;
        if !seen.insert((route.destination, route.metric, route.table.unwrap_or(limits::MAIN_TABLE))) {
            let rule = "the plan has a route to it with the same metric already";
            return Err(violation(format!("{field}.destination"), route.destination, rule));
        }
    }
    Ok(())
}

fn details(field: &str, route: &Route) -> Outcome {
    if let Some(advmss) = route.advmss.filter(|advmss| !limits::ADVMSS.contains(advmss)) {
        return Err(violation(format!("{field}.advmss"), advmss, "a segment has 1 to 65535 bytes"));
    }
    if let Some(table) = route.table.filter(|table| limits::KERNEL_TABLES.contains(table)) {
        return Err(violation(format!("{field}.table"), table, "that table is the kernel's"));
    }
    if let Some(scope) = route.scope.filter(|scope| !limits::SCOPES.contains(scope)) {
        let rule = "a scope is 0 (anywhere), 200 (site), 253 (link) or 254 (host)";
        return Err(violation(format!("{field}.scope"), scope, rule));
    }
    Ok(())
}

fn block(field: impl ToString, block: &IpNet) -> Outcome {
    if *block != block.trunc() {
        return Err(violation(field, block, format!("a block has no host bits: {}", block.trunc())));
    }
    Ok(())
}

fn next_hop(field: &str, wiring: &Wiring, addresses: &[Address], route: &Route) -> Outcome {
    let ipv4 = route.destination.addr().is_ipv4();
    if !addresses.iter().any(|a| a.prefix.addr().is_ipv4() == ipv4) {
        let rule = "the plan has no address of its family";
        return Err(violation(format!("{field}.destination"), route.destination, rule));
    }
    let Some(via) = route.via else { return Ok(()) };
    let field = format!("{field}.via");
    if via.is_ipv4() != ipv4 {
        return Err(violation(field, via, format!("{} is of another family", route.destination)));
    }
    if addresses.iter().any(|a| a.prefix.addr() == via) {
        return Err(violation(field, via, "that is the pod's own address"));
    }
    if addresses.iter().any(|a| a.gateway == Some(via)) {
        return Ok(());
    }
    // A routed pod's link has nobody on it but the node, which answers for the gateways.
    let on_link = |a: &&Address| matches!(wiring, Wiring::Bridge { .. }) && a.prefix.contains(&via);
    match addresses.iter().find(on_link) {
        Some(address) => usable(&field, &address.prefix, via, via),
        None => {
            let rule = "it must lie on the link of one of the plan's addresses, or be the gateway of one";
            Err(violation(field, via, rule))
        }
    }
}

fn mac(id: &AttachmentId, planned: Option<&str>, addresses: &[Address]) -> Outcome<MacAddress> {
    let Some(text) = planned else { return Ok(default_mac(id, addresses)) };
    match text.parse::<MacAddress>() {
        Ok(mac) if mac.is_unicast() => Ok(mac),
        Ok(_) => Err(violation(
            "mac",
            text,
            "an interface needs a unicast address: the first octet even, not all zero",
        )),
        Err(_) => {
            Err(violation("mac", format!("{:?}", clip(text)), "it must have the form 0a:58:0a:f4:01:02"))
        }
    }
}

/// The address follows from the IPv4 address, so a neighbour's cache that still has the address's last
/// owner is right already.
fn default_mac(id: &AttachmentId, addresses: &[Address]) -> MacAddress {
    let ipv4 = addresses.iter().find_map(|a| match a.prefix.addr() {
        IpAddr::V4(v4) => Some(v4.octets()),
        IpAddr::V6(_) => None,
    });
    derived_mac(0x0a, &ipv4.unwrap_or_else(|| mac_tail(id)))
}

/// Locally administered and unicast (IEEE 802, section 8.2.2): 0x0a and 0x0e have the bits `10`.
fn derived_mac(first: u8, tail: &[u8; 4]) -> MacAddress {
    MacAddress([first, 0x58, tail[0], tail[1], tail[2], tail[3]])
}

/// What a default name does not have of the hash.
fn mac_tail(id: &AttachmentId) -> [u8; 4] {
    let hash = digest(id);
    [hash[6], hash[7], hash[8], hash[9]]
}

fn digest(id: &AttachmentId) -> [u8; 32] {
    Sha256::digest(id.to_string()).into()
}

/// 48 bits: among 1,000 pods of a node, two collide once in half a billion nodes; then the lease database
/// refuses the second, and nothing is harmed.
fn default_host_interface(id: &AttachmentId) -> InterfaceName {
    let mut name = String::from("pw");
    name.extend(digest(id)[..6].iter().flat_map(|byte| hex(*byte)).map(char::from));
    name.parse().expect("14 bytes of letters and digits are an interface name")
}

fn resolver(dns: &Dns) -> Outcome {
    at_most("dns.nameservers", dns.nameservers.len(), limits::DNS_ENTRIES)?;
    at_most("dns.search", dns.search.len(), limits::DNS_ENTRIES)?;
    at_most("dns.options", dns.options.len(), limits::DNS_ENTRIES)?;
    let words = dns.domain.iter().map(|d| ("dns.domain", d));
    let words = words.chain(dns.search.iter().map(|s| ("dns.search", s)));
    for (field, word) in words.chain(dns.options.iter().map(|o| ("dns.options", o))) {
        if word.is_empty() || word.len() > limits::STRING || !word.bytes().all(|b| b.is_ascii_graphic()) {
            let rule =
                "it must be one word of printable ASCII, at most 253 bytes, as resolv.conf(5) takes it";
            return Err(violation(field, format!("{:?}", clip(word)), rule));
        }
    }
    Ok(())
}

/// As paths below /proc/sys, because an interface's name may have a dot.
fn sysctls(interface: &InterfaceName, planned: &[(String, String)]) -> Outcome<Vec<(String, String)>> {
    at_most("sysctls", planned.len(), limits::SYSCTLS)?;
    planned.iter().enumerate().map(|(i, (name, value))| sysctl(interface, i, name, value)).collect()
}

fn sysctl(interface: &InterfaceName, i: usize, name: &str, value: &str) -> Outcome<(String, String)> {
    let named = |template: &&&str| template.replace("{interface}", interface.as_str()) == name;
    let Some(template) = limits::ALLOWED_SYSCTLS.iter().find(named) else {
        let rule = "it is not on the list of sysctls that a plan may set";
        return Err(violation(format!("sysctls[{i}]"), format!("{:?}", clip(name)), rule));
    };
    let plain = |byte: u8| byte.is_ascii_digit() || b" \t,-".contains(&byte);
    if value.is_empty() || value.len() > limits::STRING || !value.bytes().all(plain) {
        let rule = "a sysctl's value has digits, blanks, ',' and '-' only, at most 253 bytes";
        return Err(violation(format!("sysctls[{i}] ({name})"), format!("{:?}", clip(value)), rule));
    }
    let path = template.replace('.', "/").replace("{interface}", interface.as_str());
    Ok((path, value.to_owned()))
}

#[cfg(test)]
pub(super) mod tests;
