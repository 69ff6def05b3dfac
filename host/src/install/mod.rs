//! Putting podwire onto a node, and taking it away: the plugin, its compiler, the network configuration, the
//! directories.
//!
//! Owns what lies where on a node and who put it there. Does not know what a network configuration or a setting means
//! beyond the words that it looks for, and leaves the kernel alone: `podwire node` and the agent see to that.
//!
//! What is put somewhere is on record before it is there (`receipt.rs`), so that a kill at any moment leaves a node on
//! which either command can be called again, and nothing is ever taken for podwire's that somebody else wrote.

mod conflist;
mod error;
mod file;
mod places;
mod plugin;
mod put;
mod receipt;
mod remove;

pub use error::Error;
pub use places::{Named, Places};
pub use put::{Plan, Wish};
pub use remove::Removal;

/// What a command would do, or did: a line each, in order.
pub trait Steps {
    /// What is worth knowing before anything is done, beside the steps.
    fn notes(&self) -> &[String];
    /// What is still to do.
    fn lines(&self) -> Vec<String>;
    /// Does it, and tells of each step once it is done.
    fn carry_out(&self, done: &mut dyn FnMut(&str)) -> Result<(), Error>;
}
