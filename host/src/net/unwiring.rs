//! Taking a pod's wiring down, without waiting for what concerns only the kernel's own memory.
//!
//! The kernel removes a link in two parts. Under the lock of all network configuration (RTNL) it sets both ends
//! down, takes them, their addresses and routes off every list, and tells whoever listens: less than a
//! millisecond. Then, without that lock, it waits until no processor can still be using their memory (RCU): some
//! 20 ms, and only then does the request return.
//!
//! So a child process makes the request, and podwire goes on when it hears that the link is gone. The child ends
//! with the kernel's wait. Whichever of the two is killed, the kernel finishes what it began.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::names::InterfaceName;
use crate::plan::Checked;
use crate::plan::derived::node_interface;

use super::link::{self, Interface, Link};
use super::socket::{Request, Socket};
use super::{Error, neighbour, rules, shaping};

/// How long the removal may be unheard before it is asked for once more, and waited for: something killed the
/// child, or it gets no time to run. Later than that it does not begin.
const PATIENCE: Duration = Duration::from_secs(1);

/// The removal of a pod's wiring, under way.
#[derive(Debug)]
#[must_use = "the link is gone only when `finish` says so"]
pub struct Unwiring {
    removals: Vec<Removal>,
    rules: Result<(), Error>,
    /// Where the node may remember the pod, unless that went with the link.
    met_at: Option<InterfaceName>,
    addresses: Vec<IpAddr>,
}

/// Of one link.
#[derive(Debug)]
struct Removal {
    socket: Socket,
    index: u32,
    request: Request,
    until: Instant,
    /// Of the request as a child made it, if there could be one.
    sequence: Option<u32>,
}

/// Begins to take a pod's wiring down: its veth, and with it the other end, all addresses and routes of both; what
/// limits its traffic; its rules. The calling thread is in the node's network namespace.
///
/// That it is gone already is success, and so is that a link which podwire did not make has its name: that
/// one stays.
pub fn unwire(plan: &Checked) -> Result<Unwiring, Error> {
    let veth = |socket: &mut Socket| {
        let found = link::find(socket, &plan.host_interface)?;
        Ok(found.filter(|found| found.is_veth() && found.is_ours()))
    };
    let mut removals: Vec<Removal> = Removal::begin(veth)?.into_iter().collect();
    if plan.traffic.bandwidth.is_some() {
        let ifb = |socket: &mut Socket| shaping::find_ifb(socket, plan.host_interface.as_str());
        removals.extend(Removal::begin(ifb)?);
    }
    let addresses = plan.addresses.iter().map(|address| address.prefix.addr()).collect();
    // Needs no link, and the kernel is busy with it.
    Ok(Unwiring { removals, rules: rules::remove(plan), met_at: node_interface(plan), addresses })
}

impl Unwiring {
    /// Waits until the link is gone: nobody finds it, nothing answers for its addresses, and the node has forgotten
    /// who did. Goes on through failures, and returns the first.
    pub fn finish(self) -> Result<(), Error> {
        let Self { removals, rules, met_at, addresses } = self;
        let mut heard_by = None;
        let finish = |removal: Removal| removal.finish().map(|socket| heard_by = Some(socket));
        let gone: Vec<_> = removals.into_iter().map(finish).collect();
        let neighbours = met_at.map_or(Ok(()), |name| forget(heard_by, &name, &addresses));
        gone.into_iter().chain([rules, rules::forget(&addresses), neighbours]).collect()
    }
}

/// By the socket that heard of the link's end, if there is one; it may lose an answer among all it hears, and then
/// another has to ask again.
fn forget(heard_by: Option<Socket>, met_at: &InterfaceName, addresses: &[IpAddr]) -> Result<(), Error> {
    let forget = |mut socket: Socket| match socket.index_of(met_at.as_str())? {
        Some(index) => neighbour::forget(&mut socket, Interface { index, name: met_at.as_str() }, addresses),
        None => Ok(()),
    };
    match heard_by.map(forget) {
        Some(Ok(())) => Ok(()),
        _ => forget(Socket::route()?),
    }
}

impl Removal {
    /// None if there is no such link.
    fn begin(find: impl Fn(&mut Socket) -> Result<Option<Link>, Error>) -> Result<Option<Self>, Error> {
        let mut socket = Socket::route()?;
        let Some(found) = find(&mut socket)? else { return Ok(None) };
        socket.hear_of_links()?;
        let request = link::delete(found.interface());
        let until = Instant::now() + PATIENCE;
        let sequence = socket.send_from_child(&request, until).ok();
        Ok(Some(Self { socket, index: found.index, request, until, sequence }))
    }

    /// Returns the socket that heard that the link is gone.
    fn finish(mut self) -> Result<Socket, Error> {
        if self.is_heard()? {
            return Ok(self.socket);
        }
        // Once more, by a socket that hears of nothing else: on one that is full, the answer would be lost.
        let mut socket = Socket::route()?;
        socket.apply(&[self.request])?;
        Ok(socket)
    }

    /// False if the child is not heard, or was refused: what is the matter, one more request will tell.
    fn is_heard(&mut self) -> Result<bool, Error> {
        let Self { socket, index, until, sequence: Some(sequence), .. } = self else { return Ok(false) };
        let heard = socket.hear(*until, |frame| {
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
    use std::io::Write;

    use super::super::frame::Frame;
    use super::super::tests::{bridged, isolated, link_named, run, wired};
    use super::*;

    /// Before anybody was asked to remove it.
    fn removal(sequence: Option<u32>) -> Removal {
        let mut socket = Socket::route().expect("socket");
        let link = link::find(&mut socket, &"pw2".parse().expect("valid")).expect("answer").expect("wired");
        socket.hear_of_links().expect("hears");
        let (index, request) = (link.index, link::delete(link.interface()));
        Removal { socket, index, request, until: Instant::now() + PATIENCE, sequence }
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
    fn what_is_lost_among_other_messages_is_asked_for_once_more() {
        isolated(|| {
            let _pod = wired(&bridged(2, &["10.244.1.0/24"]));
            run("ip link set lo up");
            let removal = removal(Some(1));
            let change = |i: u32| format!("link set lo alias x{i}\n");
            let mut batch = tempfile::NamedTempFile::new().expect("a file");
            batch.write_all((0..2000).map(change).collect::<String>().as_bytes()).expect("written");
            run(&format!("ip -batch {}", batch.path().display()));
            removal.finish().expect("gone");
            assert!(link_named("pw2").is_none());
        });
    }

    #[test]
    fn a_port_that_leaves_its_bridge_is_not_gone() {
        isolated(|| {
            let _pod = wired(&bridged(2, &["10.244.1.0/24"]));
            let Removal { mut socket, index, until, .. } = removal(None);
            run("ip link set pw2 nomaster");
            let said = |frame: &Frame<'_>| (frame.kind == 17).then(|| link::is_removal(frame, index));
            assert_eq!(socket.hear(until, said).expect("heard"), Some(false));
            run("ip link delete pw2");
            let gone = |frame: &Frame<'_>| link::is_removal(frame, index).then_some(());
            assert_eq!(socket.hear(until, gone).expect("heard"), Some(()));
        });
    }
}
