//! Network namespaces: opening, telling apart, working inside.
//!
//! A namespace is opened once, and everything afterwards goes through that file: the path may meanwhile be
//! unmounted or lead elsewhere, the namespace stays the same.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::sys;

/// The calling thread's network namespace. Not /proc/self: that is the first thread's.
const OWN: &str = "/proc/thread-self/ns/net";

/// Why a path is no network namespace to work in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamespaceError {
    /// Nothing is there.
    #[error("network namespace {0} does not exist")]
    Missing(PathBuf),
    /// Something else is there.
    #[error(
        "{0} is not a namespace; a network namespace is a file such as /run/netns/NAME or /proc/PID/ns/net"
    )]
    NotANamespace(PathBuf),
    /// It is a mount, PID, … namespace.
    #[error("{path} is a {kind} namespace, not a network namespace")]
    OtherKind {
        /// As given.
        path: PathBuf,
        /// Which kind it is.
        kind: &'static str,
    },
    /// The operator may not.
    #[error(
        "network namespace {0} cannot be opened or entered: permission denied; podwire needs root (CAP_SYS_ADMIN)"
    )]
    Permission(PathBuf),
    /// Anything else.
    #[error("network namespace {path} cannot be used: {errno}")]
    Unusable {
        /// As given.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
}

/// What makes a namespace itself: equal for all paths and files that stand for it, and not given to
/// another while this one lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NamespaceId {
    /// `st_dev` of its file.
    pub device: u64,
    /// `st_ino` of its file.
    pub inode: u64,
}

/// An open network namespace.
#[derive(Debug)]
pub struct Namespace {
    file: OwnedFd,
    path: PathBuf,
    id: NamespaceId,
}

impl Namespace {
    /// Opens what a path stands for, and makes sure that it is a network namespace.
    pub fn open(path: &Path) -> Result<Self, NamespaceError> {
        // Neither waits for a FIFO's writer nor takes a terminal: the path comes from outside.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let failed = |errno| unusable(path, errno);
        let file = open(path, flags, Mode::empty()).map_err(failed)?;
        check_kind(&file, path)?;
        let stat = fstat(&file).map_err(failed)?;
        Ok(Self { file, path: path.to_owned(), id: NamespaceId { device: stat.st_dev, inode: stat.st_ino } })
    }

    /// The calling thread's own.
    pub fn current() -> Result<Self, NamespaceError> {
        Self::open(Path::new(OWN))
    }

    /// Its identity.
    pub fn id(&self) -> NamespaceId {
        self.id
    }

    /// Whether the calling thread is in it.
    pub fn is_current(&self) -> Result<bool, NamespaceError> {
        let stat = rustix::fs::stat(OWN).map_err(|errno| unusable(Path::new(OWN), errno))?;
        Ok(self.id == NamespaceId { device: stat.st_dev, inode: stat.st_ino })
    }

    /// Runs `work` on this thread inside the namespace, and returns to where the thread was.
    ///
    /// # Panics
    ///
    /// If the thread cannot return: whatever it did next would happen to the wrong namespace.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> Result<T, NamespaceError> {
        let home = Home::here()?;
        enter(&self.file).map_err(|errno| unusable(&self.path, errno))?;
        let outcome = work();
        drop(home);
        Ok(outcome)
    }
}

fn enter(namespace: &OwnedFd) -> Result<(), Errno> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Returns when dropped, so that a panic inside does not leave the thread behind.
struct Home(OwnedFd);

impl Home {
    fn here() -> Result<Self, NamespaceError> {
        let here = open(OWN, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        here.map(Self).map_err(|errno| unusable(Path::new(OWN), errno))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(errno) = enter(&self.0) {
            panic!(
                "cannot return to the node's network namespace ({errno}); going on would change the container's"
            );
        }
    }
}

fn check_kind(file: &OwnedFd, path: &Path) -> Result<(), NamespaceError> {
    match sys::namespace_kind(file.as_fd()) {
        Ok(libc::CLONE_NEWNET) => Ok(()),
        Ok(other) => Err(NamespaceError::OtherKind { path: path.to_owned(), kind: kind_name(other) }),
        // Files of any other kind do not know the question.
        Err(_) => Err(NamespaceError::NotANamespace(path.to_owned())),
    }
}

fn kind_name(kind: libc::c_int) -> &'static str {
    match kind {
        libc::CLONE_NEWNS => "mount",
        libc::CLONE_NEWPID => "PID",
        libc::CLONE_NEWUSER => "user",
        libc::CLONE_NEWUTS => "UTS",
        libc::CLONE_NEWIPC => "IPC",
        libc::CLONE_NEWCGROUP => "cgroup",
        _ => "different",
    }
}

fn unusable(path: &Path, errno: Errno) -> NamespaceError {
    let path = path.to_owned();
    match errno.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => NamespaceError::Missing(path),
        ErrorKind::PermissionDenied => NamespaceError::Permission(path),
        // A socket cannot be opened (ENXIO), a directory can.
        _ if errno == Errno::NXIO => NamespaceError::NotANamespace(path),
        _ => NamespaceError::Unusable { path, errno },
    }
}
