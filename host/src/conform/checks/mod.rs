//! What is required: the table of checks.
//!
//! Each file has the checks of one matter, first the table, then how they are done. A number is that of the
//! requirement in docs/conformance.md: `S` and the section of the specification, or `C` for a convention.
//! A check says what it needs (versions, a verb, addresses) and does not apply where that is missing.

mod add;
mod check;
mod del;
mod delegate;
mod errors;
mod gc;
mod lifecycle;
mod result;
mod status;
mod version;

use std::time::Instant;

use super::{Bench, Check, Level, Stop, Verdict};

/// All checks, in the order in which they run.
pub(super) const ALL: [&[Check]; 10] = [
    version::CHECKS,
    errors::CHECKS,
    result::CHECKS,
    add::CHECKS,
    check::CHECKS,
    del::CHECKS,
    gc::CHECKS,
    status::CHECKS,
    lifecycle::CHECKS,
    delegate::CHECKS,
];

/// What runs a check.
type Run = fn(Bench<'_>) -> Verdict;

const fn must(id: &'static str, heading: &'static str, title: &'static str, run: Run) -> Check {
    Check { id, heading, level: Level::Must, title, run }
}

const fn should(id: &'static str, heading: &'static str, title: &'static str, run: Run) -> Check {
    Check { id, heading, level: Level::Should, title, run }
}

const fn convention(id: &'static str, heading: &'static str, title: &'static str, run: Run) -> Check {
    Check { id, heading, level: Level::Convention, title, run }
}

/// Waits for what the kernel does in its own time; says whether it came true.
fn eventually(mut holds: impl FnMut() -> Result<bool, Stop>) -> Result<bool, Stop> {
    let begun = Instant::now();
    while !holds()? {
        if begun.elapsed() > super::KERNEL_PATIENCE {
            return Ok(false);
        }
        std::thread::yield_now();
    }
    Ok(true)
}
