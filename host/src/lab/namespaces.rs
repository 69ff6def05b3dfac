#![allow(unsafe_code)]
//! Making namespaces: the lab's one place for what Rust cannot call safe.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::thread::UnshareFlags;

/// unshare(2), for flags that do not part the file descriptor table.
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    assert!(!flags.contains(UnshareFlags::FILES), "other threads' descriptors would be lost");
    // SAFETY: what makes unshare unsafe is a table of file descriptors of one's own, from which other
    // threads' descriptors are missing; it is excluded above.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(io::Error::from)
}

/// Makes a network namespace and gives it a name, as `ip netns add` does.
pub(super) fn make(name: &str) -> Result<PathBuf> {
    let path = Path::new("/run/netns").join(name);
    File::create_new(&path).with_context(|| path.display().to_string())?;
    // A thread has a network namespace of its own; with the thread, only the name is left.
    std::thread::scope(|scope| {
        let made = scope.spawn(|| -> io::Result<()> {
            unshare(UnshareFlags::NEWNET)?;
            Ok(mount_bind("/proc/thread-self/ns/net", &path)?)
        });
        made.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
    .with_context(|| format!("network namespace {name}"))?;
    Ok(path)
}

/// Takes the name away, and with it the namespace if nobody is in it.
pub(super) fn remove(name: &str) -> Result<()> {
    let path = Path::new("/run/netns").join(name);
    unmount(&path, UnmountFlags::DETACH).with_context(|| path.display().to_string())?;
    std::fs::remove_file(&path).with_context(|| path.display().to_string())
}
