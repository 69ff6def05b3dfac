//! What a policy reaches of the host while it is asked: the leases and the log, counted.

use std::rc::Rc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use wasmtime::StoreContextMut;
use wasmtime::component::{HasSelf, Linker, WasmStr};

use super::answer::{self, Field};
use super::bindings::podwire::policy::{leases as wit_leases, log as wit_log, types as wit};
use super::fault::Fault;
use super::question::Question;
use super::quota::Quota;
use super::standin::{Seed, StandIns};
use super::text::clean;
use super::{limits, request};
use crate::leases::{self, Steps, View};
use crate::plan::check::Violation;

/// How much a policy's note matters, as the policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Level {
    /// For the policy's author.
    Debug,
    /// For the record.
    Info,
    /// Something to look at.
    Warn,
    /// Something is wrong.
    Error,
}

/// One line that a policy logged: short, and without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// How much it matters.
    pub level: Level,
    /// The line.
    pub text: String,
}

impl Note {
    /// On one line, without what could mislead, and if there is room.
    pub(super) fn kept(level: Level, text: &str, room: &mut usize) -> Option<Self> {
        let text = clean(text, limits::LOG_BYTES);
        *room = room.checked_sub(text.len() + limits::LOG_LINE)?;
        Some(Self { level, text })
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let level = match self.level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warning",
            Level::Error => "error",
        };
        write!(f, "{level}: {}", self.text)
    }
}

/// The data of a policy's store.
pub(super) struct Host {
    /// None: as if nobody held any address.
    view: Option<Rc<dyn View>>,
    steps: Steps,
    calls: u32,
    notes: Vec<Note>,
    /// What is left of [`limits::LOG_BYTES`].
    log_room: usize,
    quota: Quota,
    /// Only of a policy that imports WASI.
    stand_ins: Option<StandIns>,
    /// Why the host ended the call: wasmtime's error only says that it did.
    fault: Option<Fault>,
}

impl Host {
    pub(super) fn new() -> Self {
        Self {
            view: None,
            steps: Steps(limits::LEASE_STEPS),
            calls: 0,
            notes: Vec::new(),
            log_room: limits::LOG_BYTES,
            quota: Quota::default(),
            stand_ins: None,
            fault: None,
        }
    }

    /// From here on there are stand-ins for WASI.
    pub(super) fn stand_in(&mut self) {
        self.stand_ins = Some(StandIns::new(Seed::of("start", &[])));
    }

    /// For the stand-ins themselves.
    pub(super) fn stand_ins(&mut self) -> &mut StandIns {
        self.stand_ins.get_or_insert_with(|| StandIns::new(Seed::of("start", &[])))
    }

    /// For wasmtime to ask before memory or a table grows.
    pub(super) fn quota(&mut self) -> &mut Quota {
        &mut self.quota
    }

    /// Before each call of the policy.
    pub(super) fn begin(&mut self, question: &Question, view: Option<Rc<dyn View>>) {
        if let Some(stand_ins) = &mut self.stand_ins {
            *stand_ins = StandIns::new(Seed::of(question.call(), &question.facts()));
        }
        self.view = view;
        self.steps = Steps(limits::LEASE_STEPS);
        self.calls = 0;
        self.notes.clear();
        self.log_room = limits::LOG_BYTES;
        self.fault = None;
    }

    /// After each call of the policy: lets go of the view.
    pub(super) fn end(&mut self) {
        for (level, line) in self.stand_ins.as_mut().map(StandIns::unfinished).into_iter().flatten() {
            line.into_iter().for_each(|line| self.note(level, &line));
        }
        self.view = None;
    }

    pub(super) fn calls(&self) -> u32 {
        self.calls
    }

    pub(super) fn memory(&self) -> usize {
        self.quota.memory()
    }

    pub(super) fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Why the call failed.
    pub(super) fn explain(&mut self, error: &wasmtime::Error) -> Fault {
        let last = self.notes.last().map(|note| note.text.as_str());
        self.fault.take().or(self.quota.exceeded()).unwrap_or_else(|| Fault::of(error, last))
    }

    /// Ends the call of the policy.
    pub(super) fn stop(&mut self, fault: Fault) -> wasmtime::Error {
        self.fault = Some(fault);
        wasmtime::Error::msg("the host ended the call")
    }

    pub(super) fn count_call(&mut self) -> wasmtime::Result<()> {
        if self.calls == limits::HOST_CALLS {
            return Err(self.stop(Fault::HostCalls));
        }
        self.calls += 1;
        Ok(())
    }

    fn argument<T>(&mut self, argument: Result<T, Violation>) -> wasmtime::Result<T> {
        argument.map_err(|violation| self.stop(Fault::Argument(violation)))
    }

    fn block(&mut self, block: wit::IpPrefix) -> wasmtime::Result<IpNet> {
        self.argument(answer::block(Field::new("block"), block))
    }

    fn ask<T>(
        &mut self,
        question: impl FnOnce(&dyn View, &mut Steps) -> Result<T, leases::Error>,
    ) -> wasmtime::Result<T> {
        let view = self.view.as_deref().unwrap_or(&leases::Empty);
        question(view, &mut self.steps).map_err(|error| self.stop(Fault::Leases(error)))
    }

    /// Bytes that the log still takes.
    pub(super) fn log_room(&self) -> usize {
        self.log_room
    }

    pub(super) fn note(&mut self, level: Level, text: &str) {
        match Note::kept(level, text, &mut self.log_room) {
            Some(note) => self.notes.push(note),
            // The first line that has no room closes the log, so that no more are even looked at.
            None => self.log_room = 0,
        }
    }
}

impl wit_leases::Host for Host {
    fn holder_of(&mut self, address: wit::IpAddress) -> wasmtime::Result<Option<wit_leases::Holder>> {
        self.count_call()?;
        let holder = self.ask(|view, steps| view.holder_of(answer::ip(address), steps))?;
        Ok(holder.map(request::holder))
    }

    fn first_free(
        &mut self,
        block: wit::IpPrefix,
        start: Option<wit::IpAddress>,
    ) -> wasmtime::Result<Option<wit::IpAddress>> {
        self.count_call()?;
        let (block, start) = (self.block(block)?, start.map(answer::ip));
        let free = self.ask(|view, steps| view.first_free(block, start, steps))?;
        Ok(free.map(request::ip))
    }

    fn last_taken(&mut self, block: wit::IpPrefix) -> wasmtime::Result<Option<wit::IpAddress>> {
        self.count_call()?;
        let block = self.block(block)?;
        let last = self.ask(|view, steps| view.last_taken(block, steps))?;
        Ok(last.map(request::ip))
    }

    fn taken(&mut self, block: wit::IpPrefix) -> wasmtime::Result<u64> {
        self.count_call()?;
        let block = self.block(block)?;
        self.ask(|view, steps| view.taken(block, steps))
    }
}

impl From<wit_log::Level> for Level {
    fn from(level: wit_log::Level) -> Self {
        match level {
            wit_log::Level::Debug => Self::Debug,
            wit_log::Level::Info => Self::Info,
            wit_log::Level::Warn => Self::Warn,
            wit_log::Level::Error => Self::Error,
        }
    }
}

/// A linker with the two interfaces of the contract, and nothing else.
pub(super) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    wit_leases::add_to_linker::<_, HasSelf<Host>>(&mut linker, |host| host)?;
    // Not by the generated function: that copies every message before the host can look at it, and thousands
    // of a megabyte each would take seconds.
    linker.instance("podwire:policy/log@0.3.0")?.func_wrap("log", log)?;
    Ok(linker)
}

fn log(
    mut store: StoreContextMut<'_, Host>,
    (level, message): (wit_log::Level, WasmStr),
) -> wasmtime::Result<()> {
    store.data_mut().count_call()?;
    if store.data().log_room > 0 {
        let message = message.to_str(&store)?.into_owned();
        store.data_mut().note(level.into(), &message);
    }
    Ok(())
}
