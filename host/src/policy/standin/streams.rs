//! Standard input, which is at its end, and standard output and error, whose lines go to the policy's log.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Lower, Resource, WasmList};

use super::clocks::pollable;
use super::io::STDERR;
use super::{Absent, Input, Linked, Output, charge, constant};
use crate::policy::host::{Host, Level};
use crate::policy::limits;

/// What a write may have at once, as the interface promises.
const ROOM: u64 = 4 << 10;

#[derive(ComponentType, Lower, Lift)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Resource<Absent>),
    #[component(name = "closed")]
    Closed,
}

type Outcome<T> = Result<T, StreamError>;

/// A stream's text, cut into lines.
#[derive(Default)]
pub(super) struct Lines {
    unfinished: Vec<u8>,
}

impl Lines {
    /// The lines that are complete with this text. One that is longer than the log ends there.
    fn push(&mut self, text: &[u8]) -> Vec<String> {
        let mut complete = Vec::new();
        for part in text.split_inclusive(|byte| *byte == b'\n') {
            self.unfinished.extend_from_slice(part.strip_suffix(b"\n").unwrap_or(part));
            if part.ends_with(b"\n") || self.unfinished.len() >= limits::LOG_BYTES {
                complete.extend(self.finish());
            }
        }
        complete
    }

    fn finish(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.unfinished);
        (!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned())
    }
}

impl super::StandIns {
    /// What was written without an end of line, when the call is over.
    pub(in crate::policy) fn unfinished(&mut self) -> [(Level, Option<String>); 2] {
        [(Level::Info, self.out.finish()), (Level::Warn, self.err.finish())]
    }
}

fn write(
    mut store: StoreContextMut<'_, Host>,
    stream: &Resource<Output>,
    text: &WasmList<u8>,
) -> wasmtime::Result<Outcome<()>> {
    // Not even looked at once the log is full.
    let room = store.data().log_room();
    let text = text.as_le_slice(&store);
    let text = text[..text.len().min(room)].to_vec();
    charge(&mut store, text.len() as u64)?;
    let host = store.data_mut();
    let stand_ins = host.stand_ins();
    let (level, lines) = match stream.rep() {
        STDERR => (Level::Warn, &mut stand_ins.err),
        _ => (Level::Info, &mut stand_ins.out),
    };
    for line in lines.push(&text) {
        host.note(level, &line);
    }
    Ok(Ok(()))
}

pub(super) fn streams(linked: &mut Linked<'_>, name: &str) -> wasmtime::Result<bool> {
    match name.split_once('.') {
        Some(("[method]input-stream", function)) => input(linked, name, function),
        Some(("[method]output-stream", function)) => output(linked, name, function),
        _ => Ok(false),
    }
}

fn input(linked: &mut Linked<'_>, name: &str, function: &str) -> wasmtime::Result<bool> {
    type From = (Resource<Input>,);
    type Some = (Resource<Input>, u64);
    match function {
        "read" | "blocking-read" => {
            constant(linked, name, |_: Some| Outcome::<Vec<u8>>::Err(StreamError::Closed))
        }
        "skip" | "blocking-skip" => {
            constant(linked, name, |_: Some| Outcome::<u64>::Err(StreamError::Closed))
        }
        "subscribe" => constant(linked, name, |_: From| pollable()),
        _ => Ok(false),
    }
}

fn output(linked: &mut Linked<'_>, name: &str, function: &str) -> wasmtime::Result<bool> {
    type To = (Resource<Output>,);
    match function {
        "check-write" => constant(linked, name, |_: To| Outcome::Ok(ROOM)),
        "write" | "blocking-write-and-flush" => {
            linked.func_wrap(name, |store, (stream, text): (Resource<Output>, WasmList<u8>)| {
                Ok((write(store, &stream, &text)?,))
            })?;
            Ok(true)
        }
        "flush" | "blocking-flush" => constant(linked, name, |_: To| Outcome::Ok(())),
        "subscribe" => constant(linked, name, |_: To| pollable()),
        _ => Ok(false),
    }
}
