//! Waiting until a file has something to read.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A file of the kernel's that tells of events, and that others read.
#[derive(Debug)]
pub(super) struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// Of a file that never waits when it is read.
    pub(super) fn of(file: impl AsFd) -> io::Result<Self> {
        let own = file.as_fd().try_clone_to_owned()?;
        // SAFETY: the descriptor is this value's own duplicate, which nobody replaces or closes before it is dropped.
        let registered = unsafe { AsyncFd::register_with_interest(own, Interest::READABLE) };
        Ok(Self(registered?))
    }

    /// Waits, then has all taken that is there: what is left would not be told again.
    pub(super) async fn take<T>(&mut self, take: impl FnOnce() -> T) -> io::Result<T> {
        let mut ready = self.0.readable_mut().await?;
        let taken = take();
        ready.clear_ready();
        Ok(taken)
    }
}
