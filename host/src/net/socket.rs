//! A netlink socket: requests in, refusals or answers out.
//!
//! Synchronous, and of the network namespace in which it was opened, wherever its thread goes. Knows
//! acknowledgements and dumps; nothing of what the messages mean.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_ERROR, NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::netdevice::name_to_index;
use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size_force, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{netlink, recv, send, socket_with};

use super::frame::{Frame, append, frames};
use super::netfilter::Message;
use super::{Error, Refused, sys, unattended};

/// Twice what the kernel takes for one answer (`NLMSG_GOODSIZE`); of a table, it hands over as much at once as
/// finds room here.
const RECEIVED_AT_ONCE: usize = 16 * 1024;

/// Requests in one send. A plan's limits keep below it; a node's routes may not. Each refusal takes up to
/// a kilobyte of the socket's receive buffer (212,992 bytes), and one that finds no room is lost.
const SENT_AT_ONCE: usize = 128;

/// What a refusal takes of the socket's receive buffer, in bytes, with as much of the request as comes back.
const REFUSAL: usize = 2048;

/// The kernel's group of messages about links (linux/rtnetlink.h).
const RTNLGRP_LINK: libc::c_int = 1;

/// How often a dump is begun anew because the table changed meanwhile.
const DUMP_ATTEMPTS: usize = 16;

/// Something to be done, and what to say if the kernel does not do it.
#[derive(Debug, Clone)]
pub struct Request<M = RouteNetlinkMessage> {
    message: M,
    flags: u16,
    step: String,
    harmless: &'static [Errno],
}

impl<M> Request<M> {
    /// `step` completes the sentence "the kernel refused to …".
    pub fn new(message: M, flags: u16, step: String) -> Self {
        Self { message, flags, step, harmless: &[] }
    }

    /// Takes these errors for success: what was to be done is done already, or does not matter.
    pub fn tolerating(mut self, harmless: &'static [Errno]) -> Self {
        self.harmless = harmless;
        self
    }
}

/// An open netlink socket.
#[derive(Debug)]
pub struct Socket {
    file: OwnedFd,
    sequence: u32,
    received: Vec<u8>,
}

impl Socket {
    /// A socket for links, addresses and routes (rtnetlink(7)) in this thread's network namespace.
    pub fn route() -> Result<Self, Error> {
        Self::open(None)
    }

    /// A socket for nftables and for connections in this thread's network namespace.
    pub fn netfilter() -> Result<Self, Error> {
        Self::open(Some(netlink::NETFILTER))
    }

    fn open(protocol: Option<Protocol>) -> Result<Self, Error> {
        let failed = |errno| Error::Socket { action: "open a socket", errno };
        let file = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
            .map_err(failed)?;
        sys::set_netlink_option(file.as_fd(), libc::NETLINK_EXT_ACK, 1).map_err(failed)?;
        Ok(Self { file, sequence: 0, received: Vec::with_capacity(RECEIVED_AT_ONCE) })
    }

    /// The index of the interface of that name, or none.
    pub fn index_of(&self, name: &str) -> Result<Option<u32>, Error> {
        match name_to_index(&self.file, name) {
            Ok(index) => Ok(Some(index)),
            Err(Errno::NODEV) => Ok(None),
            Err(errno) => Err(Error::Socket { action: "look an interface up", errno }),
        }
    }

    /// Has the requests carried out, in order, in one send. One that is refused does not stop those after
    /// it.
    pub fn apply(&mut self, requests: &[Request]) -> Result<(), Error> {
        Error::from_refusals(self.attempt(requests)?)
    }

    /// As [`Socket::apply`], but hands the refusals over.
    pub fn attempt<M: NetlinkSerializable>(
        &mut self,
        requests: &[Request<M>],
    ) -> Result<Vec<Refused>, Error> {
        let mut refused = Vec::new();
        for (turn, some) in requests.chunks(SENT_AT_ONCE).enumerate() {
            let first = self.send_requests(some)?;
            self.collect(some, first, turn * SENT_AT_ONCE, &mut refused)?;
        }
        Ok(refused)
    }

    /// Has nf_tables carry out all of the requests, or none if it refuses one. Hands the refusals over: it goes on
    /// to look at those after one that it refuses.
    pub(super) fn transact(&mut self, requests: &[Request<Message>]) -> Result<Vec<Refused>, Error> {
        let mut refused = Vec::new();
        if requests.is_empty() {
            return Ok(refused);
        }
        if requests.len() > SENT_AT_ONCE {
            let failed = |errno| Error::Socket { action: "make room for answers", errno };
            set_socket_recv_buffer_size_force(&self.file, requests.len() * REFUSAL).map_err(failed)?;
        }
        let mut bytes = Vec::with_capacity(1024);
        append(&mut bytes, &Message::begin(), NLM_F_REQUEST, self.next());
        let first = self.write(&mut bytes, requests);
        append(&mut bytes, &Message::end(), NLM_F_REQUEST, self.next());
        self.send(&bytes)?;
        self.collect(requests, first, 0, &mut refused)?;
        Ok(refused)
    }

    /// Asks for one thing. None if there is no such thing.
    pub fn get<T>(
        &mut self,
        question: impl NetlinkSerializable,
        step: &str,
        decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, Error> {
        let asked = self.ask(&[question])?;
        self.answer(asked, step, decode)
    }

    /// Asks for several things in one send. Returns the first question's sequence number; the others' follow.
    pub(super) fn ask(&mut self, questions: &[impl NetlinkSerializable]) -> Result<u32, Error> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(256);
        questions.iter().for_each(|question| append(&mut bytes, question, NLM_F_REQUEST, self.next()));
        if !bytes.is_empty() {
            self.send(&bytes)?;
        }
        Ok(first)
    }

    /// The answer to a question of [`Socket::ask`], whose answers are taken in the same order. None if there is
    /// no such thing.
    pub(super) fn answer<T>(
        &mut self,
        asked: u32,
        step: &str,
        decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, Error> {
        loop {
            self.receive()?;
            let Some(frame) = frames(&self.received).find(|frame| frame.sequence == asked) else { continue };
            if !frame.is_last() {
                return Ok(Some(decode(frame.body)?));
            }
            return match frame.errno() {
                None | Some(Errno::NODEV | Errno::NOENT) => Ok(None),
                Some(errno) => Err(frame.refusal(0, step, errno).into()),
            };
        }
    }

    /// Reads a whole table; `decode` says of each entry whether it is wanted. `what` is the table's name,
    /// in the plural.
    pub fn dump<T>(
        &mut self,
        question: &impl NetlinkSerializable,
        what: &'static str,
        decode: impl Fn(&[u8]) -> Result<Option<T>, DecodeError>,
    ) -> Result<Vec<T>, Error> {
        // Lets the kernel filter by what the question's header says. Linux before 4.20 cannot, so that
        // `decode` filters too.
        match sys::set_netlink_option(self.file.as_fd(), libc::NETLINK_GET_STRICT_CHK, 1) {
            Ok(()) | Err(Errno::NOPROTOOPT) => (),
            Err(errno) => return Err(Error::Socket { action: "ask for strict checking", errno }),
        }
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(found) = self.dump_once(question, what, &decode)? {
                return Ok(found);
            }
        }
        Err(Error::Unsettled { what, attempts: DUMP_ATTEMPTS })
    }

    /// None if the table changed meanwhile, so that entries may be missing.
    fn dump_once<T>(
        &mut self,
        question: &impl NetlinkSerializable,
        what: &'static str,
        decode: impl Fn(&[u8]) -> Result<Option<T>, DecodeError>,
    ) -> Result<Option<Vec<T>>, Error> {
        let asked = self.next();
        let mut bytes = Vec::with_capacity(128);
        append(&mut bytes, question, NLM_F_REQUEST | NLM_F_DUMP, asked);
        self.send(&bytes)?;
        let (mut found, mut interrupted) = (Vec::new(), false);
        loop {
            self.receive()?;
            for frame in frames(&self.received).filter(|frame| frame.sequence == asked) {
                interrupted |= frame.flags & NLM_F_DUMP_INTR != 0;
                if !frame.is_last() {
                    found.extend(decode(frame.body)?);
                    continue;
                }
                return match frame.errno() {
                    None => Ok((!interrupted).then_some(found)),
                    Some(errno) => Err(frame.refusal(0, &format!("list {what}"), errno).into()),
                };
            }
        }
    }

    /// From now on the socket hears of every change of a link, too. To be asked of one that has sent something:
    /// until then it has no address, and hears nothing.
    pub(super) fn hear_of_links(&self) -> Result<(), Error> {
        let failed = |errno| Error::Socket { action: "listen for changes of links", errno };
        sys::set_netlink_option(self.file.as_fd(), libc::NETLINK_ADD_MEMBERSHIP, RTNLGRP_LINK).map_err(failed)
    }

    /// Has a child process make the request, until then or not at all, and wait for it; the answer is to be heard
    /// here. Returns the request's sequence number.
    pub(super) fn send_from_child(&mut self, request: &Request, until: Instant) -> Result<u32, Error> {
        let sequence = self.next();
        let mut bytes = Vec::with_capacity(128);
        append(&mut bytes, &request.message, NLM_F_REQUEST | NLM_F_ACK | request.flags, sequence);
        let failed = |errno| Error::Socket { action: "start a process to send a request", errno };
        sys::send_from_child(self.file.as_fd(), &bytes, until).map_err(failed)?;
        Ok(sequence)
    }

    /// Listens until a message is what is waited for. None if that did not come in time, or a message was lost. From
    /// then on no answer is waited for any longer than this one could be.
    pub(super) fn hear<T>(
        &mut self,
        until: Instant,
        wanted: impl Fn(&Frame<'_>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let failed = |errno| Error::Socket { action: "wait for an answer no longer than allowed", errno };
        set_socket_timeout(&self.file, Timeout::Recv, Some(left)).map_err(failed)?;
        while Instant::now() < until {
            // None has come, too many at once, or one that is too long.
            if self.receive().is_err() {
                return Ok(None);
            }
            if let Some(found) = frames(&self.received).find_map(|frame| wanted(&frame)) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Returns the first sequence number.
    fn send_requests<M: NetlinkSerializable>(&mut self, requests: &[Request<M>]) -> Result<u32, Error> {
        let mut bytes = Vec::with_capacity(1024);
        let first = self.write(&mut bytes, requests);
        self.send(&bytes)?;
        Ok(first)
    }

    /// Only the last request asks for an acknowledgement: refusals come unasked, and in order, so that
    /// with the last answer all are there. Returns the first sequence number.
    fn write<M: NetlinkSerializable>(&mut self, bytes: &mut Vec<u8>, requests: &[Request<M>]) -> u32 {
        let first = self.sequence.wrapping_add(1);
        for (position, request) in requests.iter().enumerate() {
            let acknowledged = if position + 1 == requests.len() { NLM_F_ACK } else { 0 };
            let flags = NLM_F_REQUEST | request.flags | acknowledged;
            append(bytes, &request.message, flags, self.next());
        }
        first
    }

    fn collect<M>(
        &mut self,
        requests: &[Request<M>],
        first: u32,
        before: usize,
        refused: &mut Vec<Refused>,
    ) -> Result<(), Error> {
        loop {
            self.receive()?;
            for frame in frames(&self.received).filter(|frame| frame.kind == NLMSG_ERROR) {
                // What is wrong with a batch as a whole is said of the mark before it, and may be all that is said.
                if let Some(errno) = frame.errno().filter(|_| frame.sequence.wrapping_add(1) == first) {
                    return Err(frame.refusal(before, &requests[0].step, errno).into());
                }
                let position = frame.sequence.wrapping_sub(first) as usize;
                let Some(request) = requests.get(position) else { continue };
                if let Some(errno) = frame.errno().filter(|errno| !request.harmless.contains(errno)) {
                    refused.push(frame.refusal(before + position, &request.step, errno));
                }
                if position + 1 == requests.len() {
                    return Ok(());
                }
            }
        }
    }

    /// Closes one of netfilter's without waiting: see [`unattended`].
    pub(super) fn close_unattended(self) {
        unattended::close(self.file);
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Error> {
        let failed = |errno| Error::Socket { action: "send requests", errno };
        retry_on_intr(|| send(&self.file, bytes, SendFlags::empty())).map_err(failed)?;
        Ok(())
    }

    /// ENOBUFS is an error like any other here: an answer is lost, and with it the knowledge of what was
    /// done.
    fn receive(&mut self) -> Result<(), Error> {
        let failed = |errno| Error::Socket { action: "receive an answer", errno };
        self.received.clear();
        let received = &mut self.received;
        let (kept, length) =
            retry_on_intr(|| recv(&self.file, spare_capacity(received), RecvFlags::TRUNC)).map_err(failed)?;
        if kept < length { Err(failed(Errno::MSGSIZE)) } else { Ok(()) }
    }
}
