//! The few calls for which rustix has no safe function. Nothing here knows what they are for.
#![allow(unsafe_code)]

use std::mem::size_of_val;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

/// `NS_GET_NSTYPE` of linux/nsfs.h: `_IO(0xb7, 3)`.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// Switches a socket option of level `SOL_NETLINK` on.
pub(super) fn enable_netlink_option(socket: BorrowedFd<'_>, option: libc::c_int) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    let length = size_of_val(&on) as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes at `on`, which outlives the call, and writes nothing.
    let outcome = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_NETLINK, option, (&raw const on).cast(), length)
    };
    if outcome == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Reads a socket option into `value`, which also holds what the kernel is asked for.
pub(super) fn read_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: &mut [u8],
) -> Result<(), Errno> {
    let mut length = value.len() as libc::socklen_t;
    // SAFETY: the kernel reads and writes at most `length` bytes at `value`, which is that long and is
    // borrowed exclusively.
    let outcome = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, value.as_mut_ptr().cast(), &raw mut length)
    };
    if outcome == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Which kind of namespace a file of the nsfs filesystem stands for: a `CLONE_NEW…` constant.
pub(super) fn namespace_kind(namespace: BorrowedFd<'_>) -> Result<libc::c_int, Errno> {
    // SAFETY: this ioctl takes no argument and touches no memory of ours (ioctl_nsfs(2)).
    let kind = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_NSTYPE) };
    if kind >= 0 { Ok(kind) } else { Err(last_errno()) }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
