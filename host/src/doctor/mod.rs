//! What on a node keeps pods from each other, though nothing of podwire's is wrong: switches of the kernel, firewalls,
//! blocks that overlap, folders, other programs.
//!
//! Facts are gathered once ([`Facts`]), and every check is a function of them alone: it says what was found, how bad
//! that is, and the command that mends it. Changes nothing, and does not know how podwire decides or wires.

mod checks;
mod facts;
mod finding;

pub use facts::{Facts, Places};
pub use finding::{Finding, Verdict};

/// Every check, in the order in which a packet meets what they look at.
pub fn examine(facts: &Facts) -> Vec<Finding> {
    checks::ALL.iter().flat_map(|check| check(facts)).collect()
}
