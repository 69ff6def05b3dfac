//! The database of addresses: who holds which, and what was done for each attachment.
//!
//! Owns uniqueness: an address is recorded for one attachment or for none, over all networks of the
//! node, however many processes ask at once and wherever one of them is killed. Knows addresses and
//! attachments; neither policies nor netlink.
//!
//! # Files
//!
//! | path, below the folder given to [`Store::open`] | what | why |
//! | --- | --- | --- |
//! | `BOOT/` | everything of one boot, named by its boot id | leases describe namespaces, which die with the boot, and so do they |
//! | `BOOT/FORMAT/data.mdb` | one LMDB environment | versions that write different rows must not meet in one file |
//! | `BOOT.new/` | the same while it is made | a killed process leaves no half of a database |
//!
//! The folder itself carries the lock, see `folder.rs`: one process writes, or any number reads.
//! Calls about one attachment take turns, see [`Turn`]. Nothing is ever synced to disk: it only has to survive processes, and the kernel's page cache does.
//!
//! # Keys
//!
//! One tree, ordered by bytes, so that what is near in it is near in memory. Addresses are a family byte
//! (4 or 6) and the address, most significant byte first: a block of addresses is a range of keys.
//!
//! | key | value |
//! | --- | --- |
//! | `a` address | `h`, 8 zeros, the [`Holder`] as JSON: held; or `r`, until when, its last holder: rests; or `g`, for how many attachments: gateway, or carried by a bridge |
//! | `b` network address, length | the address handed out last in this block |
//! | `h` family | the highest address that was ever handed out |
//! | `i` interface name on the node | the attachment that uses it |
//! | `r` until when, address | empty: the resting addresses, those first that are free again first |
//! | `s` | the sequence number given last |
//! | `t` container ID `/` interface name | the [`Attachment`] as JSON |

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::names::{AttachmentId, Digest, NetworkName, PolicyName};
use crate::plan::{Checked, Pod, Wiring};

mod error;
mod folder;
mod keys;
#[cfg(feature = "compiler")]
mod ledger;
mod snapshot;
mod store;
mod transaction;
mod turn;
mod view;

#[cfg(test)]
mod tests;

pub use error::Error;
#[cfg(feature = "cli")]
pub(crate) use keys::Range;
#[cfg(feature = "compiler")]
pub use ledger::Ledger;
pub use snapshot::Snapshot;
pub use store::Store;
pub use transaction::{Release, Transaction};
pub use turn::Turn;
#[cfg(test)]
pub(crate) use turn::tests::is_waited_for;
pub use view::Empty;

/// The attachment that holds an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// `name` of the network configuration.
    pub network: NetworkName,
    /// Container and interface.
    pub attachment: AttachmentId,
    /// "namespace/name", if the runtime said.
    pub pod: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (network {}", self.attachment, self.network)?;
        match &self.pod {
            Some(pod) => write!(f, ", pod {pod})"),
            None => f.write_str(")"),
        }
    }
}

/// How many rows a reader may still walk: a policy cannot hold the database's lock for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps(pub u64);

impl Steps {
    /// Pays for one row.
    pub fn take(&mut self) -> Result<(), Error> {
        self.0 = self.0.checked_sub(1).ok_or(Error::TooManySteps)?;
        Ok(())
    }
}

/// Addresses in use, as a policy may see them: one consistent state.
///
/// An address that rests after a DEL is held by the attachment that had it. A gateway or an address of a
/// bridge is held by nobody, but it is not free either while an attachment on record names it.
pub trait View {
    /// Who holds the address.
    fn holder_of(&self, address: IpAddr, steps: &mut Steps) -> Result<Option<Holder>, Error>;

    /// The first address of the block that is free, at or after `start`, wrapping round once. Never the
    /// network address or, in IPv4, the broadcast address of a block shorter than /31 or /127. A `start`
    /// outside of the block is taken as none.
    fn first_free(
        &self,
        block: IpNet,
        start: Option<IpAddr>,
        steps: &mut Steps,
    ) -> Result<Option<IpAddr>, Error>;

    /// The address in the block that was handed out last, be it still held or not. Remembered for the
    /// pools of each [`Intent`], and for any other block from the first time on that it is asked for.
    fn last_taken(&self, block: IpNet, steps: &mut Steps) -> Result<Option<IpAddr>, Error>;

    /// How many addresses of the block are held.
    fn taken(&self, block: IpNet, steps: &mut Steps) -> Result<u64, Error>;
}

/// A network namespace, and how to tell whether it is still the same one: the kernel gives its inode
/// number to another one when it is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkNamespace {
    /// CNI_NETNS.
    pub path: PathBuf,
    /// Of the file at the path, `st_dev`.
    pub device: u64,
    /// Of the file at the path, `st_ino`.
    pub inode: u64,
}

/// What shall be done for one ADD: recorded before it is done, so that it can be undone without asking
/// anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Container and interface.
    pub attachment: AttachmentId,
    /// `name` of the network configuration.
    pub network: NetworkName,
    /// What the runtime said of the pod.
    pub pod: Option<Pod>,
    /// The container's network namespace.
    pub netns: NetworkNamespace,
    /// The policy that decided.
    pub policy: PolicyName,
    /// The policy's component.
    pub digest: Digest,
    /// The policy's own configuration, JSON text.
    pub config: String,
    /// What it decided.
    pub plan: Checked,
    /// The node's pools at that time.
    pub pools: Vec<IpNet>,
    /// Who made the interface.
    #[serde(default)]
    pub origin: Origin,
    /// Who gave the addresses, if it was another plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegated: Option<Delegated>,
    /// The folder in which host-local has the same lease, if it was taken over from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_local: Option<PathBuf>,
}

/// Who made an attachment's interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// podwire.
    #[default]
    Wired,
    /// Another plugin, which asked podwire for addresses, and is called for itself when the interface shall go.
    Lent,
    /// Another plugin, which is no longer there: podwire took the attachment over.
    Imported,
}

/// Another plugin that gave addresses, and has to be told when they are given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegated {
    /// Its file's name.
    pub plugin: String,
    /// CNI_PATH: the folders in which it is looked for.
    pub path: String,
    /// The whole configuration of the ADD.
    pub config: String,
}

impl Intent {
    /// As a policy is told of it.
    pub fn holder(&self) -> Holder {
        let pod = self.pod.as_ref().map(|pod| format!("{}/{}", pod.namespace, pod.name));
        Holder { network: self.network.clone(), attachment: self.attachment.clone(), pod }
    }

    /// The addresses that the attachment holds.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.plan.addresses.iter().map(|address| address.prefix.addr())
    }

    /// The addresses that nobody may hold: the gateways, and what the bridge carries.
    pub fn gateways(&self) -> BTreeSet<IpAddr> {
        Self::gateways_of(&self.plan)
    }

    /// The same for any plan.
    pub fn gateways_of(plan: &Checked) -> BTreeSet<IpAddr> {
        let gateways = plan.addresses.iter().filter_map(|address| address.gateway);
        let bridge = match &plan.wiring {
            Wiring::Bridge { bridge, .. } => bridge.addresses.as_slice(),
            Wiring::Routed => &[],
        };
        gateways.chain(bridge.iter().map(IpNet::addr)).collect()
    }
}

/// Tells one ADD from another of the same container and interface. A release must quote it, so that what
/// comes late frees nothing that was handed out anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sequence(pub u64);

/// One attachment on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// What was decided for it.
    pub intent: Intent,
    /// Unique on this node until it boots again.
    pub sequence: Sequence,
    /// When it was recorded, in seconds since 1970.
    pub since: u64,
}
