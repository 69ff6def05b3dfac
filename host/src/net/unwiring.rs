//! Taking a pod's wiring down, without waiting for what concerns only the kernel's own memory.
//!
//! The kernel removes a link in two parts. Under the lock of all network configuration (RTNL) it sets both ends
//! down, takes them, their addresses and routes off every list, and tells whoever listens: less than a
//! millisecond. Then, without that lock, it waits until no processor can still be using their memory (RCU): some
//! 20 ms, and only then does the request return.
//!
//! So a child process makes the request, and podwire goes on when it hears that the link is gone. The child ends
//! with the kernel's wait. Whichever of the two is killed, the kernel finishes what it began.

use std::time::Duration;

use crate::names::InterfaceName;

use super::Error;
use super::link;
use super::socket::{Request, Socket};

/// How long nothing may be heard before the removal is asked for once more, and waited for: something killed the
/// child, or it gets no time to run.
const PATIENCE: Duration = Duration::from_secs(1);

/// The removal of a veth, under way.
#[derive(Debug)]
#[must_use = "the link is gone only when `finish` says so"]
pub struct Unwiring {
    removal: Option<Removal>,
}

#[derive(Debug)]
struct Removal {
    socket: Socket,
    index: u32,
    request: Request,
    /// Of the request as a child made it, if there could be one.
    sequence: Option<u32>,
}

/// Begins to take a pod's wiring down: its veth, and with it the other end, all addresses and routes of both.
/// The calling thread is in the node's network namespace.
///
/// That it is gone already is success, and so is that a link which podwire did not make has its name: that
/// one stays.
pub fn unwire(host_interface: &InterfaceName) -> Result<Unwiring, Error> {
    let mut socket = Socket::route()?;
    let found = link::find(&mut socket, host_interface)?;
    let Some(found) = found.filter(|found| found.is_veth() && found.is_ours()) else {
        return Ok(Unwiring { removal: None });
    };
    socket.hear_of_links()?;
    let request = link::delete(found.interface());
    let sequence = socket.send_from_child(&request).ok();
    Ok(Unwiring { removal: Some(Removal { socket, index: found.index, request, sequence }) })
}

impl Unwiring {
    /// Waits until the link is gone: nobody finds it, and nothing answers for its addresses.
    pub fn finish(self) -> Result<(), Error> {
        self.removal.map_or(Ok(()), Removal::finish)
    }
}

impl Removal {
    fn finish(mut self) -> Result<(), Error> {
        if self.is_heard()? { Ok(()) } else { self.socket.apply(&[self.request]) }
    }

    /// False if the child is not heard, or was refused: what is the matter, one more request will tell.
    fn is_heard(&mut self) -> Result<bool, Error> {
        let Self { socket, index, sequence: Some(sequence), .. } = self else { return Ok(false) };
        let heard = socket.hear(PATIENCE, |frame| {
            let answered = frame.is_last() && frame.sequence == *sequence;
            if answered {
                Some(frame.errno().is_none())
            } else {
                link::is_removal(frame, *index).then_some(true)
            }
        });
        heard.map(|gone| gone == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::Frame;
    use super::super::tests::{bridged, isolated, link_named, run, wired};
    use super::*;

    /// Before anybody was asked to remove it.
    fn removal(sequence: Option<u32>) -> Removal {
        let mut socket = Socket::route().expect("socket");
        let link = link::find(&mut socket, &"pw2".parse().expect("valid")).expect("answer").expect("wired");
        socket.hear_of_links().expect("hears");
        Removal { socket, index: link.index, request: link::delete(link.interface()), sequence }
    }

    #[test]
    fn what_no_child_does_is_done_without() {
        isolated(|| {
            let never_made = None;
            let killed_before_it_sent = Some(1);
            for sequence in [never_made, killed_before_it_sent] {
                let _pod = wired(&bridged(2, &["10.244.1.0/24"]));
                removal(sequence).finish().expect("gone");
                assert!(link_named("pw2").is_none());
            }
        });
    }

    #[test]
    fn a_port_that_leaves_its_bridge_is_not_gone() {
        isolated(|| {
            let _pod = wired(&bridged(2, &["10.244.1.0/24"]));
            let Removal { mut socket, index, .. } = removal(None);
            run("ip link set pw2 nomaster");
            let said = |frame: &Frame<'_>| (frame.kind == 17).then(|| link::is_removal(frame, index));
            assert_eq!(socket.hear(PATIENCE, said).expect("heard"), Some(false));
            run("ip link delete pw2");
            let gone = |frame: &Frame<'_>| link::is_removal(frame, index).then_some(());
            assert_eq!(socket.hear(PATIENCE, gone).expect("heard"), Some(()));
        });
    }
}
