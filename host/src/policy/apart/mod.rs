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
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};
use wasmtime::component::Component;

use super::fault::Fault;
use super::host::Note;
use super::instance::Spent;
use super::limits;
use super::question::{Answer, Question};
use crate::leases::{self, Steps, View};
use wire::{Ask, Told, Wire};

/// Fuel ends a policy long before; what keeps podwire waiting for longer does not answer at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// A policy's process.
pub(super) struct Apart {
    /// None once it has ended: its number may be another's by then.
    process: Option<Pid>,
    wire: Wire,
    notes: Vec<Note>,
    spent: Spent,
}

impl Apart {
    pub(super) fn start(code: &Component) -> Result<Self, Fault> {
        let not_made = |error| Fault::NoProcess(format!("it could not be made: {error}"));
        Self::fork(|wire| serving::serve(code, wire)).map_err(not_made)?.started()
    }

    /// Once it says that it can be asked.
    fn started(mut self) -> Result<Self, Fault> {
        match self.hear(&leases::Empty)? {
            Ask::Started(Ok(())) => Ok(self),
            Ask::Started(Err(fault)) => Err(fault.cleaned()),
            _ => Err(Fault::Process("it answered before it was asked".to_owned())),
        }
    }

    fn fork(work: impl FnOnce(UnixStream) -> io::Result<()>) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let process = jail::fork(|| work(theirs))?;
        let (notes, spent) = Default::default();
        Ok(Self { process: Some(process), wire: Wire::to_policy(ours, PATIENCE)?, notes, spent })
    }

    pub(super) fn ask(&mut self, question: &Question, view: Option<&dyn View>) -> Result<Answer, Fault> {
        (self.notes, self.spent) = Default::default();
        self.send(&Told::Question(question))?;
        match self.hear(view.unwrap_or(&leases::Empty))? {
            Ask::Answer { answer, notes, spent } => {
                let mut room = limits::LOG_BYTES;
                let notes = notes.iter().map_while(|note| Note::kept(note.level, &note.text, &mut room));
                (self.notes, self.spent) = (notes.collect(), spent.bounded());
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
        self.wire.wait_for(PATIENCE);
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
        let sent = self.wire.send(told);
        sent.map_err(|error| self.lost(&error))
    }

    /// It has ended, or will have to.
    fn lost(&mut self, error: &io::Error) -> Fault {
        let signal = self.end().and_then(WaitStatus::terminating_signal);
        Fault::Process(match signal.filter(|signal| *signal != libc::SIGKILL) {
            Some(libc::SIGSYS) => "it was stopped at a system call that no policy needs".to_owned(),
            Some(signal) => format!("it was ended by signal {signal}"),
            None => error.to_string(),
        })
    }

    /// Whether it wants to or not.
    fn end(&mut self) -> Option<WaitStatus> {
        let process = self.process.take()?;
        let _ = kill_process(process, Signal::KILL);
        let (_, status) = waitpid(Some(process), WaitOptions::empty()).ok()??;
        Some(status)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
#[cfg(feature = "compiler")]
mod tests;
