//! Port mappings: ports of the node that lead to pods.
//!
//! A connection to one of the node's own addresses is looked up in maps from port to pod, those for one address
//! first. Where the pod would answer its client directly, past the node, which alone knows what was asked for, the
//! client's address becomes the node's: the pod itself, its neighbours on the link, and the node's 127.0.0.0/8.
//! Others are seen by the pod as they are.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::field::Field;
use super::rule::{IPV4, IPV6, Rule, Verdict};
use super::table::{Chain, Definition, Family, Hook, Set};
use super::{NAT_DESTINATION, POSTROUTING};

const PREROUTING: Hook = Hook { kind: "nat", number: 0, priority: NAT_DESTINATION };
/// For the node's own connections.
const OUTPUT: Hook = Hook { kind: "nat", number: 3, priority: NAT_DESTINATION };
/// Before connections are looked up: until then, an answer to 127.0.0.0/8 bears the node's other address.
const RAW: Hook = Hook { kind: "filter", number: 0, priority: -300 };

const HOST_PORTS: &str = "host_ports";
const LOOPBACK: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8));
const LOOPBACK6: IpNet = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128));
/// `LOOPBACK_IFINDEX` of the kernel's net/flow.h.
const LOOPBACK_INDEX: u32 = 1;
/// linux/rtnetlink.h.
const RTN_LOCAL: u32 = 2;

const POD4: &[Field] = &[Field::Destination4, Field::DestinationPort];
const POD6: &[Field] = &[Field::Destination6, Field::DestinationPort];
const PORT: &[Field] = &[Field::TransportProtocol, Field::DestinationPort];
const PORT_OF4: &[Field] = &[Field::Destination4, Field::TransportProtocol, Field::DestinationPort];
const PORT_OF6: &[Field] = &[Field::Destination6, Field::TransportProtocol, Field::DestinationPort];

/// Ports of all of the node's addresses, and of one.
pub(super) const PORTS4: Set = set("ports4", PORT, POD4);
pub(super) const PORTS6: Set = set("ports6", PORT, POD6);
pub(super) const ADDRESS_PORTS4: Set = set("address_ports4", PORT_OF4, POD4);
pub(super) const ADDRESS_PORTS6: Set = set("address_ports6", PORT_OF6, POD6);
/// Pods that have no neighbours: their addresses, twice.
pub(super) const ITSELF4: Set = set("itself4", &[Field::Source4, Field::Destination4], &[]);
pub(super) const ITSELF6: Set = set("itself6", &[Field::Source6, Field::Destination6], &[]);

const fn set(name: &'static str, key: &'static [Field], data: &'static [Field]) -> Set {
    Set { family: Family::Inet, name: Cow::Borrowed(name), key, data }
}

/// The maps, and the way of a connection through them.
pub(super) fn definition() -> Definition {
    let chain = |name: &'static str, hook, rules| Chain { name: name.into(), hook, rules };
    let local = Rule::new().has(Field::DestinationType, &RTN_LOCAL.to_ne_bytes());
    let to_ports = vec![local.then(Verdict::Goto(HOST_PORTS))];
    let chains = vec![
        chain(HOST_PORTS, None, leading()),
        chain("ports_prerouting", Some(PREROUTING), to_ports.clone()),
        chain("ports_output", Some(OUTPUT), to_ports),
        chain("ports_postrouting", Some(POSTROUTING), answered_past_the_node()),
        chain("loopback", Some(RAW), keeping_off_loopback()),
    ];
    let sets = vec![PORTS4, PORTS6, ADDRESS_PORTS4, ADDRESS_PORTS6, ITSELF4, ITSELF6];
    Definition { family: Family::Inet, sets, chains }
}

/// What no map knows goes on as it came, unmarked. So does what is for ::1: the kernel takes no answer to it from a
/// link, and has no switch for that.
fn leading() -> Vec<Rule> {
    let lead = |map, family| Rule::new().has(Field::NetworkProtocol, &[family]).lead(map, family);
    vec![
        Rule::new().to(LOOPBACK6).then(Verdict::Return),
        Rule::new().mark(true),
        lead(&ADDRESS_PORTS4, IPV4),
        lead(&PORTS4, IPV4),
        lead(&ADDRESS_PORTS6, IPV6),
        lead(&PORTS6, IPV6),
        Rule::new().mark(false),
    ]
}

fn answered_past_the_node() -> Vec<Rule> {
    vec![
        Rule::new().marked(false).then(Verdict::Return),
        Rule::new().of_ipv4().in_set(&ITSELF4).masquerade(),
        Rule::new().of_ipv6().in_set(&ITSELF6).masquerade(),
        Rule::new().from(LOOPBACK).masquerade(),
    ]
}

/// [`super::serve_loopback`] has the kernel let such packets in; none but answers to the node may come.
fn keeping_off_loopback() -> Vec<Rule> {
    let outside = || Rule::new().has_not(Field::InputIndex, &LOOPBACK_INDEX.to_ne_bytes());
    vec![outside().from(LOOPBACK).then(Verdict::Drop), outside().to(LOOPBACK).then(Verdict::Drop)]
}

/// The pods with port mappings among those of one link.
pub(super) fn neighbours(link: IpNet) -> Set {
    let key: &[Field] = if link.addr().is_ipv4() { &[Field::Destination4] } else { &[Field::Destination6] };
    // nft(8) takes a slash in a name, but no colon.
    let name = format!("neighbours_{}", link.to_string().replace(':', "_"));
    Set { family: Family::Inet, name: name.into(), key, data: &[] }
}

/// The rule for one link, whose pods reach each other without the node.
pub(super) fn link_definition(link: IpNet) -> Definition {
    let set = neighbours(link);
    let rules = vec![
        Rule::new().marked(false).then(Verdict::Return),
        Rule::new().from(link).in_set(&set).masquerade(),
    ];
    let chains = vec![Chain { name: set.name.clone(), hook: Some(POSTROUTING), rules }];
    Definition { family: Family::Inet, sets: vec![set], chains }
}
