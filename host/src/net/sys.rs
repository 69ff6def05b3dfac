//! The few calls for which rustix has no safe function. Nothing here knows what they are for.
#![allow(unsafe_code)]

use std::mem::size_of_val;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socket_with};

/// `NS_GET_NSTYPE` of linux/nsfs.h: `_IO(0xb7, 3)`.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// Sets a socket option of level `SOL_NETLINK`.
pub(super) fn set_netlink_option(
    socket: BorrowedFd<'_>,
    option: libc::c_int,
    value: libc::c_int,
) -> Result<(), Errno> {
    let length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes at `value`, which outlives the call, and writes nothing.
    let outcome = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_NETLINK, option, (&raw const value).cast(), length)
    };
    if outcome == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Sends from a child process, which ends when the kernel has taken the bytes, or without sending if it is too
/// late. It is not waited for: it becomes the init process's when this one ends.
pub(super) fn send_from_child(socket: BorrowedFd<'_>, bytes: &[u8], until: Instant) -> Result<(), Errno> {
    // SAFETY: until it ends, the child asks the kernel and nobody else: no allocation, no lock, no unwinding, for
    // which the threads that it has no longer would matter.
    match unsafe { libc::fork() } {
        -1 => Err(last_errno()),
        0 => {
            close_all_but(socket.as_raw_fd());
            if Instant::now() < until {
                let _ = send(socket, bytes, SendFlags::empty());
            }
            // SAFETY: nothing of this process has to be put in order; that is the parent's.
            unsafe { libc::_exit(0) }
        }
        _ => Ok(()),
    }
}

/// Whoever waits for the end of a pipe, or for a lock on a file, must not wait for this process. Linux before 5.9
/// does not know the call, and there they wait.
fn close_all_but(kept: RawFd) {
    let close_range = |first: RawFd, last: RawFd| {
        let (first, last, flags) = (libc::c_long::from(first), libc::c_long::from(last), 0 as libc::c_long);
        // SAFETY: the call touches no memory. Nobody uses the files in this process any more.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    };
    if kept > 0 {
        close_range(0, kept - 1);
    }
    close_range(kept + 1, RawFd::MAX);
}

/// Sends one Ethernet frame out of an interface (packet(7)).
pub(super) fn send_frame(interface: u32, frame: &[u8]) -> Result<(), Errno> {
    // Of no protocol: it receives nothing.
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::sa_family_t,
        sll_protocol: 0,
        sll_ifindex: interface as libc::c_int,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of_val(&address) as libc::socklen_t;
    let address = (&raw const address).cast();
    // SAFETY: the kernel reads `frame` and `length` bytes at `address`, both of which outlive the call.
    let sent =
        unsafe { libc::sendto(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0, address, length) };
    if sent >= 0 { Ok(()) } else { Err(last_errno()) }
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
