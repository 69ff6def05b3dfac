//! Switches and counters below /proc.

use std::collections::BTreeMap;

use crate::net::survey::Survey;
use crate::net::sysctl::Sysctl;

/// Their values by name, as sysctl(8) writes them. What the kernel does not have is not among them.
#[derive(Debug, Clone, Default)]
pub(in crate::doctor) struct Switches(pub(in crate::doctor) BTreeMap<String, String>);

const NODE: [&str; 12] = [
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "net.ipv6.conf.all.disable_ipv6",
    "net.ipv6.conf.default.disable_ipv6",
    "net.ipv4.conf.all.rp_filter",
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-ip6tables",
    "net.bridge.bridge-nf-call-arptables",
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_max",
    "net.ipv4.neigh.default.gc_thresh3",
    "net.ipv6.neigh.default.gc_thresh3",
];

impl Switches {
    pub(super) fn read(survey: &Survey) -> Self {
        let node = NODE.map(|name| (name.to_owned(), Sysctl::named(name).get()));
        let interfaces = survey.interfaces.iter().filter(|it| !(it.ours && it.is("veth")));
        let filters = interfaces.map(|it| {
            let switch = Sysctl::of_interface("ipv4", &it.name, "rp_filter");
            (filter_of(&it.name), switch.get())
        });
        let all = node.into_iter().chain(filters);
        Self(all.filter_map(|(name, value)| Some((name, value?))).collect())
    }

    pub(in crate::doctor) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(in crate::doctor) fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some("1")
    }

    pub(in crate::doctor) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }
}

/// The reverse-path filter of an interface, whose name may have dots: sysctl(8) takes slashes as well.
pub(in crate::doctor) fn filter_of(interface: &str) -> String {
    format!("net/ipv4/conf/{interface}/rp_filter")
}

/// UDP ports that are in use, be it by the kernel itself.
pub(super) fn taken_ports() -> Vec<u16> {
    let tables = ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"];
    let texts = tables.into_iter().filter_map(|table| std::fs::read_to_string(table).ok());
    texts.flat_map(|text| text.lines().skip(1).filter_map(taken_port).collect::<Vec<_>>()).collect()
}

fn taken_port(line: &str) -> Option<u16> {
    let (_, port) = line.split_whitespace().nth(1)?.rsplit_once(':')?;
    u16::from_str_radix(port, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_the_second_half_of_the_second_word() {
        let line =
            "  123: 00000000000000000000000000000000:12B5 00000000:0000 07 00000000:00000000 00:00000000";
        assert_eq!((taken_port(line), taken_port("")), (Some(4789), None));
    }
}
