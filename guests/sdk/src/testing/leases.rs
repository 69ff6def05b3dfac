//! A lease database in memory.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;

use crate::{AddPlan, AddRequest, Holder, Leases, after};

/// A lease database in memory, which answers as the host's does, but keeps no gateways back.
#[derive(Debug, Clone, Default)]
pub struct FakeLeases {
    held: BTreeMap<IpAddr, Holder>,
    /// In the order in which they were handed out; one that was given back stays.
    handed_out: Vec<IpAddr>,
}

impl FakeLeases {
    /// Without a lease.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records that an attachment holds an address.
    pub fn take(&mut self, address: IpAddr, holder: Holder) {
        self.held.insert(address, holder);
        self.handed_out.push(address);
    }

    /// Records what a plan takes for a request, as the host does at the end of an ADD.
    pub fn record(&mut self, request: &AddRequest, plan: &AddPlan) {
        let pod = request.pod.as_ref().map(|pod| alloc::format!("{}/{}", pod.namespace, pod.name));
        for address in &plan.addresses {
            let holder = Holder {
                network: request.network.clone(),
                container_id: request.container_id.clone(),
                ifname: request.ifname.clone(),
                pod: pod.clone(),
            };
            self.take(address.prefix.addr(), holder);
        }
    }

    /// Gives an address back, free at once.
    pub fn release(&mut self, address: IpAddr) {
        self.held.remove(&address);
    }

    fn may_be_free(&self, block: IpNet, address: IpAddr) -> bool {
        let small = block.prefix_len() + 1 >= block.max_prefix_len();
        let network = !small && address == block.network();
        let broadcast = !small && address.is_ipv4() && address == block.broadcast();
        !network && !broadcast && !self.held.contains_key(&address)
    }
}

impl Leases for FakeLeases {
    fn holder_of(&self, address: IpAddr) -> Option<Holder> {
        self.held.get(&address).cloned()
    }

    fn first_free(&self, block: IpNet, start: Option<IpAddr>) -> Option<IpAddr> {
        let start = start.filter(|start| block.contains(start)).unwrap_or(block.network());
        let upwards = |first| core::iter::successors(Some(first), move |at| after(block, *at));
        let below = upwards(block.network()).take_while(|at| *at != start);
        upwards(start).chain(below).find(|at| self.may_be_free(block, *at))
    }

    fn last_taken(&self, block: IpNet) -> Option<IpAddr> {
        self.handed_out.iter().rev().find(|address| block.contains(*address)).copied()
    }

    fn taken(&self, block: IpNet) -> u64 {
        self.held.keys().filter(|address| block.contains(*address)).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;
    use crate::AddressRange;
    use crate::testing::{add_request, prefixes, range};

    fn free(leases: &FakeLeases, block: &str, start: Option<&str>) -> Option<IpAddr> {
        let start = start.map(|start| start.parse().expect("an address"));
        leases.first_free(block.parse().expect("a block"), start)
    }

    fn held(addresses: &[&str]) -> FakeLeases {
        let mut leases = FakeLeases::new();
        for address in addresses {
            let plan = AddPlan::routed().address(prefixes(&[address])[0], None);
            leases.record(&add_request("a", &[]), &plan);
        }
        leases
    }

    #[test]
    fn the_first_free_address_wraps_round() {
        let leases = held(&["10.244.1.3", "10.244.1.5"]);
        assert_eq!(free(&leases, "10.244.1.0/29", Some("10.244.1.3")), "10.244.1.4".parse().ok());
        assert_eq!(free(&leases, "10.244.1.0/29", Some("10.244.1.7")), "10.244.1.1".parse().ok());
        assert_eq!(free(&leases, "10.244.1.0/29", None), "10.244.1.1".parse().ok());
        assert_eq!(free(&leases, "10.244.1.3/32", None), None);
        assert_eq!(free(&leases, "fd00::/126", Some("fd00::3")), "fd00::3".parse().ok());
    }

    #[test]
    fn the_next_free_address_goes_round_and_keeps_back() {
        let block = "10.244.1.0/29".parse().expect("a block");
        let kept: Vec<IpAddr> = ["10.244.1.1", "10.244.1.6"].map(|a| a.parse().expect("an address")).into();
        let next = |leases: &FakeLeases| leases.next_free(block, &kept).map(|a| a.to_string());
        assert_eq!(next(&held(&[])).as_deref(), Some("10.244.1.2"));
        let mut leases = held(&["10.244.1.2", "10.244.1.4"]);
        leases.release("10.244.1.2".parse().expect("an address"));
        assert_eq!(next(&leases).as_deref(), Some("10.244.1.5"), "not the one that was given back");
        let leases = held(&["10.244.1.3", "10.244.1.4", "10.244.1.5"]);
        assert_eq!(next(&leases).as_deref(), Some("10.244.1.2"), "beyond both that are kept back");
        assert_eq!(next(&held(&["10.244.1.2", "10.244.1.3", "10.244.1.4", "10.244.1.5"])), None);
    }

    #[test]
    fn a_range_goes_round_in_itself() {
        let part = range("10.244.1.0/24", "10.244.1.5", "10.244.1.7");
        let next = |leases: &FakeLeases| leases.next_free_in(&part).map(|a| a.to_string());
        assert_eq!(next(&held(&[])).as_deref(), Some("10.244.1.5"));
        assert_eq!(next(&held(&["10.244.1.5", "10.244.1.6"])).as_deref(), Some("10.244.1.7"));
        let mut leases = held(&["10.244.1.5", "10.244.1.6", "10.244.1.7"]);
        assert_eq!(next(&leases), None, "the rest of the subnet is free, and not of the range");
        leases.release("10.244.1.6".parse().expect("an address"));
        assert_eq!(next(&leases).as_deref(), Some("10.244.1.6"), "from the beginning again");
        let mut leases = held(&["10.244.1.7", "10.244.1.5", "10.244.1.6"]);
        leases.release("10.244.1.5".parse().expect("an address"));
        assert_eq!(next(&leases).as_deref(), Some("10.244.1.5"), "beyond the range there are free ones, too");
        let mut leases = held(&["10.244.1.5", "10.244.1.77"]);
        leases.release("10.244.1.5".parse().expect("an address"));
        assert_eq!(next(&leases).as_deref(), Some("10.244.1.6"), "others are remembered apart");
    }

    #[test]
    fn a_range_keeps_its_gateway_back() {
        let next = |first, last, gateway: &str, taken: &[&str]| {
            let gateway = gateway.parse().ok();
            let range = AddressRange { gateway, ..range("10.244.1.0/29", first, last) };
            held(taken).next_free_in(&range).map(|a| a.to_string())
        };
        let free = |address: &str| Some(address.to_string());
        assert_eq!(next("10.244.1.1", "10.244.1.6", "10.244.1.1", &[]), free("10.244.1.2"));
        assert_eq!(next("10.244.1.1", "10.244.1.6", "10.244.1.3", &["10.244.1.2"]), free("10.244.1.4"));
        assert_eq!(next("10.244.1.5", "10.244.1.6", "10.244.1.6", &["10.244.1.5"]), None);
        assert_eq!(next("10.244.1.6", "10.244.1.6", "10.244.1.6", &[]), None);
        let all_others = ["10.244.1.1", "10.244.1.2", "10.244.1.4", "10.244.1.5", "10.244.1.6"];
        assert_eq!(next("10.244.1.1", "10.244.1.6", "10.244.1.3", &all_others), None);
    }

    /// What a call of the host costs is the host's; how many there are is ours.
    #[test]
    fn a_full_range_takes_few_questions() {
        struct Counted(FakeLeases, core::cell::Cell<u32>);
        impl Counted {
            fn ask(&self) -> &FakeLeases {
                self.1.set(self.1.get() + 1);
                &self.0
            }
        }
        impl Leases for Counted {
            fn holder_of(&self, address: IpAddr) -> Option<Holder> {
                self.ask().holder_of(address)
            }
            fn first_free(&self, block: IpNet, start: Option<IpAddr>) -> Option<IpAddr> {
                self.ask().first_free(block, start)
            }
            fn last_taken(&self, block: IpNet) -> Option<IpAddr> {
                self.ask().last_taken(block)
            }
            fn taken(&self, block: IpNet) -> u64 {
                self.ask().taken(block)
            }
        }
        let whole = range("10.244.0.0/16", "10.244.0.1", "10.244.255.254");
        let mut leases = FakeLeases::new();
        let holder = Holder { network: "n".into(), container_id: "c".into(), ifname: "e".into(), pod: None };
        let free = "10.244.128.0".parse().expect("an address");
        let mut address = whole.after(free);
        while address != free {
            leases.take(address, holder.clone());
            address = whole.after(address);
        }
        let counted = Counted(leases, 0.into());
        assert_eq!(counted.next_free_in(&whole), Some(free));
        assert!(counted.1.get() <= 3, "{} questions", counted.1.get());
        let counted = Counted(FakeLeases::new(), 0.into());
        assert_eq!(
            counted.next_free_in(&range("10.244.0.0/16", "10.244.0.7", "10.244.0.7")).iter().count(),
            1
        );
        assert_eq!(counted.1.get(), 1, "in one address nothing goes round");
    }
}
