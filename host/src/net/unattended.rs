//! Closing a netfilter socket without waiting.
//!
//! Whoever closes such a one waits until nobody can be using what anybody has removed from the tables a moment ago
//! (RCU): some 12 ms, also as a process that ends with one open. So the socket goes into a message that only the
//! message's own receiver could be asked for, and that one nobody has any more: the kernel's collector of such things
//! (`unix_gc`) closes it, in a thread of its own. Linux before 6.8 has that done by the process that makes it
//! necessary, which then waits as it otherwise would.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::cmsg_space;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
    socketpair,
};

/// Closes a file. If the kernel does not take it over, it is closed here.
pub(super) fn close(file: OwnedFd) {
    let pair = socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    let Ok((sender, receiver)) = pair else { return };
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = [receiver.as_fd(), file.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&files));
    let _ = sendmsg(&sender, &[IoSlice::new(&[0])], &mut control, SendFlags::empty());
    // Before the pair, whose end sets the collector to work: whoever closes the file last, waits.
    drop(file);
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_file_is_closed_in_the_end() {
        let (mut other, file) = UnixStream::pair().expect("sockets");
        close(file.into());
        assert_eq!(other.read(&mut [0]).expect("what a closed socket's peer reads"), 0);
    }
}
