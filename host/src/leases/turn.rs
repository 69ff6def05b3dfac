//! Taking turns: calls about one attachment follow each other, while those about others go on.
//!
//! The specification has runtimes see to that, but one that is restarted forgets the ADD that it started, and
//! calls DEL while that is still wiring. The database's own lock is held for a decision only.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

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
    position: i64,
    file: Handle,
}

/// Locks belong to an open file: two that are taken by way of the same one do not exclude each other.
#[derive(Debug)]
enum Handle {
    /// The one that the process has open anyway.
    Lent(&'static Lender),
    /// Its end is the lock's end.
    Own(OwnedFd),
}

/// An open file for the locks of one turn at a time.
#[derive(Debug)]
pub(super) struct Lender {
    pub(super) file: File,
    is_lent: AtomicBool,
}

impl Lender {
    pub(super) fn new(file: File) -> Self {
        Self { file, is_lent: AtomicBool::new(false) }
    }

    fn lend(&'static self, path: &Path) -> io::Result<Handle> {
        if !self.is_lent.swap(true, Ordering::AcqRel) {
            return Ok(Handle::Lent(self));
        }
        Ok(Handle::Own(open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?))
    }
}

impl Turn {
    /// Waits until nobody else has it. The path leads to the lender's file.
    pub(super) fn take(lender: &'static Lender, path: &Path, id: &AttachmentId) -> io::Result<Self> {
        let turn = Self { position: position(id), file: lender.lend(path)? };
        loop {
            match turn.lock(libc::F_WRLCK) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                locked => return locked.map(|()| turn),
            }
        }
    }

    fn lock(&self, kind: libc::c_int) -> io::Result<()> {
        let file = match &self.file {
            Handle::Lent(lender) => lender.file.as_raw_fd(),
            Handle::Own(file) => file.as_raw_fd(),
        };
        lock(file, kind, self.position)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Handle::Lent(lender) = &self.file {
            // Fails for no lock that was taken.
            let _ = self.lock(libc::F_UNLCK);
            lender.is_lent.store(false, Ordering::Release);
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

fn lock(file: RawFd, kind: libc::c_int, position: i64) -> io::Result<()> {
    // SAFETY: the structure holds numbers only, for which zero is a value.
    let mut byte: libc::flock = unsafe { std::mem::zeroed() };
    byte.l_type = kind as libc::c_short;
    byte.l_whence = libc::SEEK_SET as libc::c_short;
    (byte.l_start, byte.l_len) = (position, 1);
    // SAFETY: the kernel reads one such structure, which outlives the call, and writes nothing.
    let done = unsafe { libc::fcntl(file, libc::F_OFD_SETLKW, &raw const byte) };
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
        let lender: &Lender = Box::leak(Box::new(Lender::new(file.reopen().expect("there"))));
        let take = |container| Turn::take(lender, data, &id(container));
        // By way of the lender's file, in turn, and by way of files of their own.
        drop(take("a").expect("free"));
        let first = take("a").expect("free again");
        let _other = take("b").expect("free too");
        std::thread::scope(|scope| {
            let (sender, receiver) = channel();
            scope.spawn(move || {
                let _second = take("a").expect("free in the end");
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
