//! etcd as the cluster's membership: each node writes what it is, under a lease, and reads what the others are.
//!
//! Owns the keys below one prefix, and the claim of a node's blocks: no two nodes ever get blocks that overlap, and one
//! that returns gets its old ones. Knows nothing of policies and of the kernel, and revokes nothing when it ends: an
//! agent that is started anew within its lease was never away.
//!
//! | file | owns |
//! | --- | --- |
//! | `settings` | what the operator says, and certificates |
//! | `connection` | requests, and what their failures mean |
//! | `record` | keys and values |
//! | `blocks` | which block a node gets |
//! | `claim` | the transaction that makes a node a member |
//! | `session` | keeping the lease, and telling of changes |

mod blocks;
mod claim;
mod connection;
mod error;
mod record;
mod session;
mod settings;

use std::net::IpAddr;

use ipnet::IpNet;
use tokio::sync::watch;

use super::{Board, Lost, Membership, Own, Source};
use crate::plan::Role;
use blocks::Space;
use claim::Claimed;
use connection::Connection;
use record::Keys;
use session::Members;

pub use blocks::Exhausted;
pub use error::Error;
pub use settings::{EtcdSettings, NodeBlock};

/// As many remarks are told; more would only hide the first.
const MOST_REMARKS: usize = 20;

/// What this node says of itself: what etcd cannot know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnHint {
    /// Its name in the cluster.
    pub name: String,
    /// What it does for the cluster.
    pub role: Role,
    /// Its addresses in the network between nodes.
    pub addresses: Vec<IpAddr>,
    /// Blocks that together hold every pod of the cluster, alike on all nodes; a node gets one block of each family.
    pub cluster: Vec<IpNet>,
}

/// The cluster's membership in etcd.
pub struct Etcd {
    settings: EtcdSettings,
    keys: Keys,
    own: OwnHint,
    spaces: Vec<Space>,
    /// Which endpoint is asked next.
    turn: usize,
    /// The lease of this agent; it may have run out.
    lease: Option<i64>,
    /// Blocks that this agent had.
    pools: Option<Vec<IpNet>>,
    remarks: watch::Sender<Vec<String>>,
}

impl Etcd {
    /// Asks nobody yet: what is wrong with the settings shows here, what is wrong with etcd when it is followed.
    pub fn new(settings: EtcdSettings, own: OwnHint) -> Result<Self, Error> {
        settings.check()?;
        check_own(&own)?;
        let spaces = Space::of_families(&own.cluster, |block| settings.node_block.length_in(block));
        let keys = Keys::new(&settings.prefix);
        let remarks = watch::Sender::new(Vec::new());
        Ok(Self { settings, keys, own, spaces, turn: 0, lease: None, pools: None, remarks })
    }

    /// What an operator should know though the source works: records that cannot be read, blocks that changed hands.
    pub fn remarks(&self) -> watch::Receiver<Vec<String>> {
        self.remarks.subscribe()
    }

    fn endpoint(&self) -> &str {
        &self.settings.endpoints[self.turn % self.settings.endpoints.len()]
    }

    /// Follows one endpoint until it fails. What was only old is read anew over the same connection.
    async fn follow_endpoint(&mut self, board: &Board) -> Error {
        let key = self.keys.node(&self.own.name);
        let mut connection = match Connection::open(&self.settings, self.endpoint(), &key).await {
            Ok(connection) => connection,
            Err(error) => return error,
        };
        loop {
            match session::follow(self, &mut connection, board).await {
                Err(Error::Stale(_)) => (),
                Err(error) => return error,
            }
        }
    }

    /// What the session that begins with this claim tells of.
    fn begin(&mut self, mut claimed: Claimed, lease: i64) -> Members {
        let pools = claimed.record.pools.clone();
        let before = self.pools.replace(pools.clone()).unwrap_or_default();
        for lost in before.iter().filter(|block| !pools.contains(block)) {
            claimed.remarks.push(format!(
                "{lost} is no longer this node's: it was given away while the node was no member; its pods with \
                 addresses of {lost} have to be made anew"
            ));
        }
        let OwnHint { name, role, addresses, .. } = self.own.clone();
        Members::new(Own { name, role, addresses, pools }, lease, claimed)
    }

    fn tell(&self, board: &Board, members: &Members) {
        board.post(members.membership());
        let mut remarks = members.remarks(&self.keys);
        let more = remarks.len().saturating_sub(MOST_REMARKS);
        if more > 0 {
            remarks.truncate(MOST_REMARKS);
            remarks.push(format!("and {more} more of the kind"));
        }
        self.remarks.send_if_modified(|told| {
            let is_news = *told != remarks;
            *told = remarks;
            is_news
        });
    }
}

impl Source for Etcd {
    fn describe(&self) -> String {
        format!("etcd at {}", self.settings.endpoints.join(", "))
    }

    /// An endpoint that does not answer is no loss as long as another one does.
    async fn follow(&mut self, board: &Board) -> Lost {
        let mut left = self.settings.endpoints.len();
        loop {
            let error = self.follow_endpoint(board).await;
            self.turn += 1;
            left -= 1;
            if left == 0 || !matches!(error, Error::Unreachable { .. }) {
                return Lost(error.to_string());
            }
        }
    }
}

fn check_own(own: &OwnHint) -> Result<(), Error> {
    if !record::is_name(&own.name) {
        let rule =
            "in etcd a node's name is made of letters, digits, `.`, `_` and `-`: set `name` in node.json";
        return Err(Error::Own(format!("this node is named {:?}, but {rule}", own.name)));
    }
    if own.addresses.is_empty() {
        let why = "the others cannot reach it";
        return Err(Error::Own(format!("this node has no address, so {why}: set `addresses` in node.json")));
    }
    if own.cluster.is_empty() && own.role == Role::Host {
        let why = "so there is nothing to claim from";
        return Err(Error::Own(format!(
            "this node knows no block of the cluster, {why}: set `cluster` in node.json"
        )));
    }
    Ok(())
}
