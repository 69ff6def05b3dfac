//! A plan as the `ip` commands of the script that it stands for.
//!
//! The commands really work: run as root on a node that has nothing in their way, they do what
//! [`crate::net`] does in two messages, and the tests hold one against the other. What they leave out:
//! podwire's protocol number on addresses, which only later versions of iproute2 can give; the refusal to use a
//! bridge that somebody else made; the announcement of an address to pods that may remember another owner; and
//! a pod's masquerade, spoof checks, port mappings and limits, which stand there in words.

mod node;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;

use super::derived::{
    VlanGateway, bridge_addresses, bridge_mac, divided, forwarded, has_ipv6, newly_paired, routed_addresses,
    vlan_gateway,
};
use super::marks::{ALIAS, GROUP, PROTOCOL};
use super::{Address, Bridge, Checked, Dns, Masquerade, PortVlans, Rate, Route, Traffic, Wiring};
use crate::names::{InterfaceName, MacAddress};

pub use node::node;

/// The script of one ADD. Its argument is the pod's network namespace, by its name below /run/netns.
pub fn add(plan: &Checked) -> String {
    let mut script = Script::new();
    script.line(format_args!("NETNS=${{1:?name of a network namespace}}"));
    script.note("the node");
    script.forwarding(forwarded(plan));
    if let Wiring::Bridge { bridge, vlans, .. } = &plan.wiring {
        let (plain, gateway) = &divided(bridge, vlans.as_ref());
        script.bridge(plain);
        if vlans.is_some() {
            script.line(format_args!("ip link set dev {} type bridge vlan_filtering 1", name(&bridge.name)));
        }
        if gateway.is_none() {
            script.neighbours(&bridge.name, plan);
        }
    }
    script.note("the veth, its peer made directly in the pod");
    script.veth(plan);
    if let Wiring::Bridge { bridge, vlans, .. } = &plan.wiring
        && let Some(gateway) = vlan_gateway(bridge, vlans.as_ref())
    {
        script.note("the node's interface in the pod's VLAN");
        script.gateway(&gateway, bridge);
        script.neighbours(&gateway.interface.name, plan);
    }
    script.note("the pod");
    script.pod(plan);
    if plan.wiring == Wiring::Routed {
        script.note("the node's way to the pod");
        script.routed(plan);
    }
    script.traffic(&plan.traffic);
    if let Some(dns) = &plan.dns {
        script.dns(dns);
    }
    script.text
}

/// Else the kernel makes one for each processor, none of which would be used.
const ONE_QUEUE: &str = "numtxqueues 1 numrxqueues 1";

/// Before a command that is to be run in the pod's network namespace.
const IN_POD: &str = "ip netns exec \"$NETNS\" ";

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
        self.carry(bridge, mac);
    }

    /// The node's interface in a VLAN, and its port of the bridge.
    fn gateway(&mut self, gateway: &VlanGateway, bridge: &Bridge) {
        let (planned, port, bridge) = (&gateway.interface, name(&gateway.port), name(&bridge.name));
        let (name, mac, port_mac) = (name(&planned.name), bridge_mac(planned), gateway.port_mac);
        self.line(format_args!("ip link show dev {name} >/dev/null 2>&1 || {{"));
        self.line(format_args!(
            "    ip link add name {port} {ONE_QUEUE} address {port_mac} group {GROUP} type veth \\"
        ));
        self.line(format_args!("        peer name {name} {ONE_QUEUE} address {mac} group {GROUP}"));
        self.line(format_args!("    ip link set dev {name} alias {ALIAS} addrgenmode none"));
        self.line(format_args!("    ip link set dev {port} master {bridge} addrgenmode none"));
        self.vlans(&port, &gateway.vlans);
        self.line(format_args!("    ip link set dev {port} up"));
        self.line(format_args!("}}"));
        self.carry(planned, mac);
    }

    /// What a bridge, or a gateway in its place, has beside its name.
    fn carry(&mut self, bridge: &Bridge, mac: MacAddress) {
        let name = word(bridge.name.as_str());
        if has_ipv6(&bridge.addresses) {
            self.enable_ipv6("", &bridge.name);
        }
        let promiscuous = if bridge.promiscuous { " promisc on" } else { "" };
        self.line(format_args!("ip link set dev {name}{}{promiscuous} up", mtu(bridge.mtu)));
        if bridge.exclusive {
            self.clear(bridge);
        }
        for address in bridge_addresses(bridge, mac) {
            self.line(format_args!("ip address replace {address} dev {name}{}", flags(&address)));
        }
    }

    /// Takes other addresses off a bridge than the plan's.
    fn clear(&mut self, bridge: &Bridge) {
        let (v4, v6): (Vec<&IpNet>, Vec<&IpNet>) = bridge.addresses.iter().partition(|a| a.addr().is_ipv4());
        if !v4.is_empty() {
            self.clear_all_but(&v4, "inet", "-4", bridge);
        }
        for address in &v6 {
            let which = format!("-6 to {} scope global", address.trunc());
            self.clear_all_but(&v6, "inet6", &which, bridge);
        }
    }

    fn clear_all_but(&mut self, kept: &[&IpNet], family: &str, which: &str, bridge: &Bridge) {
        let of_family = bridge.kept.iter().filter(|address| address.is_ipv4() == (family == "inet"));
        let of_node: String = of_family.map(|address| format!(" -e ' {address}/'")).collect();
        let of_node = if of_node.is_empty() { of_node } else { format!(" grep -vF{of_node} |") };
        let kept = kept.iter().map(|address| format!(" -e '{family} {address}'")).collect::<String>();
        let (version, which) = which.split_at(2);
        let name = name(&bridge.name);
        self.line(format_args!(
            "ip {version} -o address show dev {name}{which} | grep -o '{family} [^ ]*' | grep -vxF{kept} |{of_node}"
        ));
        self.line(format_args!("    while read -r _ other; do ip address del \"$other\" dev {name}; done"));
    }

    /// Who had the pod's addresses before it may be remembered; what is not remembered cannot be changed.
    fn neighbours(&mut self, bridge: &InterfaceName, plan: &Checked) {
        for address in newly_paired(plan) {
            let entry = format!("{address} lladdr {} dev {} nud stale", plan.mac, name(bridge));
            self.line(format_args!("ip neighbour change {entry} 2>/dev/null || true"));
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
        if let Wiring::Bridge { bridge, hairpin, isolated, vlans } = &plan.wiring {
            self.line(format_args!("ip link set dev {host} master {}", name(&bridge.name)));
            if let Some(vlans) = vlans {
                self.vlans(&host, vlans);
            }
            for (wanted, flag) in [(hairpin, "hairpin"), (isolated, "isolated")] {
                if *wanted {
                    self.line(format_args!("ip link set dev {host} type bridge_slave {flag} on"));
                }
            }
        }
        self.line(format_args!("ip link set dev {host} up"));
    }

    fn vlans(&mut self, port: &str, vlans: &PortVlans) {
        if !vlans.keep_default {
            self.line(format_args!("bridge vlan delete vid 1 dev {port}"));
        }
        for (first, last) in &vlans.tagged {
            let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
            self.line(format_args!("bridge vlan add vid {range} dev {port}"));
        }
        self.line(format_args!("bridge vlan add vid {} pvid untagged dev {port}", vlans.native));
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
            self.line(format_args!("{IN_POD}sysctl -qw {}", word(&setting)));
        }
        if has_ipv6_address(plan) {
            self.enable_ipv6(IN_POD, &plan.container_interface);
            if plan.duplicate_address_detection {
                self.set(IN_POD, &plan.container_interface, "ndisc_notify=1");
            }
        } else {
            self.line(format_args!("ip -n \"$NETNS\" link set dev {name} addrgenmode none"));
        }
        if !plan.interface_down {
            self.line(format_args!("ip -n \"$NETNS\" link set dev {name} up"));
        }
        for Address { prefix, .. } in &plan.addresses {
            let flags = if plan.duplicate_address_detection { "" } else { flags(prefix) };
            self.line(format_args!("ip -n \"$NETNS\" address add {prefix} dev {name}{flags}"));
        }
        for route in &plan.routes {
            let onlink = if plan.wiring == Wiring::Routed && route.via.is_some() { " onlink" } else { "" };
            let to = to(route);
            self.line(format_args!("ip -n \"$NETNS\" route append {to} dev {name}{onlink} proto {PROTOCOL}"));
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

    fn enable_ipv6(&mut self, within: &str, interface: &InterfaceName) {
        self.set(within, interface, "disable_ipv6=0");
    }

    /// In the namespace that `within` leads to. With slashes, for the name may have dots.
    fn set(&mut self, within: &str, interface: &InterfaceName, switch: &str) {
        let setting = format!("net/ipv6/conf/{}/{switch}", interface.as_str());
        self.line(format_args!("{within}sysctl -qw {}", word(&setting)));
    }

    /// The runtime's part. In quotes, so that every line remains a comment.
    /// Said, not done: `nft list table inet podwire` shows what these are.
    fn traffic(&mut self, traffic: &Traffic) {
        let Traffic { masquerade, spoof_check, port_mappings, bandwidth } = traffic;
        if let Some(Masquerade { except }) = masquerade {
            let except = except.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ");
            self.note(&format!(
                "beyond these commands: packets leave with the node's address, but for those to {except}"
            ));
        }
        for (checked, what) in [(spoof_check.mac, "hardware"), (spoof_check.address, "IP")] {
            if checked {
                self.note(&format!(
                    "beyond these commands: packets with another source {what} address are dropped"
                ));
            }
        }
        for mapping in port_mappings {
            self.note(&format!("beyond these commands: {mapping}"));
        }
        let limits =
            bandwidth.iter().flat_map(|limits| [("receives", limits.ingress), ("sends", limits.egress)]);
        for (what, limit) in limits {
            if let Some(Rate { rate, burst }) = limit {
                self.note(&format!("beyond these commands: it {what} {rate} bit/s, {burst} bit at once"));
            }
        }
    }

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
    let details = [
        ("mtu", route.mtu),
        ("advmss", route.advmss),
        ("metric", route.metric),
        ("table", route.table),
        ("scope", route.scope.map(u32::from)),
    ];
    for (key, value) in details {
        if let Some(value) = value {
            let _ = write!(to, " {key} {value}");
        }
    }
    to
}

#[cfg(test)]
mod tests;
