//! The protocol: Container Network Interface specification 1.1.0, and back to 0.1.0.
//!
//! Owns what a runtime says (environment and standard input become a checked [`Request`]) and what it is
//! told (results and errors, as JSON of the version that it speaks). Pure but for [`Input::from_process`]:
//! no policies, no netlink, no leases, and nothing that a bad input could have changed.

mod args;
mod command;
mod config;
#[cfg(feature = "cli")]
pub mod conflist;
mod error;
mod input;
mod ipam;
mod json;
mod legacy;
mod previous;
mod program;
mod request;
mod resolver;
mod result;
mod runtime;
mod traffic;
mod version;

pub use args::RequestedAddress;
pub use command::Command;
pub use config::{Configuration, Role};
pub use error::{Code, Error};
pub use input::{Environment, Input, MAX_STDIN};
pub use ipam::{Beside, Ipam, Ranges};
pub use legacy::sayable;
pub use previous::PrevResult;
pub use request::{Add, Check, Del, Gc, Request, Requested, Status};
pub use resolver::resolver;
pub use result::{AddResult, Facts, Interface, Ip, Route, version_result};
pub use version::Version;

#[cfg(test)]
mod tests;
