//! Trying a policy: what it decides in cases that somebody wrote, what it does in every situation that podwire knows to
//! be hard, and what a decision costs. No root, no network, no files.
//!
//! Owns the questions and the judgement of the answers, by the same checks that an ADD goes through: each question is
//! put to two fresh instances, which must agree. Leases are a [`crate::leases::Ledger`]. Knows neither CNI nor netlink,
//! nor where policies are kept.
//!
//! | module | owns |
//! | --- | --- |
//! | `decision` | one question, asked twice, and what became of it |
//! | `battery`, `situations` | the questions that every policy is asked before it becomes active |
//! | `report` | what the battery found, for people and programs |
//! | `bench` | decisions per second, and what comes before them |
//! | `cases` | questions and expected answers, written in a file |

mod battery;
pub mod bench;
#[cfg(feature = "cli")]
pub mod cases;
mod decision;
mod report;
mod situations;
#[cfg(test)]
mod tests;

pub use battery::{Setting, battery};
pub use decision::{Decided, Decision, add};
pub use report::{Cost, Report, Row, Stopped};
