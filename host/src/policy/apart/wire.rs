//! What goes between podwire and a policy's process: messages in postcard's format, each after its length.

use std::io::{self, Read, Write as _};
use std::net::{IpAddr, Shutdown};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::fault::Fault;
use super::super::host::Note;
use super::super::instance::Spent;
use super::super::limits;
use super::super::question::{Answer, Question};
use crate::leases::{self, Holder, Steps, View};

/// Bytes of a message: more than a policy may answer, or take in.
const MOST: u32 = 16 * limits::PASSED_BYTES as u32;

/// From podwire.
#[derive(Serialize)]
pub(super) enum Told<'a> {
    Question(&'a Question),
    Leases(Fact),
}

/// The same, where it arrives.
#[derive(Deserialize)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub(super) enum Heard {
    Question(Question),
    Leases(Fact),
}

/// From the policy's process.
#[derive(Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub(super) enum Ask {
    /// First of all: whether the policy can be asked.
    Started(Result<(), Fault>),
    Leases(LeaseQuestion),
    Answer {
        answer: Result<Answer, Fault>,
        notes: Vec<Note>,
        spent: Spent,
    },
}

#[derive(Serialize, Deserialize)]
pub(super) enum LeaseQuestion {
    HolderOf(IpAddr),
    FirstFree(IpNet, Option<IpAddr>),
    LastTaken(IpNet),
    Taken(IpNet),
}

#[derive(Serialize, Deserialize)]
pub(super) enum Fact {
    Holder(Option<Holder>),
    Address(Option<IpAddr>),
    Count(u64),
}

impl LeaseQuestion {
    pub(super) fn put_to(&self, view: &dyn View, steps: &mut Steps) -> Result<Fact, leases::Error> {
        Ok(match self {
            Self::HolderOf(address) => Fact::Holder(view.holder_of(*address, steps)?),
            Self::FirstFree(block, start) => Fact::Address(view.first_free(*block, *start, steps)?),
            Self::LastTaken(block) => Fact::Address(view.last_taken(*block, steps)?),
            Self::Taken(block) => Fact::Count(view.taken(*block, steps)?),
        })
    }
}

/// One end.
pub(super) struct Wire {
    stream: UnixStream,
    /// For podwire's end, which does not wait for ever.
    deadline: Option<Instant>,
}

impl Wire {
    /// podwire's end. No single read or write waits longer than that.
    pub(super) fn to_policy(stream: UnixStream, patience: Duration) -> io::Result<Self> {
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self { stream, deadline: None })
    }

    /// The other end: its process ends with podwire.
    pub(super) fn to_podwire(stream: UnixStream) -> Self {
        Self { stream, deadline: None }
    }

    /// From now on, after which nothing more is read: whoever sends a byte at a time would be waited for at each.
    pub(super) fn wait_for(&mut self, patience: Duration) {
        self.deadline = Some(Instant::now() + patience);
    }

    pub(super) fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        let mut bytes = postcard::to_extend(message, vec![0; 4]).map_err(io::Error::other)?;
        let length = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        self.stream.write_all(&bytes)
    }

    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let mut length = [0; 4];
        self.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length > MOST {
            return Err(io::Error::other(format!("it sent {length} bytes, of at most {MOST}")));
        }
        let mut bytes = Vec::with_capacity(length as usize);
        self.take(length.into()).read_to_end(&mut bytes)?;
        match postcard::take_from_bytes(&bytes) {
            Ok((message, [])) => Ok(message),
            Ok((_, rest)) => Err(unread(&format!("{} bytes follow its end", rest.len()))),
            Err(error) => Err(unread(&error.to_string())),
        }
    }

    pub(super) fn close(&self) {
        // It may have ended already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(late());
        }
        let is_late = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        self.stream.read(buffer).map_err(|error| if is_late(&error) { late() } else { error })
    }
}

fn unread(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it sent what is no message: {why}"))
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time")
}
