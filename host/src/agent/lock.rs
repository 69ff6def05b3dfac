//! One agent per node.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::state::{self, State};

const MODE: u32 = 0o600;

/// How often, and after how long, the lock is tried again.
const ATTEMPTS: usize = 5;
const MOMENT: Duration = Duration::from_millis(20);

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
        match exclusively(&file) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(Error::Taken { process: holder(&mut file), path }),
            Err(errno) => return Err(state::Error::io(&path, "lock")(errno.into()).into()),
        }
        sign(&mut file).map_err(state::Error::io(&path, "write"))?;
        Ok(Self(file))
    }
}

/// The process that is this node's agent now, if there is one.
///
/// # Errors
///
/// Only root may know.
pub fn running(state: &State) -> Result<Option<String>, state::Error> {
    let path = state.agent_lock();
    let mut file = match File::open(&path).map_err(state::Error::io(&path, "see whether an agent runs")) {
        Err(error) if error.is_absent() => return Ok(None),
        opened => opened?,
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => Ok(Some(holder(&mut file))),
        _ => Ok(None),
    }
}

/// [`running`] has the lock for a moment too, which is not to keep an agent from starting.
fn exclusively(file: &File) -> Result<(), Errno> {
    for _ in 0..ATTEMPTS {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => std::thread::sleep(MOMENT),
            locked => return locked,
        }
    }
    Err(Errno::WOULDBLOCK)
}

/// Whoever may read a file may lock it: only root may, one that was there too.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(MODE))?;
    Ok(file)
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
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_second_agent_is_told_who_is_first() {
        let root = tempfile::tempdir().expect("a folder");
        let state = State::new(Some(root.path()));
        assert_eq!(running(&state).expect("readable"), None);
        let lock = Lock::take(&state).expect("nobody has it");
        let own = std::process::id().to_string();
        assert_eq!(running(&state).expect("readable"), Some(own.clone()));
        let said = Lock::take(&state).expect_err("one is enough").to_string();
        assert!(said.contains(&format!("process {own} is this node's agent already")), "{said}");
        drop(lock);
        // A child of another test's has it open too, until it executes its program.
        let until = Instant::now() + Duration::from_secs(10);
        while running(&state).expect("readable").is_some() {
            assert!(Instant::now() < until, "it is not free");
            std::thread::yield_now();
        }
        Lock::take(&state).expect("it is free again");
    }

    #[test]
    fn nobody_else_keeps_an_agent_from_starting() {
        let root = tempfile::tempdir().expect("a folder");
        let state = State::new(Some(root.path()));
        std::fs::create_dir(&state.run).expect("a folder");
        drop(File::create(state.agent_lock()).expect("one of every user's"));
        let asking = File::open(state.agent_lock()).expect("readable");
        flock(&asking, FlockOperation::NonBlockingLockShared).expect("free");
        std::thread::scope(|scope| {
            let starting = scope.spawn(|| Lock::take(&state).map(|_| ()));
            // Opened, and so closed to others, just before it is tried.
            while asking.metadata().expect("open").permissions().mode() & 0o777 != MODE {
                std::thread::yield_now();
            }
            drop(asking);
            starting.join().expect("no panic").expect("whoever asked is gone");
        });
    }
}
