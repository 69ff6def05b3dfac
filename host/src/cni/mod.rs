//! The protocol: Container Network Interface specification 1.1.0, and back to 0.3.0.
//!
//! Owns what a runtime says (environment and standard input become a checked [`Request`]) and what it is
//! told (results and errors, as JSON of the version that it speaks). Pure but for [`Input::from_process`]:
//! no policies, no netlink, no leases, and nothing that a bad input could have changed.

mod args;
mod command;
mod config;
mod error;
mod input;
mod json;
mod previous;
mod request;
mod result;
mod runtime;
mod version;

pub use args::RequestedAddress;
pub use command::Command;
pub use config::Configuration;
pub use error::{Code, Error};
pub use input::{Environment, Input, MAX_STDIN};
pub use previous::PrevResult;
pub use request::{Add, Check, Del, Gc, Request, Requested, Status};
pub use result::{AddResult, Facts, Interface, Ip, Route, version_result};
pub use version::Version;

#[cfg(test)]
mod tests;
