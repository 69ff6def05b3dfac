//! The way of one call through the rooms: ADD, DEL, CHECK, GC, STATUS and VERSION.
//!
//! The only room that knows all others, and the order in which they are asked. DEL, CHECK and GC never
//! depend on a policy: what was done is on record.

mod add;
mod check;
mod del;
mod error;
mod status;

use std::io::Write as _;
use std::process::ExitCode;

use crate::cni::{self, Request};
use crate::leases;
use crate::state::State;

/// Whether this process was started as a CNI plugin (CNI specification, section 2).
pub fn is_called_by_a_runtime() -> bool {
    std::env::var_os("CNI_COMMAND").is_some()
}

/// Answers one call: one JSON document on standard output, notes of policies on standard error.
pub fn main() -> ExitCode {
    let state = State::new(None);
    let (answer, code) = match cni::Input::from_process() {
        Ok(input) => answer(&state, &input),
        Err(error) => (error.to_json(), ExitCode::FAILURE),
    };
    let mut output = std::io::stdout().lock();
    let written = output.write_all(answer.as_bytes()).and_then(|()| output.flush());
    if written.is_ok() { code } else { ExitCode::FAILURE }
}
