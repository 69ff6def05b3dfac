//! What can go wrong with a policy, in an operator's words.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wasmtime::{Trap, WasmBacktrace};

use super::limits;
use super::text::{clean, grouped};
use crate::leases;
use crate::plan::check::Violation;

/// How a policy is named in errors: `bridge (sha256:…)`.
pub type Label = std::sync::Arc<str>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// wasmtime cannot be set up; the settings are podwire's own.
    #[error("podwire's own settings for policies do not work on this machine: {0}")]
    Settings(String),
    /// The component is not one, or does not fit the contract.
    #[cfg(feature = "compiler")]
    #[error(transparent)]
    Unfit(#[from] super::Unfit),
    /// The compiler refused the component.
    #[cfg(feature = "compiler")]
    #[error("the component cannot be compiled: {0}")]
    Compile(String),
    /// Compiled code that this program cannot run: of another version, or for another architecture.
    #[error("{path}: compiled code that this podwire cannot use: {reason}")]
    Stale {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// Compiled code that is not there, or that somebody else might have written.
    #[error("compiled code is not usable: {0}")]
    File(#[from] crate::state::Error),
    /// The policy failed while it was asked.
    #[error("policy {policy} failed in {call}: {fault}")]
    Failed {
        /// Which policy.
        policy: Label,
        /// Which function of the contract; `start` before the first one.
        call: &'static str,
        /// How.
        fault: Fault,
    },
    /// The policy answered with something that no plan can hold.
    #[error("policy {policy} gave an answer to {call} that breaks a rule: {violation}")]
    Answer {
        /// Which policy.
        policy: Label,
        /// Which function of the contract.
        call: &'static str,
        /// Which field, value and rule.
        violation: Violation,
    },
}

impl Error {
    /// Without the policy's name: what two versions of a policy can be compared by.
    pub fn what(&self) -> String {
        match self {
            Self::Failed { call, fault, .. } => format!("it failed in {call}: {fault}"),
            Self::Answer { call, violation, .. } => {
                format!("its answer to {call} breaks a rule: {violation}")
            }
            other => other.to_string(),
        }
    }
}

/// How a policy failed.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum Fault {
    /// [`limits::FUEL`]
    #[error("it used up its {} units of fuel: it loops, or does too much work", grouped(limits::FUEL))]
    OutOfFuel,
    /// [`limits::MEMORY`]
    #[error("it wanted {wanted} bytes of memory, of at most {} MiB", limits::MEMORY >> 20)]
    Memory {
        /// How much in all.
        wanted: usize,
    },
    /// [`limits::TABLE_ELEMENTS`]
    #[error("it wanted tables of {wanted} elements, of at most {}", grouped(limits::TABLE_ELEMENTS as u64))]
    Tables {
        /// How many in all.
        wanted: usize,
    },
    /// [`limits::STACK`]
    #[error("it used up its {} KiB of stack: it calls itself without end, or too deeply", limits::STACK >> 10)]
    Stack,
    /// [`limits::HOST_CALLS`]
    #[error("it called the host more than {} times", grouped(limits::HOST_CALLS.into()))]
    HostCalls,
    /// [`limits::PASSED_BYTES`]
    #[error("it passed more than {} MiB to the host at once", limits::PASSED_BYTES >> 20)]
    PassedBytes,
    /// A question about leases that cannot be asked.
    #[error("it called the host with an argument that breaks a rule: {0}")]
    Argument(Violation),
    /// A function of WASI that nothing stands in for.
    #[error(
        "it called {0}: a policy has no files, no network and no other programs, and cannot end by itself"
    )]
    NoStandIn(String),
    /// A trap: a panic, an access out of bounds, a division by zero.
    #[error("{0}")]
    Trap(Trapped),
    /// Against the rules of the component model, such as a string that is not UTF-8.
    #[error("it does not keep to the component model: {0}")]
    Malformed(String),
    /// The process of its own in which it runs.
    #[error("its process: {0}")]
    Process(String),
    /// The node has no such process for it: that is no fault of the policy.
    #[error(
        "there is no process for it to run in: {0}; see what limits podwire's processes, files and memory, and \
         whether the node has /proc and seccomp"
    )]
    NoProcess(String),
    /// The leases could not be read, or too many of them. Found out where they are, and so never sent; at the end, for
    /// a variant that is skipped must not stand before one whose number is sent.
    #[error("{0}")]
    #[serde(skip)]
    Leases(leases::Error),
}

/// What is known of a trap.
#[derive(Debug, Serialize, Deserialize)]
pub struct Trapped {
    what: String,
    /// Function names of the policy, the innermost first.
    within: Vec<String>,
    last_note: Option<String>,
}

impl std::fmt::Display for Trapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "it stopped with {:?}", self.what)?;
        if !self.within.is_empty() {
            write!(f, ", in {}", self.within.join(", called by "))?;
        }
        match &self.last_note {
            Some(note) => write!(f, "; the last that it logged was {note:?}"),
            None => write!(f, "; it had logged nothing"),
        }
    }
}

/// How many function names an error tells: the innermost ones are usually those of the language's
/// machinery for panics.
const FUNCTIONS: usize = 6;

/// Bytes of a function's name in an error.
const FUNCTION_NAME: usize = 80;

/// Bytes of what wasmtime, or a policy, says in an error.
const REASON: usize = 500;

/// The text of wasmtime's error for [`limits::PASSED_BYTES`], whose type is private; a test provokes it.
const PASSED_TOO_MUCH: &str = "fuel allocated for hostcalls has been exhausted";

impl Fault {
    /// Reads wasmtime's error.
    pub(super) fn of(error: &wasmtime::Error, last_note: Option<&str>) -> Self {
        match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => Self::OutOfFuel,
            Some(Trap::StackOverflow) => Self::Stack,
            Some(trap) => Self::Trap(Trapped {
                what: trap.to_string().trim_start_matches("wasm trap: ").to_owned(),
                within: functions(error),
                last_note: last_note.map(|note| clean(note, REASON)),
            }),
            None if error.root_cause().to_string().contains(PASSED_TOO_MUCH) => Self::PassedBytes,
            None => Self::Malformed(reason(error)),
        }
    }
}

impl Fault {
    /// As podwire would have written it: it comes from a process that somebody else may have taken over.
    pub(super) fn cleaned(self) -> Self {
        let clean = |text: String| clean(&text, REASON);
        match self {
            Self::Trap(Trapped { what, within, last_note }) => Self::Trap(Trapped {
                what: clean(what),
                within: within.into_iter().take(FUNCTIONS).map(clean).collect(),
                last_note: last_note.map(clean),
            }),
            Self::Argument(Violation { field, value, rule }) => {
                Self::Argument(Violation { field: clean(field), value: clean(value), rule: clean(rule) })
            }
            Self::NoStandIn(what) => Self::NoStandIn(clean(what)),
            Self::Malformed(why) => Self::Malformed(clean(why)),
            Self::Process(why) => Self::Process(clean(why)),
            Self::NoProcess(why) => Self::NoProcess(clean(why)),
            others => others,
        }
    }
}

fn functions(error: &wasmtime::Error) -> Vec<String> {
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
    let names = frames.iter().filter_map(|frame| frame.func_name());
    names.take(FUNCTIONS).map(|name| clean(name, FUNCTION_NAME)).collect()
}

/// wasmtime's error and its causes on one line, without the backtrace, which takes many.
pub(super) fn reason(error: &wasmtime::Error) -> String {
    let texts = error.chain().map(ToString::to_string);
    let causes = texts.filter(|text| !text.starts_with("error while executing at wasm backtrace"));
    clean(&causes.collect::<Vec<_>>().join(": "), REASON)
}
