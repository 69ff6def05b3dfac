//! Why something is not put onto the node or not taken away, in sentences for the operator.

use std::io;
use std::path::{Path, PathBuf};

use crate::{leases, state};

/// Why a node is left as it is, or half-way: then calling the command again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory cannot be used.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The leases cannot be read, so nobody knows whether there are pods.
    #[error(transparent)]
    Leases(#[from] leases::Error),
    /// A file that was to be installed is not there.
    #[error("{} cannot be read: {source}: name the plugin that `make plugin` built by --plugin FILE", path.display())]
    NoPlugin {
        /// Where it was looked for.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It does not answer VERSION as a plugin does.
    #[error("{} is no plugin that runs on this machine: {said}; nothing was put in the old one's place", path.display())]
    Unfit {
        /// The new plugin.
        path: PathBuf,
        /// What became of the call.
        said: String,
    },
    /// The operator's own network configuration would not call podwire.
    #[error("{}: {problem}", path.display())]
    Conflist {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what should stand there.
        problem: String,
    },
    /// Somebody else wrote what lies there.
    #[error(
        "{} is not as podwire put it there, and is kept: compare it with what --dry-run would write, then take it \
         away, or replace it by --force", .0.display()
    )]
    Changed(PathBuf),
    /// A runtime's configuration cannot be read.
    #[error("{}: {problem}; name the directories by --cni-bin-dir and --cni-conf-dir", path.display())]
    Runtime {
        /// Its file.
        path: PathBuf,
        /// Where and what.
        problem: String,
    },
    /// What is on record of earlier installations cannot be understood.
    #[error("{}: {source}: take the file away, and podwire holds everything on this node for somebody else's", path.display())]
    Receipt {
        /// The record.
        path: PathBuf,
        /// Where and what.
        source: serde_json::Error,
    },
    /// A link of the node's leads elsewhere if the node is not at `/`.
    #[error(
        "{} leads to {}, which is not below {}: name what the link leads to by --cni-bin-dir or --cni-conf-dir",
        path.display(), to.display(), root.display()
    )]
    LeadsOut {
        /// Where something was to be put.
        path: PathBuf,
        /// Where that really is.
        to: PathBuf,
        /// Where the node's files are.
        root: PathBuf,
    },
    /// Pods are wired, and their runtime will call the plugin once more for each.
    #[error(
        "{} still wired, and their runtime's DEL needs the plugin ({which}): move these pods away first \
         (`kubectl drain`), or take podwire away all the same by --force", attachments_are(*.count)
    )]
    Attached {
        /// How many attachments.
        count: usize,
        /// Those that are named.
        which: String,
    },
}

impl Error {
    /// For `map_err`: what was tried on which path.
    pub(super) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| state::Error::io(path, action)(source).into()
    }
}

pub(super) fn attachments_are(count: usize) -> String {
    if count == 1 { "1 attachment is".to_owned() } else { format!("{count} attachments are") }
}
