//! How much a call may cost, whatever it is, and what to say if it costs more.

use std::collections::BTreeMap;

use crate::Case;

/// Each is a chance to wait, and some 0.2 µs without waiting; on a virtual machine more.
const SYSTEM_CALLS: usize = 120;

/// What a second family of addresses may add: its answers, and the switches that only it has.
const SECOND_FAMILY: usize = 8;

/// About 20 µs each on a virtual machine. A plugin written in Go takes about 1,000.
const PAGE_FAULTS: u64 = 150;

/// What a child takes: the kernel marks the pages of both, and each that is written to afterwards faults once more.
const CHILD: u64 = 10;

/// In KiB. A burst of pods is as many processes at once.
const PEAK_MEMORY: u64 = 6 * 1024;

/// Of the system calls, by name and in order.
pub(crate) fn system_calls(case: Case, calls: &[String]) -> Result<(), String> {
    let limit = SYSTEM_CALLS + if case == Case::AddDualStack { SECOND_FAMILY } else { 0 };
    if calls.len() <= limit {
        return Ok(());
    }
    let mut counts = BTreeMap::<&str, usize>::new();
    calls.iter().for_each(|call| *counts.entry(call).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().map(|(call, count)| format!("{count:>4} {call}")).collect();
    counts.sort_by(|a, b| b.cmp(a));
    Err(format!(
        "{} system calls, at most {limit} are allowed:\n{}\nin order: {}",
        calls.len(),
        counts.join("\n"),
        calls.join(" ")
    ))
}

pub(crate) fn page_faults(case: Case, faults: u64) -> Result<(), String> {
    at_most(PAGE_FAULTS + if case == Case::Del { CHILD } else { 0 }, faults, "page faults")
}

/// In KiB.
pub(crate) fn peak_memory(kib: u64) -> Result<(), String> {
    at_most(PEAK_MEMORY, kib, "KiB of memory")
}

/// Where an instruction was executed that should not be.
pub(crate) fn none(places: &[u64], instruction: &str) -> Result<(), String> {
    if places.is_empty() { Ok(()) } else { Err(format!("{instruction} at {places:#x?}")) }
}

fn at_most(limit: u64, found: u64, what: &str) -> Result<(), String> {
    if found <= limit { Ok(()) } else { Err(format!("{found} {what}, at most {limit} are allowed")) }
}
