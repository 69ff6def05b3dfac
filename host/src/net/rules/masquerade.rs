//! Masquerade: packets of a set of pods leave with the node's address, but for those to certain blocks.
//!
//! Pods with the same blocks share a chain and its sets, named by a digest of the blocks: a network's blocks never
//! mix with another's, and a chain never changes once it is there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sha2::{Digest as _, Sha256};

use super::field::Field;
use super::rule::{Rule, Verdict, octets};
use super::table::{Chain, Definition, Element, Family, Set, Value};
use super::{POSTROUTING, Part, Role, Share};
use crate::plan::Checked;

/// Groups are not reached through another's address.
pub(super) const MULTICAST: [IpNet; 2] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8)),
];

/// Destinations to which packets keep their source, in order and without repetition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exempt {
    blocks: Vec<IpNet>,
    name: String,
}

impl Exempt {
    pub(super) fn new(except: &[IpNet]) -> Self {
        let mut blocks: Vec<IpNet> = except.iter().map(IpNet::trunc).collect();
        blocks.sort_unstable();
        blocks.dedup();
        let mut hash = Sha256::new();
        blocks.iter().for_each(|block| {
            hash.update(octets(block.network()));
            hash.update([block.prefix_len()]);
        });
        let name = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { blocks, name }
    }

    /// A digest of the blocks.
    pub(super) fn into_name(self) -> String {
        self.name
    }

    fn set(&self, ipv4: bool) -> Set {
        let (version, key): (_, &[Field]) =
            if ipv4 { (4, &[Field::Source4]) } else { (6, &[Field::Source6]) };
        let name = format!("masquerade{version}_{}", self.name).into();
        Set { family: Family::Inet, name, key, data: &[] }
    }

    pub(super) fn definition(&self) -> Definition {
        let (four, six) = (self.set(true), self.set(false));
        let kept = self.blocks.iter().copied().chain(MULTICAST);
        let mut rules = vec![
            Rule::new().of_ipv4().not_in_set(&four).then(Verdict::Return),
            Rule::new().of_ipv6().not_in_set(&six).then(Verdict::Return),
        ];
        rules.extend(kept.map(|block| Rule::new().to(block).then(Verdict::Return)));
        rules.push(Rule::new().masquerade());
        let chain =
            Chain { name: format!("masquerade_{}", self.name).into(), hook: Some(POSTROUTING), rules };
        Definition { family: Family::Inet, sets: vec![four, six], chains: vec![chain] }
    }

    fn element(&self, address: IpAddr) -> Element {
        let key = Value::default().and(&octets(address));
        Element { set: self.set(address.is_ipv4()), key, data: None, name: address.to_string() }
    }
}

/// An element for each of the plan's addresses.
pub(super) fn share(plan: &Checked) -> Option<Share> {
    let exempt = Exempt::new(&plan.traffic.masquerade.as_ref()?.except);
    let elements = plan.addresses.iter().map(|address| exempt.element(address.prefix.addr())).collect();
    Some(Share { part: Part::Masquerade(exempt), role: Role::Own, elements })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(blocks: &[&str]) -> String {
        Exempt::new(&blocks.iter().map(|block| block.parse().expect("valid")).collect::<Vec<_>>()).name
    }

    #[test]
    fn blocks_have_one_name_however_they_are_said() {
        let both = name(&["10.244.0.0/16", "fd00::/48"]);
        assert_eq!(name(&["fd00::/48", "10.244.0.1/16", "10.244.0.0/16"]), both);
        assert_ne!(name(&["10.244.0.0/17", "fd00::/48"]), both);
        assert_ne!(name(&["10.244.0.0/16"]), both);
    }
}
