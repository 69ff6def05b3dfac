//! The cluster's Nodes as last heard of, and what follows from them: who is a peer, and what keeps the others from it.

use std::collections::BTreeMap;

use crate::agent::source::{Membership, Own};
use crate::plan::{Peer, Role};

use super::OwnHint;
use super::node::{Member, Node};

/// As many flaws as fit a screen; the rest are counted.
const SHOWN: usize = 10;

/// All Nodes by name.
#[derive(Debug, Default)]
pub(super) struct Members(BTreeMap<String, Member>);

impl Members {
    /// Takes a Node as it is now: whether that is news.
    pub(super) fn apply(&mut self, node: Node) -> bool {
        let member = Member::from(&node);
        if self.0.get(&node.metadata.name) == Some(&member) {
            return false;
        }
        self.0.insert(node.metadata.name, member);
        true
    }

    /// Forgets a Node that was deleted: whether that is news.
    pub(super) fn remove(&mut self, node: &Node) -> bool {
        self.0.remove(&node.metadata.name).is_some()
    }

    /// The cluster as seen from one of its nodes. What the API server does not know of that one, the machine says.
    pub(super) fn membership(&self, hint: &OwnHint) -> Membership {
        let others = self.0.iter().filter(|(name, member)| **name != hint.name && flaw(member).is_none());
        Membership::new(self.own(hint), others.map(|(name, member)| peer(name, member)).collect())
    }

    fn own(&self, hint: &OwnHint) -> Own {
        let OwnHint { name, role, addresses } = hint.clone();
        match self.0.get(&name) {
            None => Own { name, role, addresses, pools: Vec::new() },
            Some(member) => Own {
                name,
                role: if role == Role::Router { role } else { member.role },
                addresses: if member.addresses.is_empty() { addresses } else { member.addresses.clone() },
                pools: member.pools.clone(),
            },
        }
    }

    /// What somebody has to mend before every Node takes part, one sentence each.
    pub(super) fn remarks(&self, hint: &OwnHint) -> Vec<String> {
        let others = self.0.iter().filter(|(name, _)| **name != hint.name);
        let flawed = others.filter_map(|(name, member)| Some((name, flaw(member)?)));
        let mut remarks: Vec<_> = self.own_remark(hint).into_iter().collect();
        remarks.extend(
            flawed.clone().take(SHOWN).map(|(name, flaw)| format!("the node {name} is no peer: {flaw}")),
        );
        match flawed.count().saturating_sub(SHOWN) {
            0 => {}
            more => remarks.push(format!("{more} more nodes are no peers for such reasons")),
        }
        remarks
    }

    fn own_remark(&self, hint: &OwnHint) -> Option<String> {
        let name = &hint.name;
        match self.0.get(name) {
            None if hint.role == Role::Router => None,
            None => Some(format!(
                "no Node is called {name}: until kubelet registers this one, it gets no pods; if it is registered by \
                 another name, say so in the source's `nodeName` or in NODE_NAME"
            )),
            Some(member) if member.pools.is_empty() && self.own(hint).role == Role::Host => {
                Some(format!("this node, {name}, waits for the addresses of its pods: {NO_POOLS}"))
            }
            Some(_) => None,
        }
    }
}

const NO_POOLS: &str = "its spec.podCIDRs is empty; kube-controller-manager fills it when it runs with \
                        --allocate-node-cidrs and --cluster-cidr";
const NO_ADDRESSES: &str = "its status.addresses has no InternalIP; kubelet or the cloud's controller reports it (kubelet's --node-ip)";
const LEAVING: &str = "it is being deleted";

fn flaw(member: &Member) -> Option<&'static str> {
    if member.leaving {
        Some(LEAVING)
    } else if member.addresses.is_empty() {
        Some(NO_ADDRESSES)
    } else if member.pools.is_empty() && member.role == Role::Host {
        Some(NO_POOLS)
    } else {
        None
    }
}

fn peer(name: &str, member: &Member) -> Peer {
    let Member { role, addresses, pools, .. } = member;
    Peer { name: name.to_owned(), role: *role, addresses: addresses.clone(), pools: pools.clone() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn hint(name: &str) -> OwnHint {
        OwnHint { name: name.into(), role: Role::Host, addresses: vec![[192, 168, 9, 9].into()] }
    }

    fn node(name: &str, pools: &[&str], address: Option<&str>) -> Value {
        let addresses: Vec<_> =
            address.iter().map(|address| json!({"type": "InternalIP", "address": address})).collect();
        json!({"metadata": {"name": name}, "spec": {"podCIDRs": pools}, "status": {"addresses": addresses}})
    }

    fn members(nodes: &[Value]) -> Members {
        let mut members = Members::default();
        for node in nodes {
            assert!(members.apply(serde_json::from_value(node.clone()).expect("a Node")));
        }
        members
    }

    #[test]
    fn who_cannot_be_a_peer_is_named_with_the_remedy() {
        let mut leaving = node("n4", &["10.244.4.0/24"], Some("192.168.1.4"));
        leaving["metadata"]["deletionTimestamp"] = json!("2026-11-23T12:00:00Z");
        let mut router = node("r", &[], Some("192.168.1.254"));
        router["metadata"]["labels"] = json!({"podwire.dev/role": "router"});
        let members = members(&[
            node("n1", &["10.244.1.0/24"], Some("192.168.1.1")),
            node("n2", &["10.244.2.0/24"], None),
            node("n3", &[], Some("192.168.1.3")),
            leaving,
            router,
            node("n5", &["10.244.5.0/24"], Some("192.168.1.5")),
        ]);
        let membership = members.membership(&hint("n1"));
        let names: Vec<_> = membership.peers.iter().map(|peer| (peer.name.as_str(), peer.role)).collect();
        assert_eq!(names, [("n5", Role::Host), ("r", Role::Router)]);
        let remarks = members.remarks(&hint("n1"));
        let says = [
            "n2 is no peer: its status.addresses",
            "n3 is no peer: its spec.podCIDRs",
            "n4 is no peer: it is being",
        ];
        assert_eq!(remarks.len(), says.len(), "{remarks:?}");
        for (remark, says) in remarks.iter().zip(says) {
            assert!(remark.contains(says), "{remark}");
        }
    }

    #[test]
    fn a_node_that_has_nothing_yet_waits_and_says_for_what() {
        let members = members(&[node("n1", &[], None)]);
        let own = members.membership(&hint("n1")).own;
        assert_eq!((own.pools, own.addresses), (vec![], vec![[192, 168, 9, 9].into()]));
        assert!(members.remarks(&hint("n1"))[0].contains("--allocate-node-cidrs"));
        assert!(members.remarks(&hint("n9"))[0].contains("no Node is called n9"));
    }

    #[test]
    fn a_router_needs_no_node_and_no_pods() {
        let members = members(&[node("n1", &["10.244.1.0/24"], Some("192.168.1.1"))]);
        let hint = OwnHint { role: Role::Router, ..hint("r") };
        assert_eq!(members.membership(&hint).own.role, Role::Router);
        assert_eq!(members.remarks(&hint), [""; 0]);
    }

    #[test]
    fn of_many_flaws_the_first_are_named() {
        let many: Vec<_> = (0..5000).map(|i| node(&format!("n{i}"), &[], Some("192.168.1.1"))).collect();
        let remarks = members(&many).remarks(&hint("n0"));
        assert_eq!(remarks.len(), 1 + SHOWN + 1);
        assert!(remarks.last().expect("some").starts_with("4989 more"), "{remarks:?}");
    }

    #[test]
    fn a_heartbeat_is_no_news() {
        let first = node("n1", &["10.244.1.0/24"], Some("192.168.1.1"));
        let mut members = members(std::slice::from_ref(&first));
        let mut beat = first;
        beat["metadata"]["resourceVersion"] = json!("99");
        beat["status"]["conditions"] = json!([{"type": "Ready"}]);
        assert!(!members.apply(serde_json::from_value(beat).expect("a Node")));
    }
}
