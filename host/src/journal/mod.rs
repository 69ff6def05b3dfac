//! The journal: what was decided for whom and why, what was given back, and which policy was in force.
//!
//! Owns the files below /var/lib/podwire/journal: what an entry holds, how entries of many processes come into one
//! file, how they are read, and what of the leases of an earlier moment follows from them. Knows addresses, plans
//! and names, neither the kernel nor the registry; asks a policy only to decide again. Nothing depends on it: an ADD
//! whose entry cannot be written is served all the same.
//!
//! | file | what | why |
//! | --- | --- | --- |
//! | `journal` | an entry a line, appended in one `write` | what concurrent processes append never mixes |
//! | `journal.1` … `journal.4` | earlier entries, the latest in `journal.1` | the whole is bounded: five files of some 8 MiB |
//!
//! A line is `{"format":1,"entry":{"decision":{…}}}`, or `release` or `change` in its place. Nothing is synced to
//! disk: a power cut may take the last entries, and leave half of one, which readers leave out.

mod change;
mod decision;
mod difference;
#[cfg(feature = "cli")]
mod history;
mod reader;
mod recorder;
#[cfg(feature = "cli")]
mod replay;
#[cfg(feature = "cli")]
mod tail;
#[cfg(test)]
mod tests;
mod time;
mod writer;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::state::State;

pub use change::{Change, What};
pub use decision::{Decision, Outcome, Release};
pub use difference::{Difference, differences};
#[cfg(feature = "cli")]
pub use history::{History, Present};
pub use reader::Reading;
pub use recorder::{Fact, Facts, Recorder};
#[cfg(feature = "cli")]
pub use replay::{Again, Decided, replay};
#[cfg(feature = "cli")]
pub use tail::Tail;
pub use time::Time;
pub use writer::Appender;

/// Of a line. Goes up when an older podwire would misread it; fields may be added without.
const FORMAT: u32 = 1;

/// What is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry<'a> {
    /// A policy was asked for an ADD.
    Decision(Box<Decision<'a>>),
    /// Addresses were given back.
    Release(Release),
    /// Another policy is in force than before.
    Change(Change),
}

impl Entry<'_> {
    /// When it happened.
    pub fn time(&self) -> Time {
        match self {
            Self::Decision(decision) => decision.time,
            Self::Release(release) => release.time,
            Self::Change(change) => change.at,
        }
    }
}

/// The journal of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    directory: PathBuf,
}

impl Journal {
    /// The journal below that state directory. Touches nothing.
    pub fn open(state: &State) -> Self {
        Self { directory: state.journal_dir() }
    }

    /// The file that is written to, and by number those that were.
    fn file(&self, number: usize) -> PathBuf {
        match number {
            0 => self.directory.join("journal"),
            number => self.directory.join(format!("journal.{number}")),
        }
    }
}

/// A line of a file.
#[derive(Serialize, Deserialize)]
struct Line<E> {
    format: u32,
    entry: E,
}
