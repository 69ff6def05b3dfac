//! Spoof check: what a pod sends under another's address does not leave it.
//!
//! Frames of a bridge's ports are looked at before the bridge learns from them, but for LLDP's, of which it learns
//! before anybody may look. Packets of a routed pod are looked at before connections are; ARP, which there is
//! between the pod and the node alone, is not.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use ipnet::{IpNet, Ipv6Net};

use super::field::Field;
use super::rule::{Rule, Verdict, octets};
use super::table::{Chain, Definition, Element, Family, Hook, Set, Value};
use super::{Part, Role, Share};
use crate::names::InterfaceName;
use crate::plan::{Checked, Wiring};

/// Before connections are looked up, and before a bridge hands frames to the rules for packets (br_netfilter).
const PREROUTING: Hook = Hook { kind: "filter", number: 0, priority: -300 };

/// EtherTypes of linux/if_ether.h.
const IPV4: [u8; 2] = [0x08, 0x00];
const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];

const LINK_LOCAL: IpNet = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10));
const ADDRESSES: &str = "spoof_address";

/// The sets of one family.
struct Sets {
    /// Interfaces whose hardware addresses are checked.
    mac_checked: Set,
    macs: Set,
    /// Interfaces whose addresses are checked.
    address_checked: Set,
    addresses4: Set,
    addresses6: Set,
}

impl Sets {
    fn of(family: Family) -> Self {
        let set = |name, key: &'static [Field]| Set { family, name: Cow::Borrowed(name), key, data: &[] };
        Self {
            mac_checked: set("mac_checked", &[Field::InputName]),
            macs: set("macs", &[Field::InputName, Field::SourceMac]),
            address_checked: set("address_checked", &[Field::InputName]),
            addresses4: set("addresses4", &[Field::InputName, Field::Source4]),
            addresses6: set("addresses6", &[Field::InputName, Field::Source6]),
        }
    }
}

pub(super) fn definition(family: Family) -> Definition {
    let sets = Sets::of(family);
    let mac = Rule::new().in_set(&sets.mac_checked).not_in_set(&sets.macs).then(Verdict::Drop);
    let addresses = Rule::new().in_set(&sets.address_checked).then(Verdict::Goto(ADDRESSES));
    let chain = |name: &'static str, hook, rules| Chain { name: name.into(), hook, rules };
    let chains = vec![
        chain(ADDRESSES, None, address_rules(&sets, family)),
        chain("spoof_prerouting", Some(PREROUTING), vec![mac, addresses]),
    ];
    let Sets { mac_checked, macs, address_checked, addresses4, addresses6 } = sets;
    Definition { family, sets: vec![mac_checked, macs, address_checked, addresses4, addresses6], chains }
}

/// Whatever is not found to be the pod's is dropped, also what bears its addresses where no rule looks.
///
/// IPv6 needs addresses that no plan has: link-local ones, and none at all while one is tried out (RFC 4862, section
/// 5.4.2). IPv4 needs none: the plan has given the pod its address. ARP from no address asks who has one (RFC
/// 5227), and claims nothing.
fn address_rules(sets: &Sets, family: Family) -> Vec<Rule> {
    let of = |protocol: [u8; 2]| match family {
        Family::Bridge => Rule::new().has(Field::FrameProtocol, &protocol),
        Family::Inet if protocol == IPV4 => Rule::new().of_ipv4(),
        Family::Inet => Rule::new().of_ipv6(),
    };
    let mut rules = vec![
        of(IPV4).in_set(&sets.addresses4).then(Verdict::Return),
        of(IPV6).in_set(&sets.addresses6).then(Verdict::Return),
        of(IPV6).within(Field::Source6, LINK_LOCAL).then(Verdict::Return),
        of(IPV6).has(Field::Source6, &[0; 16]).then(Verdict::Return),
    ];
    if family == Family::Bridge {
        let known = of(ARP).fields_in_set(&[Field::InputName, Field::ArpSender], &sets.addresses4);
        rules.push(known.then(Verdict::Return));
        rules.push(of(ARP).has(Field::ArpSender, &[0; 4]).then(Verdict::Return));
    }
    rules.push(Rule::new().then(Verdict::Drop));
    rules
}

/// The interface and what may come from there.
pub(super) fn share(plan: &Checked) -> Option<Share> {
    let check = plan.traffic.spoof_check;
    if !check.mac && !check.address {
        return None;
    }
    let family = match plan.wiring {
        Wiring::Bridge { .. } => Family::Bridge,
        Wiring::Routed => Family::Inet,
    };
    let (sets, of) = (Sets::of(family), &plan.host_interface);
    let mut elements = Vec::with_capacity(3 + plan.addresses.len());
    if check.mac {
        elements.push(element(sets.macs, of, Some((&plan.mac.0, plan.mac.to_string()))));
        elements.push(element(sets.mac_checked, of, None));
    }
    if check.address {
        for address in plan.addresses.iter().map(|address| address.prefix.addr()) {
            let set = if address.is_ipv4() { &sets.addresses4 } else { &sets.addresses6 };
            elements.push(element(set.clone(), of, Some((&octets(address), address.to_string()))));
        }
        elements.push(element(sets.address_checked, of, None));
    }
    Some(Share { part: Part::Spoof(family), role: Role::Own, elements })
}

fn element(set: Set, interface: &InterfaceName, with: Option<(&[u8], String)>) -> Element {
    let mut name = [0; 16];
    name[..interface.as_str().len()].copy_from_slice(interface.as_str().as_bytes());
    let (key, text) = (Value::default().and(&name), interface.to_string());
    match with {
        None => Element { set, key, data: None, name: text },
        Some((value, shown)) => {
            Element { set, key: key.and(value), data: None, name: format!("{text} with {shown}") }
        }
    }
}
