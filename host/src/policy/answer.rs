//! From what a policy says, in the contract's types, to the vocabulary of [`crate::plan`].
//!
//! An answer can say things that the vocabulary cannot, such as a prefix of 33 bits, and more
//! of them than there should be: that ends here, as the violation of a rule, before work is done on it.
//! All other rules are [`crate::plan::check`]'s.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::bindings::podwire::policy::types as wit;
use super::text::clean;
use crate::plan::check::Violation;
use crate::plan::{self, limits};

type Outcome<T> = Result<T, Violation>;

/// Where in an answer: `addresses[0].prefix`. Spelt out only if something is wrong there.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    within: Option<&'a Field<'a>>,
    name: &'static str,
    index: Option<usize>,
}

impl Field<'static> {
    pub(super) fn new(name: &'static str) -> Self {
        Self { within: None, name, index: None }
    }
}

impl<'a> Field<'a> {
    fn part(&'a self, name: &'static str) -> Field<'a> {
        Field { within: Some(self), name, index: None }
    }

    fn at(self, index: usize) -> Self {
        Self { index: Some(index), ..self }
    }

    fn violation(&self, value: impl fmt::Display, rule: impl Into<String>) -> Violation {
        Violation { field: self.to_string(), value: value.to_string(), rule: rule.into() }
    }
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(within) = self.within {
            write!(f, "{within}.")?;
        }
        f.write_str(self.name)?;
        self.index.map_or(Ok(()), |index| write!(f, "[{index}]"))
    }
}

fn list<A, B>(
    field: Field<'_>,
    items: Vec<A>,
    most: usize,
    convert: impl Fn(Field<'_>, A) -> Outcome<B>,
) -> Outcome<Vec<B>> {
    if items.len() > most {
        let value = format!("a list of {}", items.len());
        return Err(field.violation(value, format!("at most {most} are allowed")));
    }
    items.into_iter().enumerate().map(|(i, item)| convert(field.at(i), item)).collect()
}

fn text(field: Field<'_>, text: String) -> Outcome<String> {
    if text.len() > limits::STRING {
        let value = format!("a string of {} bytes", text.len());
        return Err(field.violation(value, format!("at most {} are allowed", limits::STRING)));
    }
    Ok(text)
}

fn pair(field: Field<'_>, (key, value): (String, String)) -> Outcome<(String, String)> {
    Ok((text(field, key)?, text(field, value)?))
}

fn optional<A, B>(value: Option<A>, convert: impl FnOnce(A) -> Outcome<B>) -> Outcome<Option<B>> {
    value.map(convert).transpose()
}

pub(super) fn ip(address: wit::IpAddress) -> IpAddr {
    match address {
        wit::IpAddress::Ipv4((a, b, c, d)) => Ipv4Addr::new(a, b, c, d).into(),
        wit::IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => Ipv6Addr::new(a, b, c, d, e, f, g, h).into(),
    }
}

pub(super) fn prefix(field: Field<'_>, prefix: wit::IpPrefix) -> Outcome<IpNet> {
    let address = ip(prefix.address);
    IpNet::new(address, prefix.length).map_err(|_| {
        let (family, most) = if address.is_ipv4() { ("IPv4", 32) } else { ("IPv6", 128) };
        let rule = format!("the length of an {family} prefix is 0 to {most}");
        field.violation(format_args!("{address}/{}", prefix.length), rule)
    })
}

/// A block of addresses, as an argument of `leases`.
pub(super) fn block(field: Field<'_>, block: wit::IpPrefix) -> Outcome<IpNet> {
    let block = prefix(field, block)?;
    if block != block.trunc() {
        return Err(field.violation(block, "all bits of a block beyond its length are zero"));
    }
    Ok(block)
}

fn route(field: Field<'_>, route: wit::Route) -> Outcome<plan::Route> {
    Ok(plan::Route {
        destination: prefix(field.part("destination"), route.destination)?,
        via: route.via.map(ip),
        mtu: route.mtu,
        metric: route.metric,
        advmss: route.advmss,
        table: route.table,
        scope: route.scope,
    })
}

fn address(field: Field<'_>, address: wit::Address) -> Outcome<plan::Address> {
    Ok(plan::Address {
        prefix: prefix(field.part("prefix"), address.prefix)?,
        gateway: address.gateway.map(ip),
    })
}

fn bridge(field: Field<'_>, bridge: wit::Bridge) -> Outcome<plan::Bridge<String>> {
    Ok(plan::Bridge {
        name: text(field.part("name"), bridge.name)?,
        addresses: list(field.part("addresses"), bridge.addresses, limits::ADDRESSES, prefix)?,
        mtu: bridge.mtu,
        promiscuous: bridge.promiscuous,
        exclusive: bridge.exclusive,
        kept: Vec::new(),
        operators: false,
    })
}

fn vlans(field: Field<'_>, vlans: wit::PortVlans) -> Outcome<plan::PortVlans> {
    Ok(plan::PortVlans {
        native: vlans.native,
        tagged: list(field.part("tagged"), vlans.tagged, limits::VLAN_RANGES, |_, range| Ok(range))?,
        keep_default: vlans.keep_default,
    })
}

fn wiring(wiring: wit::Wiring) -> Outcome<plan::Wiring<String>> {
    Ok(match wiring {
        wit::Wiring::Bridge(port) => plan::Wiring::Bridge {
            bridge: bridge(Field::new("wiring").part("bridge"), port.bridge)?,
            hairpin: port.hairpin,
            isolated: port.isolated,
            vlans: optional(port.vlans, |of_port| vlans(Field::new("wiring").part("vlans"), of_port))?,
        },
        wit::Wiring::Routed => plan::Wiring::Routed,
    })
}

fn dns(dns: wit::Dns) -> Outcome<plan::Dns> {
    let field = Field::new("dns");
    let most = limits::DNS_ENTRIES;
    Ok(plan::Dns {
        nameservers: list(field.part("nameservers"), dns.nameservers, most, |_, address| Ok(ip(address)))?,
        domain: optional(dns.domain, |domain| text(field.part("domain"), domain))?,
        search: list(field.part("search"), dns.search, most, text)?,
        options: list(field.part("options"), dns.options, most, text)?,
    })
}

pub(super) fn add_plan(answer: wit::AddPlan) -> Outcome<plan::AddPlan> {
    Ok(plan::AddPlan {
        host_interface: optional(answer.host_interface, |name| text(Field::new("host-interface"), name))?,
        wiring: wiring(answer.wiring)?,
        addresses: list(Field::new("addresses"), answer.addresses, limits::ADDRESSES, address)?,
        routes: list(Field::new("routes"), answer.routes, limits::ROUTES, route)?,
        mac: optional(answer.mac, |mac| text(Field::new("mac"), mac))?,
        mtu: answer.mtu,
        dns: optional(answer.dns, dns)?,
        sysctls: list(Field::new("sysctls"), answer.sysctls, limits::SYSCTLS, pair)?,
        masquerade: answer.masquerade,
        spoof_check: plan::SpoofCheck {
            mac: answer.spoof_check.contains(wit::SpoofCheck::MAC),
            address: answer.spoof_check.contains(wit::SpoofCheck::ADDRESS),
        },
        duplicate_address_detection: answer.duplicate_address_detection,
        interface_down: answer.interface_down,
        extra: list(Field::new("extra"), answer.extra, limits::EXTRA, pair)?,
    })
}

fn node_route(field: Field<'_>, route: wit::NodeRoute) -> Outcome<plan::NodeRoute> {
    Ok(plan::NodeRoute {
        destination: prefix(field.part("destination"), route.destination)?,
        next_hop: match route.next_hop {
            wit::NextHop::Via(address) => plan::NextHop::Via(ip(address)),
            wit::NextHop::Blackhole => plan::NextHop::Blackhole,
            wit::NextHop::Tunnel(address) => plan::NextHop::Tunnel(ip(address)),
        },
        metric: route.metric,
    })
}

fn vxlan(field: Field<'_>, vxlan: wit::Vxlan) -> Outcome<plan::Vxlan<String>> {
    let wit::Vxlan { name, id, port, local, mtu } = vxlan;
    Ok(plan::Vxlan { name: text(field.part("name"), name)?, id, port, local: ip(local), mtu })
}

pub(super) fn node_plan(answer: wit::NodePlan) -> Outcome<plan::NodePlan<String>> {
    Ok(plan::NodePlan {
        bridges: list(Field::new("bridges"), answer.bridges, limits::BRIDGES, bridge)?,
        vxlan: answer.vxlan.map(|answer| vxlan(Field::new("vxlan"), answer)).transpose()?,
        routes: list(Field::new("routes"), answer.routes, limits::NODE_ROUTES, node_route)?,
        masquerade: list(Field::new("masquerade"), answer.masquerade, limits::MASQUERADED, prefix)?,
        extra: list(Field::new("extra"), answer.extra, limits::EXTRA, pair)?,
    })
}

/// What stands for a refusal's message if there is none.
const SILENCE: &str = "it gave no reason for its refusal";

pub(super) fn refusal(refusal: wit::Refusal) -> Outcome<plan::Refusal> {
    if refusal.message.len() > limits::MESSAGE {
        let value = format!("a string of {} bytes", refusal.message.len());
        let rule = format!("a refusal's message has at most {}", limits::MESSAGE);
        return Err(Field::new("message").violation(value, rule));
    }
    let reason = match refusal.reason {
        wit::RefusalReason::InvalidConfig => plan::RefusalReason::InvalidConfig,
        wit::RefusalReason::Denied => plan::RefusalReason::Denied,
        wit::RefusalReason::Exhausted => plan::RefusalReason::Exhausted,
        wit::RefusalReason::TryAgain => plan::RefusalReason::TryAgain,
    };
    let message = clean(&refusal.message, limits::MESSAGE);
    let message = if message.trim().is_empty() { SILENCE.to_owned() } else { message };
    Ok(plan::Refusal { reason, message })
}

/// How long the addresses of a DEL rest, in seconds: none if the policy says so, a day at most.
pub(super) fn release(release: wit::Release) -> u32 {
    match release {
        wit::Release::Now => 0,
        wit::Release::AfterSeconds(seconds) => seconds.min(limits::REST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::request;

    fn wit_prefix(address: &str, length: u8) -> wit::IpPrefix {
        wit::IpPrefix { address: request::ip(address.parse().unwrap()), length }
    }

    fn wit_plan() -> wit::AddPlan {
        wit::AddPlan {
            host_interface: None,
            wiring: wit::Wiring::Routed,
            addresses: Vec::new(),
            routes: Vec::new(),
            mac: None,
            mtu: None,
            dns: None,
            sysctls: Vec::new(),
            masquerade: false,
            spoof_check: wit::SpoofCheck::empty(),
            duplicate_address_detection: false,
            interface_down: false,
            extra: Vec::new(),
        }
    }

    fn violation(change: impl FnOnce(&mut wit::AddPlan)) -> String {
        let mut plan = wit_plan();
        change(&mut plan);
        add_plan(plan).unwrap_err().to_string()
    }

    #[test]
    fn addresses_come_back_as_they_went() {
        for address in ["10.244.1.2", "fd00:10:244::1", "::ffff:10.0.0.1"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(ip(request::ip(address)), address);
        }
    }

    #[test]
    fn what_cannot_be_represented_names_its_field() {
        let gateway = Some(request::ip("10.0.0.1".parse().unwrap()));
        let wrong = wit::Address { prefix: wit_prefix("10.0.0.2", 33), gateway };
        assert_eq!(
            violation(|plan| plan.addresses = vec![wrong]),
            "addresses[0].prefix is 10.0.0.2/33, but the length of an IPv4 prefix is 0 to 32"
        );
        let wrong = wit::BridgePort {
            bridge: wit::Bridge {
                name: "cni0".into(),
                addresses: vec![wit_prefix("fd00::", 64), wit_prefix("fd00::", 129)],
                mtu: None,
                promiscuous: false,
                exclusive: false,
            },
            hairpin: true,
            isolated: false,
            vlans: None,
        };
        assert_eq!(
            violation(|plan| plan.wiring = wit::Wiring::Bridge(wrong)),
            "wiring.bridge.addresses[1] is fd00::/129, but the length of an IPv6 prefix is 0 to 128"
        );
    }

    #[test]
    fn lists_and_strings_end_at_their_limits() {
        let routes = |count: usize| {
            let destination = wit_prefix("10.0.0.0", 8);
            let route = wit::Route {
                destination,
                via: None,
                mtu: None,
                metric: None,
                advmss: None,
                table: None,
                scope: None,
            };
            vec![route; count]
        };
        assert_eq!(
            violation(|plan| plan.routes = routes(limits::ROUTES + 1)),
            "routes is a list of 65, but at most 64 are allowed"
        );
        assert_eq!(
            violation(|plan| plan.sysctls = vec![("ok".into(), "x".repeat(limits::STRING + 1))]),
            "sysctls[0] is a string of 254 bytes, but at most 253 are allowed"
        );
        let mut plan = wit_plan();
        plan.routes = routes(limits::ROUTES);
        plan.mac = Some("x".repeat(limits::STRING));
        assert_eq!(add_plan(plan).unwrap().routes.len(), limits::ROUTES);
    }

    #[test]
    fn refusals_are_short_and_cannot_forge_a_log() {
        let of = |message: String| refusal(wit::Refusal { reason: wit::RefusalReason::Denied, message });
        assert!(of("x".repeat(limits::MESSAGE + 1)).unwrap_err().field == "message");
        assert_eq!(of("no\nroot: yes".into()).unwrap().message, "no root: yes");
        assert_eq!(of(" \n".into()).unwrap().message, SILENCE);
    }

    #[test]
    fn addresses_rest_a_day_at_most() {
        assert_eq!(release(wit::Release::Now), 0);
        assert_eq!(release(wit::Release::AfterSeconds(60)), 60);
        assert_eq!(release(wit::Release::AfterSeconds(u32::MAX)), limits::REST);
    }
}
