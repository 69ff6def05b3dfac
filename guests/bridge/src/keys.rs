//! What the operator may configure: the keys of the reference plugin `bridge`, read and held against each
//! other.
//!
//! Knows no addresses: those are chosen in [`crate::addresses`].

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::net::IpAddr;

use podwire_sdk::config::check_interface_name;
use podwire_sdk::ways::{Tunnels, Way, Ways};
use podwire_sdk::{AddRequest, Bridge, BridgePort, PortVlans, Refusal, SpoofCheck, log};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// The VLAN that the kernel gives to every port of a bridge.
pub(crate) const DEFAULT_VLAN: u16 = 1;

/// The greatest number of a VLAN (IEEE 802.1Q: 4,095 is reserved).
const MAX_VLAN: u16 = 4_094;

/// As they are written. What a key means where it is not given depends on the [`Network`].
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Keys {
    /// The bridge's name.
    bridge: String,
    /// Whether the bridge carries the gateways.
    is_gateway: Option<bool>,
    /// Whether it is where the pods' default routes lead, and so carries the gateways.
    is_default_gateway: Option<bool>,
    /// Whether the bridge loses other addresses that stand in the way of the gateways.
    force_address: bool,
    /// Whether packets leave the cluster with the node's address.
    pub(crate) ip_masq: bool,
    ip_masq_backend: Option<Backend>,
    /// Of the bridge, and so of the veths, in bytes; none: 1,500, or what the bridge already has.
    #[serde(deserialize_with = "mtu")]
    mtu: Option<u32>,
    /// Whether a pod reaches itself by the address of a service that it backs.
    hairpin_mode: Option<bool>,
    /// Whether the bridge takes in frames for whatever hardware address.
    promisc_mode: bool,
    /// Of the pod's frames; none: they have no tag.
    #[serde(deserialize_with = "vlan")]
    vlan: Option<u16>,
    /// What passes with its tag.
    vlan_trunk: Vec<Tagged>,
    /// Whether a port with VLANs stays in the default VLAN too.
    preserve_default_vlan: bool,
    /// Whether a pod is kept from sending with another hardware address than its own.
    macspoofchk: bool,
    /// Whether a pod is kept from sending with another address than its own. Not known to the reference plugin.
    ipspoofchk: bool,
    /// Whether the link is asked for IPv6 addresses before they are used.
    pub(crate) enabledad: bool,
    /// Whether the container's interface is left down.
    pub(crate) disable_container_interface: bool,
    /// Whether the pods of a node are kept from reaching each other.
    port_isolation: bool,
    /// Which way packets take to the pods of a peer.
    #[serde(deserialize_with = "apart")]
    ways: Way,
    /// The router's addresses, if it is no peer.
    #[serde(deserialize_with = "apart")]
    router: Vec<IpAddr>,
    /// What tunnels are like.
    #[serde(deserialize_with = "apart")]
    vxlan: Option<Tunnels>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            bridge: "cni0".to_string(),
            is_gateway: None,
            is_default_gateway: None,
            force_address: false,
            ip_masq: false,
            ip_masq_backend: None,
            mtu: None,
            hairpin_mode: None,
            promisc_mode: false,
            vlan: None,
            vlan_trunk: Vec::new(),
            preserve_default_vlan: true,
            macspoofchk: false,
            ipspoofchk: false,
            enabledad: false,
            disable_container_interface: false,
            port_isolation: false,
            ways: Way::Auto,
            router: Vec::new(),
            vxlan: None,
        }
    }
}

/// How the reference plugin masquerades. podwire always speaks nftables to the kernel.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Backend {
    Nftables,
    Iptables,
}

/// What only the node asks for is read by code of its own: an ADD has less to map.
#[inline(never)]
fn apart<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<T, D::Error> {
    T::deserialize(value)
}

fn mtu<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u32>, D::Error> {
    match u32::deserialize(value)? {
        0 => Ok(None),
        mtu @ 68..=65_535 => Ok(Some(mtu)),
        _ => Err(D::Error::custom(
            "use 68 to 65535 bytes, with IPv6 1280 at least, or 0 for what the bridge has",
        )),
    }
}

fn vlan<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u16>, D::Error> {
    match u16::deserialize(value)? {
        0 => Ok(None),
        id @ 1..=MAX_VLAN => Ok(Some(id)),
        _ => Err(D::Error::custom("a VLAN has a number from 1 to 4094, and 0 is none")),
    }
}

/// An entry of `vlanTrunk`: first and last of a range of VLANs.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "TrunkEntry")]
struct Tagged(u16, u16);

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TrunkEntry {
    id: Option<u16>,
    #[serde(rename = "minID")]
    min_id: Option<u16>,
    #[serde(rename = "maxID")]
    max_id: Option<u16>,
}

impl TryFrom<TrunkEntry> for Tagged {
    type Error = &'static str;

    fn try_from(entry: TrunkEntry) -> Result<Self, &'static str> {
        match (entry.id, entry.min_id, entry.max_id) {
            (Some(id @ 1..=MAX_VLAN), None, None) => Ok(Self(id, id)),
            (None, Some(min @ 1..), Some(max @ ..=MAX_VLAN)) if min <= max => Ok(Self(min, max)),
            _ => Err("give it an id, or a minID and a maxID that is not less, from 1 to 4094"),
        }
    }
}

/// Where a network's addresses come from, which decides what is meant by a key that is not given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Network {
    /// From the node's pools: the bridge is the pods' gateway, and they reach themselves.
    Native,
    /// From `ipam`, as with the reference plugin: nothing is on unless it is said.
    Reference,
}

impl Network {
    pub(crate) fn of(request: &AddRequest) -> Self {
        if request.range_sets.is_some() { Self::Reference } else { Self::Native }
    }
}

/// What the keys come to.
pub(crate) struct Settings {
    pub(crate) is_gateway: bool,
    pub(crate) is_default_gateway: bool,
    /// Its bridge still without addresses.
    pub(crate) port: BridgePort,
    pub(crate) spoof_check: SpoofCheck,
}

impl Keys {
    /// Tells the operator what is understood, and done in another way.
    pub(crate) fn note(&self) {
        if self.ip_masq_backend == Some(Backend::Iptables) {
            log::warn("config: ipMasqBackend is iptables: podwire uses nftables all the same");
        }
    }

    pub(crate) fn ways(&self) -> Ways {
        let tunnels = self.vxlan.clone().unwrap_or_default();
        Ways { way: self.ways, router: self.router.clone(), tunnels }
    }

    pub(crate) fn settings(&self, network: Network) -> Result<Settings, Refusal> {
        let native = network == Network::Native;
        let is_default_gateway = self.is_default_gateway.unwrap_or(native && self.is_gateway != Some(false));
        let is_gateway = is_default_gateway || self.is_gateway.unwrap_or(native);
        let spoof_check = SpoofCheck { mac: self.macspoofchk, address: self.ipspoofchk };
        Ok(Settings { is_gateway, is_default_gateway, port: self.port(native)?, spoof_check })
    }

    fn port(&self, native: bool) -> Result<BridgePort, Refusal> {
        if self.hairpin_mode == Some(true) && self.promisc_mode {
            return Err(Refusal::invalid_config(
                "config: hairpinMode and promiscMode are both true, and a pod would see its own frames twice: \
                 choose one",
            ));
        }
        let hairpin = self.hairpin_mode.unwrap_or(native && !self.promisc_mode);
        let (isolated, vlans) = (self.port_isolation, self.vlans()?);
        Ok(BridgePort { bridge: self.bridge()?, hairpin, isolated, vlans })
    }

    fn bridge(&self) -> Result<Bridge, Refusal> {
        check_interface_name("bridge", &self.bridge)?;
        let (promiscuous, exclusive) = (self.promisc_mode, self.force_address);
        Ok(Bridge { mtu: self.mtu, promiscuous, exclusive, ..Bridge::named(self.bridge.as_str()) })
    }

    /// A port has frames without a tag, or with one. The kernel's VLAN is the native one of the second kind.
    fn vlans(&self) -> Result<Option<PortVlans>, Refusal> {
        let tagged: Vec<_> = self.vlan_trunk.iter().map(|Tagged(min, max)| (*min, *max)).collect();
        match self.vlan {
            None if tagged.is_empty() => Ok(None),
            Some(vlan) if !tagged.is_empty() => Err(Refusal::invalid_config(format!(
                "config: vlan is {vlan}, and vlanTrunk is given too: a port is in one VLAN, or has a trunk; choose one"
            ))),
            None if !self.preserve_default_vlan => Err(Refusal::invalid_config(
                "config: preserveDefaultVlan is false, but the frames without a tag of a vlanTrunk are in the default \
                 VLAN here: set it to true, or leave it out",
            )),
            native => Ok(Some(PortVlans {
                native: native.unwrap_or(DEFAULT_VLAN),
                tagged,
                keep_default: self.preserve_default_vlan,
            })),
        }
    }
}
