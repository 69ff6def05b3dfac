//! When a pod's first packet gets through.
//!
//! Of a veth's two ends, the one that goes up first has its carrier when the other is up too. The kernel takes note of
//! that in its own time, by a worker that waits for the lock of all network configuration; until then it drops what is
//! sent out there, and a bridge's port does not forward. From Linux 6.8 on, it takes note at once for whoever asks for
//! the link. Before, one has to listen.

use std::time::{Duration, Instant};

use netlink_packet_core::DecodeError;
use netlink_packet_route::RouteNetlinkMessage;

use super::Error;
use super::frame::Frame;
use super::link::{self, Interface};
use super::socket::Socket;

/// How long a worker may take that has more to do than this link. Later, the pod has to send its first packet twice.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks for an end, and has the kernel take note of its carrier.
pub(super) fn question(end: Interface<'_>) -> RouteNetlinkMessage {
    link::by_index(end.index)
}

/// Waits until an end of which this was asked has its carrier.
pub(super) fn wait(socket: &mut Socket, asked: u32, end: Interface<'_>) -> Result<(), Error> {
    if is_there(socket, asked, end)? { Ok(()) } else { listen(end) }
}

fn is_there(socket: &mut Socket, asked: u32, end: Interface<'_>) -> Result<bool, Error> {
    let decode = |body: &[u8]| Ok::<_, DecodeError>(link::is_running(body, end.index));
    Ok(socket.answer(asked, "say whether an interface has its carrier", decode)? == Some(true))
}

/// By a socket that nobody answers on: among so many messages an answer could be lost.
fn listen(end: Interface<'_>) -> Result<(), Error> {
    let until = Instant::now() + PATIENCE;
    let mut socket = Socket::route()?;
    // It has to have sent something to hear anything; and what happened before it heard must not be missed.
    for _ in 0..2 {
        let asked = socket.ask(&[question(end)])?;
        if is_there(&mut socket, asked, end)? {
            return Ok(());
        }
        socket.hear_of_links()?;
    }
    let has_come = |frame: &Frame<'_>| link::is_running(frame.body, end.index).then_some(());
    socket.hear(until, has_come).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{isolated, link_named, run};
    use super::*;

    #[test]
    fn a_carrier_that_comes_later_is_waited_for() {
        isolated(|| {
            run("ip link add v0 type veth peer name v1");
            run("ip link set v0 up");
            let index = link_named("v0").expect("made").index;
            let end = Interface { index, name: "v0" };
            std::thread::scope(|scope| {
                // It starts a program: by then, what is to be tested listens.
                scope.spawn(|| run("ip link set v1 up"));
                let mut socket = Socket::route().expect("socket");
                let asked = socket.ask(&[question(end)]).expect("asked");
                wait(&mut socket, asked, end).expect("it comes");
            });
            let mut socket = Socket::route().expect("socket");
            let asked = socket.ask(&[question(end)]).expect("asked");
            assert!(is_there(&mut socket, asked, end).expect("answered"));
        });
    }
}
