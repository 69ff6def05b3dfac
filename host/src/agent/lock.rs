//! One agent per node.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::state::{self, State};

/// Why this process is not the node's agent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another one is.
    #[error(
        "process {process} is this node's agent already ({}): `podwire status` shows what it does; end it first",
        path.display()
    )]
    Taken {
        /// Who.
        process: String,
        /// The lock.
        path: PathBuf,
    },
    /// The lock cannot be used.
    #[error(transparent)]
    File(#[from] state::Error),
}

/// Held until it is dropped, or the process ends however it does.
#[derive(Debug)]
pub(super) struct Lock(
    #[expect(dead_code, reason = "the kernel holds the lock as long as the file is open")] File,
);

impl Lock {
    /// Makes this process the node's agent.
    pub(super) fn take(state: &State) -> Result<Self, Error> {
        let path = state.agent_lock();
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&state.run)
            .map_err(state::Error::io(&state.run, "make the directory"))?;
        let mut file = open(&path).map_err(state::Error::io(&path, "open"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(Error::Taken { process: holder(&mut file), path }),
            Err(errno) => return Err(state::Error::io(&path, "lock")(errno.into()).into()),
        }
        sign(&mut file).map_err(state::Error::io(&path, "write"))?;
        Ok(Self(file))
    }
}

/// The process that is this node's agent now; none if there is none, or nobody may know.
pub fn running(state: &State) -> Option<String> {
    let mut file = File::open(state.agent_lock()).ok()?;
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => Some(holder(&mut file)),
        _ => None,
    }
}

fn open(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // Between taking and signing there is a moment without a name.
    match file.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "(it has just started)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_is_told_who_is_first() {
        let root = tempfile::tempdir().expect("a folder");
        let state = State::new(Some(root.path()));
        assert_eq!(running(&state), None);
        let lock = Lock::take(&state).expect("nobody has it");
        let own = std::process::id().to_string();
        assert_eq!(running(&state), Some(own.clone()));
        let said = Lock::take(&state).expect_err("one is enough").to_string();
        assert!(said.contains(&format!("process {own} is this node's agent already")), "{said}");
        drop(lock);
        assert_eq!(running(&state), None);
        Lock::take(&state).expect("it is free again");
    }
}
