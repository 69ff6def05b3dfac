//! What a program finds around it: here, nothing but a log.

use wasmtime::component::Resource;

use super::{Absent, Input, Linked, Output, constant};

/// Whose handles these are: that of an output stream says which of the two it is.
pub(super) const STDOUT: u32 = 1;
pub(super) const STDERR: u32 = 2;

pub(super) fn environment(linked: &mut Linked<'_>, name: &str) -> wasmtime::Result<bool> {
    match name {
        "get-environment" => constant(linked, name, |()| Vec::<(String, String)>::new()),
        "get-arguments" => constant(linked, name, |()| Vec::<String>::new()),
        "initial-cwd" => constant(linked, name, |()| None::<String>),
        _ => Ok(false),
    }
}

pub(super) fn standard(linked: &mut Linked<'_>, name: &str) -> wasmtime::Result<bool> {
    match name {
        "get-stdin" => constant(linked, name, |()| Resource::<Input>::new_own(0)),
        "get-stdout" => constant(linked, name, |()| Resource::<Output>::new_own(STDOUT)),
        "get-stderr" => constant(linked, name, |()| Resource::<Output>::new_own(STDERR)),
        _ => Ok(false),
    }
}

pub(super) fn terminal(linked: &mut Linked<'_>, name: &str) -> wasmtime::Result<bool> {
    match name {
        "get-terminal-stdin" | "get-terminal-stdout" | "get-terminal-stderr" => {
            constant(linked, name, |()| None::<Resource<Absent>>)
        }
        _ => Ok(false),
    }
}

pub(super) fn preopens(linked: &mut Linked<'_>, name: &str) -> wasmtime::Result<bool> {
    match name {
        "get-directories" => constant(linked, name, |()| Vec::<(Resource<Absent>, String)>::new()),
        _ => Ok(false),
    }
}
