//! What the operator says of tenants, and whose a pod is.
//!
//! Knows no leases: which address a pod gets is the crate root's.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use podwire_sdk::config::{check_interface_name, check_mtu};
use podwire_sdk::{AddRequest, AddressRange, IpNet, Refusal};
use serde::Deserialize;

/// `config` of the network configuration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Tenants {
    /// The first one whose namespaces hold a pod's has the pod.
    pub(crate) tenants: Vec<Tenant>,
    /// The annotation by which a pod may choose among the tenants that admit it.
    annotation: Option<String>,
    /// Whether packets leave the cluster with the node's address.
    #[serde(default)]
    pub(crate) ip_masq: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tenant {
    pub(crate) name: String,
    /// Namespaces whose pods are this tenant's: names, or beginnings of names with `*` at the end.
    #[serde(default)]
    namespaces: Vec<String>,
    /// Other namespaces, whose pods may choose this tenant by the annotation.
    #[serde(default)]
    admits: Vec<String>,
    /// Of all nodes: on each, those count that lie in its pools.
    pub(crate) blocks: Vec<IpNet>,
    pub(crate) bridge: String,
    #[serde(default)]
    pub(crate) isolation: Isolation,
    /// How the names of its pods' veths begin on the node; none: as the host makes them.
    pub(crate) veth: Option<String>,
    /// Of its bridge, in bytes.
    pub(crate) mtu: Option<u32>,
}

/// From whom a tenant's pods are kept away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Isolation {
    /// From nobody's addresses; only the broadcast is their own.
    #[default]
    None,
    /// From the other pods of the tenant on the node.
    Ports,
    /// From everybody but the pods of the tenant on the node.
    Tenant,
}

impl Tenants {
    /// Whose the pod is: the one's that its annotation chooses among those that admit it, else by its namespace.
    pub(crate) fn of(&self, request: &AddRequest) -> Result<&Tenant, Refusal> {
        let pod = request.pod.as_ref();
        let namespace = pod.map_or("", |pod| &*pod.namespace);
        let chosen = self.annotation.as_ref().and_then(|key| pod?.annotation(key));
        let is_in = |names: &[String]| names.iter().any(|name| is_called(namespace, name));
        let has = |tenant: &&Tenant| match chosen {
            Some(name) => tenant.name == name && (is_in(&tenant.namespaces) || is_in(&tenant.admits)),
            None => is_in(&tenant.namespaces),
        };
        self.tenants.iter().find(has).ok_or_else(|| {
            // Whether there is such a tenant is not for everybody to find out.
            Refusal::denied(match chosen {
                Some(name) => format!(
                    "the pod's annotation names tenant `{name}`, which admits no pods of namespace `{namespace}`: name \
                     the namespace in its `admits`, or leave the annotation out"
                ),
                None => format!("namespace `{namespace}` is no tenant's: name it in `namespaces` of one"),
            })
        })
    }

    /// Refuses what would mix two tenants, or cannot be used.
    pub(crate) fn keep_apart(&self) -> Result<(), Refusal> {
        for (i, tenant) in self.tenants.iter().enumerate() {
            let key = |key| format!("tenants[{i}].{key}");
            check_interface_name(&key("bridge"), &tenant.bridge)?;
            check_mtu(&key("mtu"), tenant.mtu)?;
            if let Some(veth) = tenant.host_interface(0) {
                check_interface_name(&key("veth"), &veth)?;
            }
            let is_bad = |block: &&IpNet| AddressRange::with_gateway(**block).is_none();
            if let Some(block) = tenant.blocks.iter().find(is_bad) {
                return Err(Refusal::invalid_config(format!(
                    "config: tenants[{i}].blocks has {block}: use one without host bits, with room for a gateway and a pod"
                )));
            }
            if let Some(other) = self.tenants[..i].iter().find(|other| tenant.meets(other)) {
                return Err(Refusal::invalid_config(format!(
                    "config: tenants {} and {} share a name, a bridge or addresses: give each its own",
                    tenant.name, other.name
                )));
            }
        }
        Ok(())
    }
}

impl Tenant {
    /// The name of a veth's end on the node, of 40 bits of a hash.
    pub(crate) fn host_interface(&self, hash: u64) -> Option<String> {
        self.veth.as_ref().map(|veth| format!("{veth}{:010x}", hash >> 24))
    }

    /// Whether two have what only one may have.
    fn meets(&self, other: &Self) -> bool {
        let overlaps =
            |block: &IpNet| other.blocks.iter().any(|one| one.contains(block) || block.contains(one));
        self.name == other.name || self.bridge == other.bridge || self.blocks.iter().any(overlaps)
    }
}

/// Whether a namespace's name is this one, or begins as this one that ends with `*`.
fn is_called(namespace: &str, name: &str) -> bool {
    name.strip_suffix('*').map_or(namespace == name, |beginning| namespace.starts_with(beginning))
}
