//! Why the database did not do what was asked, in sentences for the operator.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use heed::MdbError;

use super::{Holder, Sequence};
use crate::names::{AttachmentId, InterfaceName};

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The reader's [`super::Steps`] ran out.
    #[error("the policy walked more leases than it may in one call")]
    TooManySteps,
    /// The runtime did not DEL what it ADDs again.
    #[error("the attachment {attachment} is on record already (number {}): it needs a DEL first", sequence.0)]
    Exists {
        /// Container and interface.
        attachment: AttachmentId,
        /// Of the attachment on record.
        sequence: Sequence,
    },
    /// Another attachment holds an address of the plan.
    #[error("the address {address} is held by {holder}: the policy must choose another")]
    AddressHeld {
        /// The plan's address.
        address: IpAddr,
        /// Who has it.
        holder: Box<Holder>,
    },
    /// An address of the plan was given back a short time ago.
    #[error("the address {address} rests {seconds} s more after {holder}: the policy must choose another")]
    AddressRests {
        /// The plan's address.
        address: IpAddr,
        /// Who had it.
        holder: Box<Holder>,
        /// How long still, rounded up.
        seconds: u64,
    },
    /// An address of the plan is a gateway, or an address of a bridge.
    #[error("the address {address} is a gateway or an address of a bridge: the policy must choose another")]
    AddressIsGateway {
        /// The plan's address.
        address: IpAddr,
    },
    /// A plan has one address twice.
    #[error("the address {address} is in the plan twice: the policy must name it once")]
    AddressTwice {
        /// The plan's address.
        address: IpAddr,
    },
    /// An attachment holds what the plan calls a gateway or gives to a bridge.
    #[error(
        "the address {gateway}, which the plan names as a gateway or for a bridge, is held by {holder}: \
         correct the policy's configuration, or delete that pod"
    )]
    GatewayHeld {
        /// The plan's gateway.
        gateway: IpAddr,
        /// Who has it.
        holder: Box<Holder>,
    },
    /// Another attachment's veth has the name on the node.
    #[error("the interface name {name} is used by {attachment}: the policy must choose another")]
    InterfaceTaken {
        /// Of the veth's end on the node.
        name: InterfaceName,
        /// Whose it is.
        attachment: AttachmentId,
    },
    /// The thread that has the lock asked for it again, and would wait for ever.
    #[error(
        "the lease database is in use by this thread already: this is a mistake in podwire, please report it"
    )]
    Nested,
    /// The kernel did not say which boot this is.
    #[error("the boot id cannot be read from {}: {source}; is /proc mounted?", path.display())]
    BootId {
        /// Where it should be.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file or folder cannot be used.
    #[error("the lease database cannot {what} {}: {source}", path.display())]
    Folder {
        /// Such as "create".
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Somebody else could have made what is in the folder.
    #[error("the lease database is not used: {0}")]
    Untrusted(#[from] crate::state::Error),
    /// Programs that write different formats were given one folder.
    #[error(
        "the lease database in {} was made by another version of podwire, as {found:?} instead of {expected:?}: \
         install the plugin and the command in one version, and drain the node before you change it",
        path.display()
    )]
    Foreign {
        /// The boot's folder.
        path: PathBuf,
        /// The format that it holds.
        found: String,
        /// Ours.
        expected: String,
    },
    /// The files are not what podwire wrote.
    #[error(
        "the lease database in {} is damaged or no database of podwire: {problem}; \
         drain the node, remove that folder, and let the pods be made anew",
        path.display()
    )]
    Damaged {
        /// The environment's folder.
        path: PathBuf,
        /// What was found.
        problem: String,
    },
    /// The folder was removed under a running process.
    #[error("the lease database in {} was removed while it was open: run the command again", path.display())]
    Removed {
        /// The environment's folder.
        path: PathBuf,
    },
    /// The map's size is used up.
    #[error(
        "the lease database in {} has grown to the {mebibytes} MiB that it may have: \
         delete pods, or let the runtime call GC",
        path.display()
    )]
    Full {
        /// The environment's folder.
        path: PathBuf,
        /// The size of the map.
        mebibytes: usize,
    },
    /// Another process has opened it with a larger map, and used that.
    #[error("the lease database in {} was enlarged by another process: run the command again", path.display())]
    Grown {
        /// The environment's folder.
        path: PathBuf,
    },
    /// The file system took nothing more, or only a part.
    #[error("the file system of {} is full, or fails: free some space on it, or see the kernel's log", path.display())]
    NoSpace {
        /// The environment's folder.
        path: PathBuf,
    },
    /// Anything else that LMDB reports.
    #[error("the lease database in {} failed: {source}", path.display())]
    Database {
        /// The environment's folder.
        path: PathBuf,
        /// What LMDB said.
        source: heed::Error,
    },
}

impl Error {
    /// What LMDB said, as what it means to an operator.
    pub(super) fn database(path: &Path, map_size: usize, source: heed::Error) -> Self {
        let path = path.to_owned();
        match source {
            heed::Error::Io(error) if is_full(&error) => Self::NoSpace { path },
            heed::Error::Io(source) => Self::Folder { what: "use", path, source },
            heed::Error::Mdb(MdbError::MapFull) => Self::Full { path, mebibytes: map_size >> 20 },
            heed::Error::Mdb(MdbError::MapResized) => Self::Grown { path },
            heed::Error::Mdb(
                problem @ (MdbError::Invalid
                | MdbError::Corrupted
                | MdbError::PageNotFound
                | MdbError::VersionMismatch
                | MdbError::Incompatible
                | MdbError::Panic),
            ) => Self::Damaged { path, problem: problem.to_string() },
            source => Self::Database { path, source },
        }
    }
}

/// A write that a full file system took in part is an EIO to LMDB.
fn is_full(error: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    matches!(errno, Some(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT | rustix::io::Errno::IO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(source: heed::Error) -> String {
        Error::database(Path::new("/run/x"), 1 << 30, source).to_string()
    }

    #[test]
    fn what_lmdb_says_becomes_where_what_and_remedy() {
        let denied = heed::Error::Io(io::Error::from_raw_os_error(13));
        assert!(said(denied).contains("cannot use /run/x: Permission denied"));
        let full = heed::Error::Io(io::Error::from_raw_os_error(28));
        assert!(said(full).contains("the file system of /run/x is full"));
        assert!(said(MdbError::MapFull.into()).contains("1024 MiB"));
        assert!(said(MdbError::MapResized.into()).contains("enlarged"));
        assert!(said(MdbError::Corrupted.into()).contains("drain the node"));
    }
}
