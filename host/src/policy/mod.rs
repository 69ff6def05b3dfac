//! The sandbox: wasmtime, the contract's bindings, and the limits of a policy.
//!
//! Owns everything about WebAssembly: how components are compiled, which code may be loaded, what a policy
//! can reach (the leases that it is shown, a log, and stand-ins for WASI) and what a call of it may cost. A
//! policy's answer leaves this room as plain data in the vocabulary of [`crate::plan`], or as an [`Error`] in
//! an operator's words. Knows neither CNI nor netlink, nor where policies are kept.
//!
//! ```text
//! Engine ──load──▶ Policy ──instantiate──▶ Instance ──add──▶ AddPlan, or a Refusal
//! ```

mod answer;
mod apart;
mod bindings;
mod engine;
mod fault;
mod here;
mod host;
#[cfg(feature = "compiler")]
mod inspect;
mod instance;
pub mod limits;
mod question;
mod quota;
mod request;
mod settings;
mod standin;
#[cfg(test)]
#[cfg(feature = "compiler")]
pub(crate) mod testing;
#[cfg(test)]
#[cfg(feature = "compiler")]
mod tests;
mod text;

pub use engine::Engine;
#[cfg(feature = "compiler")]
pub use engine::MachineCode;
pub use fault::{Error, Fault, Label, Trapped};
pub use host::{Level, Note};
#[cfg(feature = "compiler")]
pub use inspect::{Import, Inspection, Unfit, inspect};
pub use instance::{Instance, Policy, Spent, Verdict};
pub use settings::abi_key;
#[cfg(feature = "compiler")]
pub(crate) use text::grouped;
