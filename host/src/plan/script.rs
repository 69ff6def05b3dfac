//! A plan as the `ip` commands of the script that it stands for.
//!
//! The commands really work: run as root on a node that has nothing in their way, they do what
//! [`crate::net`] does in two messages, and the tests hold one against the other. What they leave out:
//! podwire's protocol number on addresses, which only later versions of iproute2 can give, and the refusal to
//! use a bridge that somebody else made.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;

use super::derived::{bridge_addresses, bridge_mac, has_ipv6, routed_addresses};
use super::marks::{ALIAS, GROUP, PROTOCOL};
use super::{Bridge, Checked, Dns, NextHop, NodePlan, NodeRoute, Route, Wiring};
use crate::names::InterfaceName;

/// The script of one ADD. Its argument is the pod's network namespace, by its name below /run/netns.
pub fn add(plan: &Checked) -> String {
    let mut script = Script::new();
    script.line(format_args!("NETNS=${{1:?name of a network namespace}}"));
    script.note("the node");
    script.forwarding(plan.addresses.iter().map(|a| &a.prefix));
    if let Wiring::Bridge { bridge, .. } = &plan.wiring {
        script.bridge(bridge);
    }
    script.note("the veth, its peer made directly in the pod");
    script.veth(plan);
    script.note("the pod");
    script.pod(plan);
    if plan.wiring == Wiring::Routed {
        script.note("the node's way to the pod");
        script.routed(plan);
    }
    if let Some(dns) = &plan.dns {
        script.dns(dns);
    }
    script.text
}

/// The script of `podwire node up`, for a node of a cluster of these blocks.
pub fn node(plan: &NodePlan, cluster: &[IpNet]) -> String {
    let mut script = Script::new();
    script.forwarding(cluster.iter());
    for bridge in &plan.bridges {
        script.bridge(bridge);
    }
    for route in &plan.routes {
        script.node_route(route);
    }
    script.text
}

/// Else the kernel makes one for each processor, none of which would be used.
const ONE_QUEUE: &str = "numtxqueues 1 numrxqueues 1";

struct Script {
    text: String,
}

impl Script {
    fn new() -> Self {
        Self { text: "#!/bin/sh -e\n".to_owned() }
    }

    fn note(&mut self, note: &str) {
        self.line(format_args!("# {note}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.text, "{line}");
    }

    fn forwarding<'a>(&mut self, blocks: impl Iterator<Item = &'a IpNet> + Clone) {
        if blocks.clone().any(|b| b.addr().is_ipv4()) {
            self.line(format_args!("sysctl -qw net.ipv4.ip_forward=1"));
        }
        if blocks.clone().any(|b| b.addr().is_ipv6()) {
            self.line(format_args!("sysctl -qw net.ipv6.conf.all.forwarding=1"));
        }
    }

    fn bridge(&mut self, bridge: &Bridge) {
        let (name, mac) = (word(bridge.name.as_str()), bridge_mac(bridge));
        self.line(format_args!("ip link show dev {name} >/dev/null 2>&1 || {{"));
        self.line(format_args!("    ip link add name {name} address {mac} group {GROUP} type bridge"));
        self.line(format_args!("    ip link set dev {name} alias {ALIAS} addrgenmode none"));
        self.line(format_args!("}}"));
        if has_ipv6(&bridge.addresses) {
            self.enable_ipv6("", &bridge.name);
        }
        self.line(format_args!("ip link set dev {name}{} up", mtu(bridge.mtu)));
        for address in bridge_addresses(bridge, mac) {
            self.line(format_args!("ip address replace {address} dev {name}{}", flags(&address)));
        }
    }

    fn veth(&mut self, plan: &Checked) {
        let (host, container) = (name(&plan.host_interface), name(&plan.container_interface));
        let mtu = self.veth_mtu(plan);
        self.line(format_args!(
            "ip link add name {host} {ONE_QUEUE} address {}{mtu} group {GROUP} type veth \\",
            plan.host_mac
        ));
        self.line(format_args!(
            "    peer name {container} {ONE_QUEUE} address {}{mtu} netns \"$NETNS\"",
            plan.mac
        ));
        self.line(format_args!("ip link set dev {host} addrgenmode none"));
        if let Wiring::Bridge { bridge, hairpin, isolated, .. } = &plan.wiring {
            self.line(format_args!("ip link set dev {host} master {}", name(&bridge.name)));
            for (wanted, flag) in [(hairpin, "hairpin"), (isolated, "isolated")] {
                if *wanted {
                    self.line(format_args!("ip link set dev {host} type bridge_slave {flag} on"));
                }
            }
        }
        self.line(format_args!("ip link set dev {host} up"));
    }

    /// The plan's, or the bridge's, which may be there already with one of its own.
    fn veth_mtu(&mut self, plan: &Checked) -> String {
        let bridge = match &plan.wiring {
            Wiring::Bridge { bridge, .. } => Some(bridge),
            Wiring::Routed => None,
        };
        match (plan.mtu.or(bridge.and_then(|bridge| bridge.mtu)), bridge) {
            (None, Some(bridge)) => {
                let name = name(&bridge.name);
                self.line(format_args!("MTU=$(ip -o link show dev {name} | grep -o 'mtu [0-9]*')"));
                " $MTU".to_owned()
            }
            (planned, _) => mtu(planned),
        }
    }

    fn pod(&mut self, plan: &Checked) {
        let name = name(&plan.container_interface);
        for (path, value) in &plan.sysctls {
            let setting = format!("{path}={value}");
            self.line(format_args!("ip netns exec \"$NETNS\" sysctl -qw {}", word(&setting)));
        }
        if has_ipv6_address(plan) {
            self.enable_ipv6("ip netns exec \"$NETNS\" ", &plan.container_interface);
        } else {
            self.line(format_args!("ip -n \"$NETNS\" link set dev {name} addrgenmode none"));
        }
        self.line(format_args!("ip -n \"$NETNS\" link set dev {name} up"));
        for address in &plan.addresses {
            let prefix = &address.prefix;
            self.line(format_args!("ip -n \"$NETNS\" address add {prefix} dev {name}{}", flags(prefix)));
        }
        for route in &plan.routes {
            let onlink = if plan.wiring == Wiring::Routed && route.via.is_some() { " onlink" } else { "" };
            let to = to(route);
            self.line(format_args!("ip -n \"$NETNS\" route add {to} dev {name}{onlink} proto {PROTOCOL}"));
        }
    }

    fn routed(&mut self, plan: &Checked) {
        let host = name(&plan.host_interface);
        if has_ipv6_address(plan) {
            self.enable_ipv6("", &plan.host_interface);
        }
        for address in routed_addresses(plan) {
            self.line(format_args!("ip address add {address} dev {host}{}", flags(&address)));
        }
        for address in &plan.addresses {
            let to = IpNet::from(address.prefix.addr());
            self.line(format_args!("ip route add {to} dev {host} proto {PROTOCOL}"));
        }
    }

    /// In the namespace that `within` leads to. With slashes, for the name may have dots.
    fn enable_ipv6(&mut self, within: &str, interface: &InterfaceName) {
        let setting = format!("net/ipv6/conf/{}/disable_ipv6=0", interface.as_str());
        self.line(format_args!("{within}sysctl -qw {}", word(&setting)));
    }

    /// The runtime's part. In quotes, so that every line remains a comment.
    fn dns(&mut self, dns: &Dns) {
        self.note("for the runtime, which writes the pod's resolv.conf(5)");
        for server in &dns.nameservers {
            self.note(&format!("  nameserver {server}"));
        }
        for (key, values) in
            [("domain", dns.domain.as_slice()), ("search", &dns.search), ("options", &dns.options)]
        {
            for value in values {
                self.note(&format!("  {key} {value:?}"));
            }
        }
    }

    fn node_route(&mut self, route: &NodeRoute) {
        let to = match route.next_hop {
            NextHop::Via(via) => format!("{} via {via}", route.destination),
            NextHop::Blackhole => format!("blackhole {}", route.destination),
        };
        let metric = route.metric.map(|m| format!(" metric {m}")).unwrap_or_default();
        self.line(format_args!("ip route add {to}{metric} proto {PROTOCOL}"));
    }
}

fn has_ipv6_address(plan: &Checked) -> bool {
    plan.addresses.iter().any(|address| address.prefix.addr().is_ipv6())
}

fn name(interface: &InterfaceName) -> Cow<'_, str> {
    word(interface.as_str())
}

/// One word of a command: a policy may choose names and values that the shell would take for more.
fn word(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./=:".contains(&byte);
    if text.bytes().all(plain) { text.into() } else { format!("'{}'", text.replace('\'', r"'\''")).into() }
}

fn mtu(mtu: Option<u32>) -> String {
    mtu.map(|mtu| format!(" mtu {mtu}")).unwrap_or_default()
}

/// IPv6 addresses are used at once: the lease database knows that nobody else has them. IPv4 link-local
/// ones must not be taken as the source of what goes beyond the link.
fn flags(prefix: &IpNet) -> &'static str {
    match prefix.addr() {
        IpAddr::V6(_) => " nodad",
        IpAddr::V4(address) if address.is_link_local() => " scope link",
        IpAddr::V4(_) => "",
    }
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
#!/bin/sh -e
NETNS=${1:?name of a network namespace}
# the node
sysctl -qw net.ipv4.ip_forward=1
ip link show dev cni0 >/dev/null 2>&1 || {
    ip link add name cni0 address 0a:58:0a:f4:01:01 group 1886873970 type bridge
    ip link set dev cni0 alias podwire addrgenmode none
}
ip link set dev cni0 up
ip address replace 10.244.1.1/24 dev cni0
# the veth, its peer made directly in the pod
MTU=$(ip -o link show dev cni0 | grep -o 'mtu [0-9]*')
ip link add name pw538f587a2365 numtxqueues 1 numrxqueues 1 address 0e:58:5f:38:bb:cd $MTU group 1886873970 type veth \\
    peer name eth0 numtxqueues 1 numrxqueues 1 address 0a:58:0a:f4:01:02 $MTU netns \"$NETNS\"
ip link set dev pw538f587a2365 addrgenmode none
ip link set dev pw538f587a2365 master cni0
ip link set dev pw538f587a2365 type bridge_slave hairpin on
ip link set dev pw538f587a2365 up
# the pod
ip -n \"$NETNS\" link set dev eth0 addrgenmode none
ip -n \"$NETNS\" link set dev eth0 up
ip -n \"$NETNS\" address add 10.244.1.2/24 dev eth0
ip -n \"$NETNS\" route add 0.0.0.0/0 via 10.244.1.1 dev eth0 proto 112
";
        assert_eq!(script, expected);
    }

    #[test]
    fn words_stay_words() {
        assert_eq!(word("net/ipv4/conf/eth0.5/rp_filter=1"), "net/ipv4/conf/eth0.5/rp_filter=1");
        assert_eq!(word("0 1000"), "'0 1000'");
        assert_eq!(word("a'$(b)"), r"'a'\''$(b)'");
    }

    #[test]
    fn what_the_runtime_writes_is_no_command() {
        let mut plan = crate::plan::check::add(&request(), lecture()).expect("keeps every rule");
        let dns = Dns { search: vec!["a\nreboot".into()], ..Dns::default() };
        plan.dns = Some(Dns { nameservers: vec!["10.96.0.10".parse().expect("an address")], ..dns });
        let script = add(&plan);
        assert!(script.ends_with("#   nameserver 10.96.0.10\n#   search \"a\\nreboot\"\n"), "{script}");
    }
}
