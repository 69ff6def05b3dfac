//! Switches of the kernel's network stack.

use super::super::facts::{Facts, Switches};
use super::super::finding::Finding;
use super::or_ok;
use crate::net::sysctl::forwarding as switches_of_forwarding;

const FORWARDING: &str = "forwarding";
const REVERSE_PATH: &str = "reverse-path filter";
const IPV6: &str = "IPv6";

/// A source whose way back leads elsewhere is dropped (`rp_filter` of the kernel's ip-sysctl).
const STRICT: u64 = 1;

/// Everything below is about what is seen here.
pub(super) fn visible(facts: &Facts) -> Vec<Finding> {
    let unseen = |why: &String| Finding::wrong("network", format!("it cannot be looked at: {why}"));
    facts.unseen.iter().map(unseen).collect()
}

pub(super) fn forwarding(facts: &Facts) -> Vec<Finding> {
    let switches = switches_of_forwarding(facts.families());
    let names: Vec<String> = switches.iter().map(|switch| switch.name()).collect();
    let off = names.iter().filter(|name| !facts.switches.is_on(name));
    let wrong = |name: &String| {
        let found = format!("{name} is off: packets between nodes and pods are not forwarded");
        Finding::wrong(FORWARDING, found).mended_by(format!("sysctl -w {name}=1"))
    };
    or_ok(off.map(wrong).collect(), || Finding::ok(FORWARDING, format!("{} on", names.join(" and "))))
}

/// It is harmless where there is one way out, and packets come in by it.
pub(super) fn reverse_path(facts: &Facts) -> Vec<Finding> {
    if !facts.families().ipv4 {
        return vec![Finding::not_applicable(
            REVERSE_PATH,
            "the pods have no IPv4, and IPv6 has no such filter",
        )];
    }
    let tunnels = facts.survey.interfaces.iter().filter(|it| it.ours && it.vxlan.is_some());
    let tunnels = tunnels.filter(|it| is_strict(&facts.switches, &it.name)).map(|it| {
        let found = format!(
            "it is strict on {}: what a peer itself sends through the tunnel is dropped, for the way back to the \
             peer's own address is another",
            it.name
        );
        Finding::wrong(REVERSE_PATH, found).mended_by(loosen(&it.name))
    });
    let uplinks = facts.uplinks();
    let several = uplinks.iter().filter(|_| uplinks.len() > 1);
    let uplinks = several.filter(|it| is_strict(&facts.switches, &it.name)).map(|it| {
        let found = format!(
            "it is strict on {}, one of {} uplinks: a packet that comes by another than its answer takes is dropped",
            it.name,
            uplinks.len()
        );
        Finding::warning(REVERSE_PATH, found).mended_by(loosen(&it.name))
    });
    or_ok(tunnels.chain(uplinks).collect(), || {
        Finding::ok(REVERSE_PATH, "it drops nothing that comes by tunnels or uplinks")
    })
}

/// The kernel takes the greater of an interface's value and that for all.
fn is_strict(switches: &Switches, interface: &str) -> bool {
    let of = |name: &str| switches.number(name).unwrap_or_default();
    of("net.ipv4.conf.all.rp_filter").max(of(&super::super::facts::filter_of(interface))) == STRICT
}

fn loosen(interface: &str) -> String {
    format!("sysctl -w {}=2", super::super::facts::filter_of(interface))
}

pub(super) fn ipv6(facts: &Facts) -> Vec<Finding> {
    const SWITCHES: [&str; 2] = ["net.ipv6.conf.all.disable_ipv6", "net.ipv6.conf.default.disable_ipv6"];
    if !facts.families().ipv6 {
        return vec![Finding::not_applicable(IPV6, "the pods have none")];
    }
    if facts.switches.get(SWITCHES[0]).is_none() {
        return vec![
            Finding::wrong(IPV6, "pods have IPv6 addresses, and the kernel has no IPv6")
                .advised("boot without ipv6.disable=1, or take the IPv6 blocks out of `pools` and `cluster`"),
        ];
    }
    let off = SWITCHES.into_iter().filter(|name| facts.switches.is_on(name));
    let wrong = |name: &str| {
        Finding::wrong(IPV6, format!("pods have IPv6 addresses, and {name} is 1"))
            .mended_by(format!("sysctl -w {name}=0"))
    };
    or_ok(off.map(wrong).collect(), || Finding::ok(IPV6, "it is switched on"))
}
