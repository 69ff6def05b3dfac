//! A StatefulSet's pod keeps its address: it is derived from the pod's name, so that nobody has to remember it, and a
//! node that lost everything finds it again.
//!
//! The upper half of each pool is for pods with places of their own. A set's name gives a place in it, and the
//! ordinals of the set follow that one: `db-0`, `db-1` and `db-2` never want the same address. Where two sets do, the
//! pod that comes second takes a second place of its own, which is as stable as the first, and so on; each time that
//! it is made anew, it begins with the first. All other pods live in the lower half, in turn. A half that is full
//! borrows from the other.
//!
//! A place that is still held by the pod's own predecessor is waited for. Pods are wired as by the policy `routed`.

#![no_std]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use podwire_sdk::config::check_mtu;
use podwire_sdk::ways::Ways;
use podwire_sdk::{
    AddPlan, AddRequest, Address, AddressRange, Family, Holder, Leases, NodePlan, NodeRequest, Policy,
    Refusal, choose, hash, sets_of,
};
use serde::Deserialize;

#[cfg(test)]
mod tests;

/// So many places a pod has, before it takes what is free: with half of all places held, the last one is needed by
/// one pod in 128.
const PLACES: usize = 8;

/// `config` of the network configuration.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Sticky {
    /// Whether every pod with a name has places of its own, and not only those whose name ends as a StatefulSet's.
    all: bool,
    /// Whether a pod waits for its predecessor to be deleted, or takes its next place at once.
    wait: bool,
    /// Of both ends of the veth, in bytes.
    mtu: Option<u32>,
    /// Whether packets leave the cluster with the node's address.
    ip_masq: bool,
}

impl Default for Sticky {
    fn default() -> Self {
        Self { all: false, wait: true, mtu: None, ip_masq: false }
    }
}

podwire_sdk::export!(Sticky);

impl Policy for Sticky {
    fn check(&self) -> Result<(), Refusal> {
        check_mtu("mtu", self.mtu)
    }

    fn add(&self, request: &AddRequest, leases: &dyn Leases) -> Result<AddPlan, Refusal> {
        let pools: Vec<_> = request.node.pools.iter().map(|pool| AddressRange::of(*pool, None)).collect();
        let sets = request.range_sets.clone().unwrap_or_else(|| sets_of(&pools));
        // Who asks for a certain address has no use for another place.
        let pod = Identity::of(request, self.all).filter(|_| request.requested_addresses.is_empty());
        let sets: Vec<_> = sets.into_iter().map(|set| own_half_first(set, pod.is_some())).collect();
        let addresses = match &pod {
            Some(pod) => self.of_pod(pod, &sets, request, leases)?,
            None => choose(&sets, request, leases)?,
        };
        let mut plan = AddPlan::routed();
        for address in addresses.iter().map(|address| address.prefix.addr()) {
            plan = plan.address(address.into(), Some(Family::of(address).point_to_point_gateway()));
        }
        Ok(plan.default_routes().mtu(self.mtu).mac(request.requested_mac.clone()).masquerade(self.ip_masq))
    }

    fn node(&self, request: &NodeRequest) -> Result<NodePlan, Refusal> {
        Ways::default().plan(request)
    }
}

/// The halves of ranges in the order in which they are tried: the upper ones first for pods with places in them.
fn own_half_first(set: Vec<AddressRange>, upper: bool) -> Vec<AddressRange> {
    let halves = set.into_iter().map(AddressRange::hosts).map(|range| range.halves().unwrap_or([range; 2]));
    let (lower, upper_half): (Vec<_>, Vec<_>) = halves.map(|[lower, upper]| (lower, upper)).unzip();
    if upper { [upper_half, lower].concat() } else { [lower, upper_half].concat() }
}

impl Sticky {
    /// One address of each set.
    fn of_pod(
        &self,
        pod: &Identity<'_>,
        sets: &[Vec<AddressRange>],
        request: &AddRequest,
        leases: &dyn Leases,
    ) -> Result<Vec<Address>, Refusal> {
        let mut addresses = Vec::new();
        for set in sets {
            match self.place(pod, &set[..set.len() / 2], leases)? {
                Some(address) => addresses.push(address),
                None => addresses.extend(choose(core::slice::from_ref(set), request, leases)?),
            }
        }
        Ok(addresses)
    }

    /// The first of a pod's places that is free, unless its predecessor holds one before it.
    fn place(
        &self,
        pod: &Identity<'_>,
        ranges: &[AddressRange],
        leases: &dyn Leases,
    ) -> Result<Option<Address>, Refusal> {
        for (attempt, range) in (0..PLACES).zip(ranges.iter().cycle()) {
            let address = range.at(pod.place(attempt));
            match leases.holder_of(address) {
                Some(holder) if self.wait && pod.is(&holder) => {
                    return Err(Refusal::try_again(format!(
                        "{address} is the address of pod {}, and still held by its predecessor: {holder}; delete \
                         that container, or set `wait` to false",
                        pod.full_name()
                    )));
                }
                // The host knows gateways of other networks, which nobody holds.
                None if range.gateway != Some(address)
                    && leases.first_free(address.into(), None).is_some() =>
                {
                    return Ok(Some(range.address(address)));
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

/// By what a pod is known again when it is made anew.
struct Identity<'a> {
    namespace: &'a str,
    name: &'a str,
    ifname: &'a str,
    /// The name without its ordinal.
    set: &'a str,
    ordinal: u32,
}

impl<'a> Identity<'a> {
    /// None outside Kubernetes, and unless `all` pods have one, of a pod whose name ends in no ordinal.
    fn of(request: &'a AddRequest, all: bool) -> Option<Self> {
        let pod = request.pod.as_ref()?;
        let (namespace, name, ifname) = (&pod.namespace, pod.name.as_str(), &request.ifname);
        let parts = name.rsplit_once('-').and_then(|(set, ordinal)| Some((set, ordinal.parse().ok()?)));
        let (set, ordinal) = parts.or(all.then_some((name, 0)))?;
        Some(Self { namespace, name, ifname, set, ordinal })
    }

    fn place(&self, attempt: usize) -> u64 {
        let attempt = format!("{attempt}");
        let of_set = hash::stable([self.namespace, self.set, self.ifname, &attempt]);
        of_set.wrapping_add(self.ordinal.into())
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn is(&self, holder: &Holder) -> bool {
        holder.ifname == self.ifname && holder.pod.as_ref() == Some(&self.full_name())
    }
}
