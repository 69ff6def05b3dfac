//! What podwire put onto the node: /var/lib/podwire/installed.json, each file with its digests.
//!
//! A file that holds something else was written by somebody else. While a file is replaced both digests are on
//! record, so that whichever of them a killed process left is known for podwire's.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::retry_on_intr;
use serde::{Deserialize, Serialize};

use super::{Error, file};
use crate::names::Digest;
use crate::state::{State, write_atomically};

/// What is on record, by the path on the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Receipt {
    files: BTreeMap<PathBuf, Vec<Digest>>,
}

/// Where it lies, below the state that is reached.
pub(super) fn path(state: &State) -> PathBuf {
    state.lib.join("installed.json")
}

impl Receipt {
    pub(super) fn read(state: &State) -> Result<Self, Error> {
        let path = path(state);
        let Some(bytes) = file::read(&path)? else { return Ok(Self::default()) };
        serde_json::from_slice(&bytes).map_err(|source| Error::Receipt { path, source })
    }

    pub(super) fn write(&self, state: &State) -> Result<(), Error> {
        let path = path(state);
        if self.files.is_empty() {
            return file::remove(&path).map(|_| ());
        }
        let source = |source| Error::Receipt { path: path.clone(), source };
        let mut bytes = serde_json::to_vec_pretty(self).map_err(source)?;
        bytes.push(b'\n');
        Ok(write_atomically(&path, &bytes)?)
    }

    /// The files, by their paths on the node.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// Whether podwire put this there.
    pub(super) fn knows(&self, path: &Path, digest: &Digest) -> bool {
        self.files.get(path).is_some_and(|digests| digests.contains(digest))
    }

    /// That this may be there from now on, beside what is there.
    pub(super) fn promise(&mut self, path: &Path, digest: Digest) {
        let digests = self.files.entry(path.to_owned()).or_default();
        if !digests.contains(&digest) {
            digests.push(digest);
        }
    }

    /// That this is there and nothing else.
    pub(super) fn settle(&mut self, path: &Path, digest: Digest) {
        self.files.insert(path.to_owned(), vec![digest]);
    }

    /// That nothing of podwire's is there any more.
    pub(super) fn forget(&mut self, path: &Path) {
        self.files.remove(path);
    }
}

/// Keeps others from installing at the same time, until it is dropped. Nothing if podwire was never here.
pub(super) fn lock(state: &State) -> Result<Option<File>, Error> {
    if !state.lib.exists() {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let locked = open(&state.lib, flags, Mode::empty()).and_then(|directory| {
        retry_on_intr(|| flock(&directory, FlockOperation::LockExclusive))?;
        Ok(Some(directory.into()))
    });
    locked.map_err(|errno| Error::io(&state.lib, "lock")(errno.into()))
}
