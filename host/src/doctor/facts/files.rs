//! podwire's own folders.

use std::path::{Path, PathBuf};

use rustix::fs::statfs;

use crate::state::{self, State};

/// Of linux/magic.h.
const TMPFS_MAGIC: i64 = 0x0102_1994;
const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// What is known of one.
#[derive(Debug, Clone)]
pub(in crate::doctor) struct Directory {
    pub(in crate::doctor) path: PathBuf,
    pub(in crate::doctor) exists: bool,
    /// Why what lies there is not trusted.
    pub(in crate::doctor) distrusted: Option<Distrust>,
    /// Whether it dies with the boot.
    pub(in crate::doctor) in_memory: bool,
    /// Whether it should.
    pub(in crate::doctor) volatile: bool,
}

/// Why, and what mends it.
#[derive(Debug, Clone)]
pub(in crate::doctor) struct Distrust {
    pub(in crate::doctor) why: String,
    pub(in crate::doctor) command: Option<String>,
}

pub(super) fn directories(state: &State) -> Vec<Directory> {
    [(&state.run, true), (&state.lib, false), (&state.etc, false)]
        .map(|(path, volatile)| Directory { volatile, ..Directory::look_at(path) })
        .into()
}

impl Directory {
    fn look_at(path: &Path) -> Self {
        let distrusted = match state::trusted(path) {
            Ok(()) => None,
            Err(error) if error.is_absent() => None,
            Err(error) => Some(Distrust { command: mending(&error), why: error.to_string() }),
        };
        let in_memory = statfs(path).is_ok_and(|found| is_memory(found.f_type));
        Self { path: path.to_owned(), exists: path.is_dir(), distrusted, in_memory, volatile: false }
    }
}

/// The field's type differs from one kind of machine to the next.
fn is_memory(kind: impl TryInto<i64>) -> bool {
    kind.try_into().is_ok_and(|kind| [TMPFS_MAGIC, RAMFS_MAGIC].contains(&kind))
}

fn mending(error: &state::Error) -> Option<String> {
    match error {
        state::Error::ForeignOwner { path, .. } => Some(format!("chown root:root {}", super::quoted(path))),
        state::Error::Writable { path, .. } => Some(format!("chmod go-w {}", super::quoted(path))),
        state::Error::Io { .. } => None,
    }
}
