//! A policy in a process of its own. Whoever finds a way out of WebAssembly stands in a process without privilege, files
//! or system calls ([`jail`]), and has a wire to podwire: on it go questions and answers as data, and every question about
//! the leases is put to podwire, which counts them.
//!
//! What comes over the wire is taken for what it is: the words of somebody who may have taken that process over.

mod jail;
mod serving;
mod wire;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use wasmtime::component::Component;

use super::fault::Fault;
use super::host::Note;
use super::instance::Spent;
use super::limits;
use super::question::{Answer, Question};
use crate::leases::{self, Steps, View};
use wire::{Ask, Told, Wire};

/// A policy's process.
pub(super) struct Apart {
    process: Pid,
    wire: Wire,
    notes: Vec<Note>,
    spent: Spent,
}

impl Apart {
    /// The code was mapped from that file, which the process needs for the policy's memory.
    pub(super) fn start(code: &Component, file: Option<&Path>) -> Result<Self, Fault> {
        let not_made = |error| Fault::NoProcess(format!("it could not be made: {error}"));
        let mut apart = Self::fork(|wire| serving::serve(code, file, wire)).map_err(not_made)?;
        match apart.hear(&leases::Empty) {
            Ok(Ask::Started(Ok(()))) => Ok(apart),
            Ok(Ask::Started(Err(fault))) => Err(fault),
            Ok(_) => Err(Fault::Process("it answered before it was asked".to_owned())),
            Err(fault) => Err(fault),
        }
    }

    fn fork(work: impl FnOnce(UnixStream) -> io::Result<()>) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let process = jail::fork(|| work(theirs))?;
        Ok(Self { process, wire: Wire::to_policy(ours)?, notes: Vec::new(), spent: Spent::default() })
    }

    pub(super) fn ask(&mut self, question: &Question, view: Option<&dyn View>) -> Result<Answer, Fault> {
        (self.notes, self.spent) = Default::default();
        self.send(&Told::Question(question))?;
        match self.hear(view.unwrap_or(&leases::Empty))? {
            Ask::Answer { answer, notes, spent } => {
                self.notes = notes.into_iter().map(Note::cleaned).collect();
                self.spent = spent;
                answer.map_err(Fault::cleaned)
            }
            Ask::Started(_) | Ask::Leases(_) => Err(Fault::Process("it started twice".to_owned())),
        }
    }

    pub(super) fn notes(&self) -> &[Note] {
        &self.notes
    }

    pub(super) fn spent(&self) -> Spent {
        self.spent
    }

    /// Answers what it asks about the leases, until it says something else.
    fn hear(&mut self, view: &dyn View) -> Result<Ask, Fault> {
        let mut steps = Steps(limits::LEASE_STEPS);
        for _ in 0..=limits::HOST_CALLS {
            let ask = match self.wire.receive() {
                Ok(ask) => ask,
                Err(error) => return Err(self.lost(&error)),
            };
            let Ask::Leases(question) = ask else { return Ok(ask) };
            let fact = question.put_to(view, &mut steps).map_err(|error| self.hang_up(error))?;
            self.send(&Told::Leases(fact))?;
        }
        Err(Fault::HostCalls)
    }

    /// Without an answer it cannot go on.
    fn hang_up(&self, error: leases::Error) -> Fault {
        self.wire.close();
        Fault::Leases(error)
    }

    fn send(&mut self, told: &Told<'_>) -> Result<(), Fault> {
        self.wire.send(told).map_err(|error| self.lost(&error))
    }

    /// It has ended, or will have to.
    fn lost(&self, error: &io::Error) -> Fault {
        let _ = kill_process(self.process, Signal::KILL);
        let status = waitpid(Some(self.process), WaitOptions::empty()).ok().flatten();
        let signal = status.and_then(|(_, status)| status.terminating_signal());
        Fault::Process(match signal.filter(|signal| *signal != libc::SIGKILL) {
            Some(libc::SIGSYS) => "it was stopped at a system call that no policy needs".to_owned(),
            Some(signal) => format!("it was ended by signal {signal}"),
            None => error.to_string(),
        })
    }
}

impl Drop for Apart {
    /// At the end of the wire it exits.
    fn drop(&mut self) {
        self.wire.close();
        let _ = waitpid(Some(self.process), WaitOptions::empty());
    }
}

#[cfg(test)]
#[cfg(feature = "compiler")]
mod tests;
