//! Answers as JSON: field by field what the host's `plan` module writes, and what is left out is empty.
//! Nothing is checked that can be passed on.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use podwire_sdk::raw::{self, types};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// An address.
#[derive(Clone, Copy, Deserialize)]
pub(crate) struct Ip(IpAddr);

impl From<Ip> for types::IpAddress {
    fn from(address: Ip) -> Self {
        address.0.into()
    }
}

/// An address and any length up to 255: "10.244.1.2/200".
#[derive(Clone, Copy)]
pub(crate) struct Prefix(types::IpPrefix);

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parts = text.split_once('/').and_then(|(address, length)| {
            Some(types::IpPrefix {
                address: address.parse::<IpAddr>().ok()?.into(),
                length: length.parse().ok()?,
            })
        });
        parts.map(Self).ok_or_else(|| D::Error::custom(format!("{text:?} is no address/length")))
    }
}

impl From<Prefix> for types::IpPrefix {
    fn from(prefix: Prefix) -> Self {
        prefix.0
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Route {
    destination: Prefix,
    via: Option<Ip>,
    mtu: Option<u32>,
    metric: Option<u32>,
    advmss: Option<u32>,
    table: Option<u32>,
    scope: Option<u8>,
}

impl From<Route> for types::Route {
    fn from(route: Route) -> Self {
        Self {
            destination: route.destination.into(),
            via: route.via.map(Into::into),
            mtu: route.mtu,
            metric: route.metric,
            advmss: route.advmss,
            table: route.table,
            scope: route.scope,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Address {
    prefix: Prefix,
    gateway: Option<Ip>,
}

impl From<Address> for types::Address {
    fn from(address: Address) -> Self {
        Self { prefix: address.prefix.into(), gateway: address.gateway.map(Into::into) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bridge {
    name: String,
    #[serde(default)]
    addresses: Vec<Prefix>,
    mtu: Option<u32>,
    #[serde(default)]
    promiscuous: bool,
    #[serde(default)]
    exclusive: bool,
}

impl From<Bridge> for types::Bridge {
    fn from(bridge: Bridge) -> Self {
        let Bridge { name, addresses, mtu, promiscuous, exclusive } = bridge;
        Self { name, addresses: all(addresses), mtu, promiscuous, exclusive }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PortVlans {
    native: u16,
    #[serde(default)]
    tagged: Vec<(u16, u16)>,
    #[serde(default)]
    keep_default: bool,
}

impl From<PortVlans> for types::PortVlans {
    fn from(vlans: PortVlans) -> Self {
        let PortVlans { native, tagged, keep_default } = vlans;
        Self { native, tagged, keep_default }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Wiring {
    Bridge {
        bridge: Bridge,
        #[serde(default)]
        hairpin: bool,
        #[serde(default)]
        isolated: bool,
        vlans: Option<PortVlans>,
    },
    #[default]
    Routed,
}

impl From<Wiring> for types::Wiring {
    fn from(wiring: Wiring) -> Self {
        match wiring {
            Wiring::Bridge { bridge, hairpin, isolated, vlans } => {
                let (bridge, vlans) = (bridge.into(), vlans.map(Into::into));
                Self::Bridge(types::BridgePort { bridge, hairpin, isolated, vlans })
            }
            Wiring::Routed => Self::Routed,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Dns {
    nameservers: Vec<Ip>,
    domain: Option<String>,
    search: Vec<String>,
    options: Vec<String>,
}

impl From<Dns> for types::Dns {
    fn from(dns: Dns) -> Self {
        let Dns { nameservers, domain, search, options } = dns;
        Self { nameservers: all(nameservers), domain, search, options }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SpoofCheck {
    mac: bool,
    address: bool,
}

impl From<SpoofCheck> for types::SpoofCheck {
    fn from(check: SpoofCheck) -> Self {
        let chosen = |chosen, flag| if chosen { flag } else { Self::empty() };
        chosen(check.mac, Self::MAC) | chosen(check.address, Self::ADDRESS)
    }
}

/// The answer to ADD.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AddPlan {
    host_interface: Option<String>,
    wiring: Wiring,
    addresses: Vec<Address>,
    routes: Vec<Route>,
    mac: Option<String>,
    mtu: Option<u32>,
    dns: Option<Dns>,
    sysctls: Vec<(String, String)>,
    masquerade: bool,
    spoof_check: SpoofCheck,
    duplicate_address_detection: bool,
    interface_down: bool,
    extra: Vec<(String, String)>,
}

impl From<AddPlan> for raw::AddPlan {
    fn from(plan: AddPlan) -> Self {
        Self {
            host_interface: plan.host_interface,
            wiring: plan.wiring.into(),
            addresses: all(plan.addresses),
            routes: all(plan.routes),
            mac: plan.mac,
            mtu: plan.mtu,
            dns: plan.dns.map(Into::into),
            sysctls: plan.sysctls,
            masquerade: plan.masquerade,
            spoof_check: plan.spoof_check.into(),
            duplicate_address_detection: plan.duplicate_address_detection,
            interface_down: plan.interface_down,
            extra: plan.extra,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum NextHop {
    Via(Ip),
    Blackhole,
    Tunnel(Ip),
}

impl From<NextHop> for types::NextHop {
    fn from(next_hop: NextHop) -> Self {
        match next_hop {
            NextHop::Via(address) => Self::Via(address.into()),
            NextHop::Blackhole => Self::Blackhole,
            NextHop::Tunnel(address) => Self::Tunnel(address.into()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeRoute {
    destination: Prefix,
    next_hop: NextHop,
    metric: Option<u32>,
}

impl From<NodeRoute> for types::NodeRoute {
    fn from(route: NodeRoute) -> Self {
        Self { destination: route.destination.into(), next_hop: route.next_hop.into(), metric: route.metric }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vxlan {
    name: String,
    id: u32,
    port: u16,
    local: Ip,
    mtu: u32,
}

impl From<Vxlan> for types::Vxlan {
    fn from(vxlan: Vxlan) -> Self {
        let Vxlan { name, id, port, local, mtu } = vxlan;
        Self { name, id, port, local: local.into(), mtu }
    }
}

/// The answer about the node.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NodePlan {
    bridges: Vec<Bridge>,
    vxlan: Option<Vxlan>,
    routes: Vec<NodeRoute>,
    masquerade: Vec<Prefix>,
    extra: Vec<(String, String)>,
}

impl From<NodePlan> for raw::NodePlan {
    fn from(plan: NodePlan) -> Self {
        Self {
            bridges: all(plan.bridges),
            vxlan: plan.vxlan.map(Into::into),
            routes: all(plan.routes),
            masquerade: all(plan.masquerade),
            extra: plan.extra,
        }
    }
}

fn all<T, U: From<T>>(list: Vec<T>) -> Vec<U> {
    list.into_iter().map(U::from).collect()
}
