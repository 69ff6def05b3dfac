//! The way of one call through the rooms: ADD, DEL, CHECK, GC, STATUS.
//!
//! The only room that knows all others, and the order in which they are asked. DEL, CHECK and GC never
//! depend on a policy: what was done is on record.

mod add;
mod check;
mod choice;
mod deciding;
mod del;
mod delegate;
mod error;
mod gc;
mod import;
mod journal;
#[cfg(feature = "compiler")]
pub mod networks;
#[cfg(feature = "compiler")]
mod proposal;
mod shadow;
mod source;
mod status;
#[cfg(test)]
mod tests;

#[cfg(feature = "compiler")]
pub use proposal::propose;

use std::io::Write as _;

use crate::cni::{self, Input, Request};
use crate::names::PolicyName;
use crate::policy::Note;
use crate::state::State;

/// Whether this process was started as a plugin (CNI specification, section 2).
pub fn is_called_by_a_runtime() -> bool {
    std::env::var_os("CNI_COMMAND").is_some()
}

/// Answers the call for which this process was started: one JSON document, or for success without a result
/// none, on standard output; what policies say to the operator on standard error. Returns whether it was a
/// success, and could be told.
pub fn main() -> bool {
    let input = Input::from_process();
    let (answer, success) = match answer(&State::new(None), &input) {
        Ok(answer) => (answer, true),
        Err(error) => (error.to_json(), false),
    };
    let mut output = std::io::stdout().lock();
    success & output.write_all(answer.as_bytes()).and_then(|()| output.flush()).is_ok()
}

/// Answers one call; the text for standard output.
pub fn answer(state: &State, input: &Input) -> Result<String, cni::Error> {
    let request = Request::read(input)?;
    let version = request.version();
    let answer = match request {
        Request::Add(request) => add::add(state, input, &request),
        Request::Del(request) => del::del(state, input, &request).map(no_result),
        Request::Check(request) => check::check(state, input, &request).map(no_result),
        Request::Gc(request) => gc::gc(state, input, &request).map(no_result),
        Request::Status(request) => status::status(state, input, &request).map(no_result),
        Request::Version => Ok(cni::version_result()),
    };
    answer.map_err(|error| error.in_version(version))
}

fn no_result(_: ()) -> String {
    String::new()
}

/// What a policy says to the operator.
fn say(policy: &PolicyName, notes: &[Note]) {
    notes.iter().for_each(|note| tell(format_args!("policy {policy}: {note}")));
}

/// A line for the operator goes to standard error, which runtimes keep in their logs.
fn tell(line: std::fmt::Arguments<'_>) {
    // In one piece, so that the lines of two calls do not mix. If standard error is closed, nobody is there to
    // be told.
    let _ = std::io::stderr().write_all(format!("podwire: {line}\n").as_bytes());
}
