//! A plan as the `ip` commands of the script that it stands for.
//!
//! The commands really work: run as root, with NETNS naming a namespace below /run/netns, they do what
//! [`crate::net`] does in two messages, and the tests hold one against the other. Names that a policy chose
//! are words of the shell's language here, whatever is in them.

use std::borrow::Cow;
use std::fmt::Write as _;

use ipnet::IpNet;

use super::marks::{ALIAS, GROUP, PROTOCOL};
use super::{Bridge, Checked, NextHop, NodePlan, Route, Wiring};

/// The script of one ADD.
pub fn add(plan: &Checked) -> String {
    let mut script = Script::default();
    script.note("the node");
    if let Wiring::Bridge { bridge, .. } = &plan.wiring {
        script.bridge(bridge);
        script.forwarding(plan.addresses.iter().map(|a| &a.prefix));
    }
    script.note("the veth, its peer made directly in the pod");
    script.veth(plan);
    script.note("the pod");
    script.pod(plan);
    if plan.wiring == Wiring::Routed {
        script.note("the node's way to the pod");
        script.routed(plan);
    }
    script.text
}

/// The script of `podwire node up`.
pub fn node(plan: &NodePlan) -> String {
    let mut script = Script::default();
    for bridge in &plan.bridges {
        script.bridge(bridge);
    }
    script.forwarding(
        plan.bridges.iter().flat_map(|b| &b.addresses).chain(plan.routes.iter().map(|r| &r.destination)),
    );
    for route in &plan.routes {
        let to = match route.next_hop {
            NextHop::Via(via) => format!("{} via {via}", route.destination),
            NextHop::Blackhole => format!("blackhole {}", route.destination),
        };
        let metric = route.metric.map(|m| format!(" metric {m}")).unwrap_or_default();
        script.line(format_args!("ip route replace {to}{metric} proto {PROTOCOL}"));
    }
    script.text
}

#[derive(Default)]
struct Script {
    text: String,
}

impl Script {
    fn note(&mut self, note: &str) {
        self.line(format_args!("# {note}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.text, "{line}");
    }

    fn bridge(&mut self, bridge: &Bridge) {
        let name = word(bridge.name.as_str());
        let mtu = bridge.mtu.map(|m| format!(" mtu {m}")).unwrap_or_default();
        self.line(format_args!(
            "ip link show {name} >/dev/null 2>&1 || ip link add name {name}{mtu} type bridge"
        ));
        self.line(format_args!("ip link set dev {name} alias {ALIAS} up"));
        for address in &bridge.addresses {
            self.line(format_args!("ip address replace {address} dev {name}{}", no_dad(address)));
        }
    }

    fn forwarding<'a>(&mut self, blocks: impl Iterator<Item = &'a IpNet> + Clone) {
        if blocks.clone().any(|b| matches!(b, IpNet::V4(_))) {
            self.line(format_args!("sysctl -qw net.ipv4.ip_forward=1"));
        }
        if blocks.clone().any(|b| matches!(b, IpNet::V6(_))) {
            self.line(format_args!("sysctl -qw net.ipv6.conf.all.forwarding=1"));
        }
    }

    fn veth(&mut self, plan: &Checked) {
        let host = word(plan.host_interface.as_str());
        let container = word(plan.container_interface.as_str());
        let mtu = plan.mtu.map(|m| format!(" mtu {m}")).unwrap_or_default();
        self.line(format_args!(
            "ip link add name {host} address {}{mtu} group {GROUP} type veth \\\n    peer name {container} address {}{mtu} netns \"$NETNS\"",
            plan.host_mac, plan.mac
        ));
        self.line(format_args!("ip link set dev {host} addrgenmode none"));
        if let Wiring::Bridge { bridge, hairpin, isolated } = &plan.wiring {
            self.line(format_args!("ip link set dev {host} master {}", word(bridge.name.as_str())));
            for (wanted, flag) in [(hairpin, "hairpin"), (isolated, "isolated")] {
                if *wanted {
                    self.line(format_args!("ip link set dev {host} type bridge_slave {flag} on"));
                }
            }
        }
        self.line(format_args!("ip link set dev {host} up"));
    }

    fn pod(&mut self, plan: &Checked) {
        let name = word(plan.container_interface.as_str());
        for (path, value) in &plan.sysctls {
            let setting = format!("{path}={value}");
            self.line(format_args!("ip netns exec \"$NETNS\" sysctl -qw {}", word(&setting)));
        }
        if !plan.addresses.iter().any(|a| matches!(a.prefix, IpNet::V6(_))) {
            self.line(format_args!("ip -n \"$NETNS\" link set dev {name} addrgenmode none"));
        }
        self.line(format_args!("ip -n \"$NETNS\" link set dev {name} up"));
        for address in &plan.addresses {
            let prefix = &address.prefix;
            self.line(format_args!("ip -n \"$NETNS\" address add {prefix} dev {name}{}", no_dad(prefix)));
        }
        for route in &plan.routes {
            let onlink = if plan.wiring == Wiring::Routed && route.via.is_some() { " onlink" } else { "" };
            self.line(format_args!("ip -n \"$NETNS\" route add {} dev {name}{onlink}", to(route)));
        }
    }

    fn routed(&mut self, plan: &Checked) {
        let host = word(plan.host_interface.as_str());
        let mut gateways: Vec<_> = plan.addresses.iter().filter_map(|a| a.gateway).map(IpNet::from).collect();
        gateways.dedup();
        for gateway in &gateways {
            self.line(format_args!("ip address add {gateway} dev {host}{}", no_dad(gateway)));
        }
        for address in &plan.addresses {
            let to = IpNet::from(address.prefix.addr());
            self.line(format_args!("ip route add {to} dev {host} proto {PROTOCOL}"));
        }
        self.forwarding(plan.addresses.iter().map(|a| &a.prefix));
    }
}

/// The text as one word for a shell.
fn word(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/=,".contains(c)) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", text.replace('\'', r"'\''")))
}

/// IPv6 addresses are used at once: the lease database knows that nobody else has them.
fn no_dad(prefix: &IpNet) -> &'static str {
    if matches!(prefix, IpNet::V6(_)) { " nodad" } else { "" }
}

fn to(route: &Route) -> String {
    let mut to = route.destination.to_string();
    if let Some(via) = route.via {
        let _ = write!(to, " via {via}");
    }
    if let Some(mtu) = route.mtu {
        let _ = write!(to, " mtu {mtu}");
    }
    if let Some(metric) = route.metric {
        let _ = write!(to, " metric {metric}");
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::check::tests::{lecture, request};

    #[test]
    fn an_add_reads_like_the_lectures_script() {
        let plan = crate::plan::check::add(&request(), lecture()).expect("keeps every rule");
        let script = add(&plan);
        let expected = "\
# the node
ip link show cni0 >/dev/null 2>&1 || ip link add name cni0 type bridge
ip link set dev cni0 alias podwire up
ip address replace 10.244.1.1/24 dev cni0
sysctl -qw net.ipv4.ip_forward=1
# the veth, its peer made directly in the pod
ip link add name pw538f587a2365 address 0e:58:5f:38:bb:cd group 1886873970 type veth \\
    peer name eth0 address 0a:58:0a:f4:01:02 netns \"$NETNS\"
ip link set dev pw538f587a2365 addrgenmode none
ip link set dev pw538f587a2365 master cni0
ip link set dev pw538f587a2365 type bridge_slave hairpin on
ip link set dev pw538f587a2365 up
# the pod
ip -n \"$NETNS\" link set dev eth0 addrgenmode none
ip -n \"$NETNS\" link set dev eth0 up
ip -n \"$NETNS\" address add 10.244.1.2/24 dev eth0
ip -n \"$NETNS\" route add 0.0.0.0/0 via 10.244.1.1 dev eth0
";
        assert_eq!(script, expected);
    }

    #[test]
    fn a_name_is_one_word_whatever_is_in_it() {
        for (name, expected) in [("cni0", "cni0"), ("net1.5", "net1.5"), ("a;reboot", "'a;reboot'")] {
            assert_eq!(word(name), expected);
        }
        assert_eq!(word("a'$(b)"), r"'a'\''$(b)'");
        assert_eq!(word("net/ipv4/ping_group_range=0 1"), "'net/ipv4/ping_group_range=0 1'");
    }
}
