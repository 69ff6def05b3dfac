//! Where the cluster's membership comes from.
//!
//! A source tells [`Board`] of each membership that it learns, whole, and returns only when it is lost: then it is
//! asked again, with back-off, and the node stays as it is meanwhile. It knows nothing of policies and of the kernel.

pub mod kubernetes;

use std::net::IpAddr;

use ipnet::IpNet;
use tokio::sync::watch;

use crate::plan::{Peer, Role};

/// This node, as the source knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Its name in the cluster.
    pub name: String,
    /// What it does for the cluster.
    pub role: Role,
    /// Its addresses in the network between nodes.
    pub addresses: Vec<IpAddr>,
    /// Blocks from which its pods get their addresses. Empty on a router, and as long as nobody has given it any.
    pub pools: Vec<IpNet>,
}

/// Who belongs to the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// This node.
    pub own: Own,
    /// The others, by name.
    pub peers: Vec<Peer>,
}

/// Why a source was lost: a sentence for the operator, with the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Lost(pub String);

/// Somebody who knows the cluster's members.
pub trait Source: Send {
    /// What it is called in status and metrics, with where it is, such as `etcd at https://192.168.1.10:2379`.
    fn describe(&self) -> String;

    /// Tells of the membership now, and whenever it changes, until the source is lost. Called again after a while.
    fn follow(&mut self, board: &Board) -> impl Future<Output = Lost> + Send;
}

/// Where a source posts the newest membership. Only the newest counts: who reads it is never behind.
#[derive(Debug, Clone)]
pub struct Board(watch::Sender<Option<Membership>>);

impl Board {
    /// One on which nothing is posted yet, and its reader.
    pub fn new() -> (Self, watch::Receiver<Option<Membership>>) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), receiver)
    }

    /// Posts a membership, with the peers in order of their names, so that the same members are the same membership.
    pub fn post(&self, mut membership: Membership) {
        membership.peers.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        self.0.send_if_modified(|posted| {
            let is_news = posted.as_ref() != Some(&membership);
            *posted = Some(membership);
            is_news
        });
    }
}
