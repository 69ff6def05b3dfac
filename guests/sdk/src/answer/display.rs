//! Plans as a person reads them, in a test that failed: one thing a line, and nothing of what is left to the host.

use core::fmt::{Display, Formatter, Result};

use super::{AddPlan, Bridge, BridgePort, NextHop, NodePlan, NodeRoute, Route, Vxlan, Wiring};

/// Writes a line's further word, with what stands behind it if there is something.
fn word(f: &mut Formatter<'_>, word: &str, value: Option<impl Display>) -> Result {
    value.map_or(Ok(()), |value| write!(f, " {word} {value}"))
}

fn flag(f: &mut Formatter<'_>, flag: &str, set: bool) -> Result {
    if set { write!(f, " {flag}") } else { Ok(()) }
}

/// What is done, and at last how the pod is wired: one thing a line.
impl Display for AddPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for address in &self.addresses {
            write!(f, "address {}", address.prefix)?;
            word(f, "gateway", address.gateway)?;
            writeln!(f)?;
        }
        for route in &self.routes {
            writeln!(f, "{route}")?;
        }
        for (name, value) in &self.sysctls {
            writeln!(f, "sysctl {name} = {value}")?;
        }
        write!(f, "{}", self.wiring)?;
        word(f, "veth", self.host_interface.as_ref())?;
        word(f, "mac", self.mac.as_ref())?;
        word(f, "mtu", self.mtu)?;
        flag(f, "masquerade", self.masquerade)?;
        flag(f, "check-mac", self.spoof_check.mac)?;
        flag(f, "check-address", self.spoof_check.address)?;
        flag(f, "dns", self.dns.is_some())?;
        flag(f, "duplicate-address-detection", self.duplicate_address_detection)?;
        flag(f, "down", self.interface_down)
    }
}

impl Display for Route {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "route {}", self.destination)?;
        word(f, "via", self.via)?;
        word(f, "mtu", self.mtu)?;
        word(f, "metric", self.metric)?;
        word(f, "advmss", self.advmss)?;
        word(f, "table", self.table)?;
        word(f, "scope", self.scope)
    }
}

impl Display for Wiring {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Bridge(port) => write!(f, "{port}"),
            Self::Routed => f.write_str("routed"),
        }
    }
}

impl Display for BridgePort {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "port of {}", self.bridge)?;
        flag(f, "hairpin", self.hairpin)?;
        flag(f, "isolated", self.isolated)?;
        word(f, "vlan", self.vlans.as_ref().map(|vlans| vlans.native))
    }
}

impl Display for Bridge {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "bridge {}", self.name)?;
        for address in &self.addresses {
            write!(f, " {address}")?;
        }
        word(f, "mtu", self.mtu)?;
        flag(f, "promiscuous", self.promiscuous)?;
        flag(f, "exclusive", self.exclusive)
    }
}

/// One thing a line.
impl Display for NodePlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for bridge in &self.bridges {
            writeln!(f, "{bridge}")?;
        }
        if let Some(vxlan) = &self.vxlan {
            writeln!(f, "{vxlan}")?;
        }
        self.routes.iter().try_for_each(|route| writeln!(f, "{route}"))?;
        self.masquerade.iter().try_for_each(|block| writeln!(f, "masquerade {block}"))
    }
}

impl Display for Vxlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { name, id, port, local, mtu } = self;
        write!(f, "vxlan {name} id {id} port {port} local {local} mtu {mtu}")
    }
}

impl Display for NodeRoute {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.next_hop {
            NextHop::Via(address) => write!(f, "route {} via {address}", self.destination)?,
            NextHop::Blackhole => write!(f, "blackhole {}", self.destination)?,
            NextHop::Tunnel(peer) => write!(f, "route {} through the tunnel to {peer}", self.destination)?,
        }
        word(f, "metric", self.metric)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;
    use crate::SpoofCheck;
    use crate::testing::prefixes;

    #[test]
    fn a_plan_is_read_line_by_line() {
        let gateway = "10.244.1.1".parse().expect("an address");
        let [own, link] = [prefixes(&["10.244.1.2/24"])[0], prefixes(&["10.244.1.1/24"])[0]];
        let port = BridgePort { isolated: true, ..BridgePort::of(Bridge::named("br-db").address(link)) };
        let plan = AddPlan::port_of(port)
            .address(own, Some(gateway))
            .default_route(gateway)
            .mtu(1450)
            .spoof_check(SpoofCheck::ALL);
        assert_eq!(
            plan.to_string(),
            "address 10.244.1.2/24 gateway 10.244.1.1\n\
             route 0.0.0.0/0 via 10.244.1.1\n\
             port of bridge br-db 10.244.1.1/24 isolated mtu 1450 check-mac check-address"
        );
    }

    #[test]
    fn a_nodes_plan_is_too() {
        let blocks = prefixes(&["10.244.1.128/25", "10.244.2.0/24", "10.244.1.0/24"]);
        let local = "192.168.1.11".parse().expect("an address");
        let vxlan = Vxlan { name: "vx".to_string(), id: 7, port: 4_789, local, mtu: 1_450 };
        let plan = NodePlan::default()
            .bridge(Bridge::named("cni0"))
            .blackhole(blocks[0])
            .route(blocks[1], NextHop::Via("192.168.1.12".parse().expect("an address")))
            .tunnel(blocks[1], "192.168.1.12".parse().expect("an address"))
            .vxlan(vxlan)
            .masquerade(blocks[2]);
        let lines = "bridge cni0\nvxlan vx id 7 port 4789 local 192.168.1.11 mtu 1450\n\
                     blackhole 10.244.1.128/25 metric 4294967295\nroute 10.244.2.0/24 via 192.168.1.12\n\
                     route 10.244.2.0/24 through the tunnel to 192.168.1.12\nmasquerade 10.244.1.0/24\n";
        assert_eq!(plan.to_string(), lines);
    }
}
