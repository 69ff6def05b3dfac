//! Taking turns: calls about one attachment follow each other, while those about others go on.
//!
//! The specification has runtimes see to that, but one that is restarted forgets the ADD that it started, and
//! calls DEL while that is still wiring. The database's own lock is held for a decision only.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use sha2::{Digest, Sha256};

use crate::names::AttachmentId;

/// A lock on one attachment, until it is dropped or the process ends.
///
/// It is a lock of one byte far behind the end of the database's file (fcntl(2), open file description locks):
/// LMDB locks nothing there, and no file is needed for each attachment. Whoever has one may take the
/// database's lock, never the other way round.
#[derive(Debug)]
pub struct Turn {
    _file: OwnedFd,
}

impl Turn {
    /// Waits until nobody else has it.
    pub(super) fn take(data: &Path, id: &AttachmentId) -> io::Result<Self> {
        let file = open(data, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        loop {
            match lock(&file, position(id)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                locked => return locked.map(|()| Self { _file: file }),
            }
        }
    }
}

/// The same for one attachment in every process. Two that share one by chance wait for each other, and no more.
fn position(id: &AttachmentId) -> i64 {
    let digest: [u8; 32] = Sha256::digest(id.to_string()).into();
    let number = digest.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes));
    // In the upper half of what is positive: the database ends long before.
    number & (i64::MAX >> 2) | (1 << 61)
}

fn lock(file: &OwnedFd, position: i64) -> io::Result<()> {
    // SAFETY: the structure holds numbers only, for which zero is a value.
    let mut byte: libc::flock = unsafe { std::mem::zeroed() };
    byte.l_type = libc::F_WRLCK as libc::c_short;
    byte.l_whence = libc::SEEK_SET as libc::c_short;
    (byte.l_start, byte.l_len) = (position, 1);
    // SAFETY: the kernel reads one such structure, which outlives the call, and writes nothing.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLKW, &raw const byte) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::sync::mpsc::channel;
    use std::time::{Duration, Instant};

    use super::*;

    fn id(container: &str) -> AttachmentId {
        AttachmentId {
            container_id: container.parse().expect("valid"),
            ifname: "eth0".parse().expect("valid"),
        }
    }

    /// Whether somebody waits for a lock on the file, as /proc/locks tells.
    pub(crate) fn is_waited_for(data: &Path) -> bool {
        let inode = format!(":{} ", std::fs::metadata(data).expect("there").ino());
        let locks = std::fs::read_to_string("/proc/locks").expect("readable");
        locks.lines().any(|line| line.contains("-> OFDLCK") && line.contains(&inode))
    }

    #[test]
    fn one_attachment_has_one_at_a_time_and_others_do_not_wait() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let data = file.path();
        let first = Turn::take(data, &id("a")).expect("free");
        let _other = Turn::take(data, &id("b")).expect("free too");
        std::thread::scope(|scope| {
            let (sender, receiver) = channel();
            scope.spawn(move || {
                let _second = Turn::take(data, &id("a")).expect("free in the end");
                sender.send(()).expect("heard");
            });
            let start = Instant::now();
            while !is_waited_for(data) {
                assert!(start.elapsed() < Duration::from_secs(10), "the second does not wait");
                std::thread::yield_now();
            }
            assert!(receiver.try_recv().is_err());
            drop(first);
            receiver.recv().expect("the second has its turn");
        });
    }

    #[test]
    fn a_turn_is_far_behind_the_database() {
        for container in ["a", "b", "c"] {
            assert!(position(&id(container)) > 1 << 60);
        }
    }
}
