//! Programs that others wrote, and that may not end.

use std::fs::File;
use std::io;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// What it reads from, or writes to: memory, not a pipe. One that prints much, or never reads, makes nobody wait, and
/// neither does a child of its own that keeps the file open.
pub(crate) fn file() -> io::Result<File> {
    Ok(memfd_create("podwire-child", MemfdFlags::CLOEXEC)?.into())
}

/// Waits for its end, or kills it when patience ends: then there is no status.
pub(crate) fn finish(child: &mut Child, patience: Duration) -> io::Result<Option<ExitStatus>> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let limit = Timespec::try_from(patience).map_err(io::Error::other)?;
    let ended = retry_on_intr(|| poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit)))? > 0;
    if !ended {
        child.kill()?;
    }
    let status = child.wait()?;
    Ok(ended.then_some(status))
}
