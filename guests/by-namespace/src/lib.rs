//! Pods of some namespaces get their addresses from the upper half of the node's pool, all others from the
//! lower half: a firewall can then tell them apart by one block.

#![no_std]

extern crate alloc;

use alloc::{format, string::String, vec::Vec};
use core::net::{IpAddr, Ipv4Addr};

use podwire_sdk::{AddPlan, AddRequest, Family, Leases, Policy, Refusal};

/// The node answers for it: pods are wired point to point.
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));

/// `config` of the network configuration.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ByNamespace {
    /// The namespaces whose pods live in the upper half.
    upper: Vec<String>,
}

podwire_sdk::export!(ByNamespace);

impl Policy for ByNamespace {
    fn add(&self, request: &AddRequest, leases: &dyn Leases) -> Result<AddPlan, Refusal> {
        let too_small = || Refusal::invalid_config("give the node an IPv4 pool that is a /29 or larger");
        let pool = request.node.pools_of(Family::V4).find(|pool| pool.prefix_len() <= 29).ok_or_else(too_small)?;
        let mut halves = pool.subnets(pool.prefix_len() + 1).map_err(|_| too_small())?;
        let is_upper = request.pod.as_ref().is_some_and(|pod| self.upper.contains(&pod.namespace));
        let half = halves.nth(usize::from(is_upper)).ok_or_else(too_small)?;
        let full = || Refusal::exhausted(format!("no address is left in {half}: delete pods"));
        let address = leases.next_free(half, &[]).ok_or_else(full)?;
        Ok(AddPlan::routed().address(address.into(), Some(GATEWAY)).default_route(GATEWAY))
    }
}

#[cfg(test)]
mod tests {
    use podwire_sdk::testing::{FakeLeases, add_request};
    use podwire_sdk::{Pod, RefusalReason, config};

    use super::*;

    fn address_for(namespace: &str, pool: &str, leases: &mut FakeLeases) -> Result<String, Refusal> {
        let policy: ByNamespace = config::read(r#"{"upper": ["db"]}"#)?;
        let mut request = add_request("0abc", &[pool]);
        request.pod = Some(Pod { namespace: namespace.into(), name: "a".into(), ..Pod::default() });
        let plan = policy.add(&request, leases)?;
        leases.record(&request, &plan);
        Ok(format!("{}", plan.addresses[0].prefix))
    }

    #[test]
    fn each_namespace_has_its_half() {
        let mut leases = FakeLeases::new();
        let mut address = |namespace| address_for(namespace, "10.244.1.0/24", &mut leases);
        assert_eq!(address("db"), Ok("10.244.1.129/32".into()));
        assert_eq!(address("web"), Ok("10.244.1.1/32".into()));
        assert_eq!(address("db"), Ok("10.244.1.130/32".into()));
    }

    #[test]
    fn a_full_half_borrows_nothing() {
        let mut leases = FakeLeases::new();
        let mut address = |namespace| address_for(namespace, "10.244.1.0/29", &mut leases);
        let answers = [address("db"), address("db"), address("db")];
        let refusal = answers.into_iter().find_map(Result::err).expect("a half has two addresses");
        assert_eq!(refusal.reason, RefusalReason::Exhausted);
        assert!(address("web").is_ok());
    }
}
