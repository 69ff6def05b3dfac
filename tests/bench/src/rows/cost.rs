//! What one ADD takes that does not depend on the machine's speed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Scale, Trio, figures, of_adds};
use crate::lab::{Lab, each};
use crate::spawner::Batch;
use crate::statistics::{largest, median};
use crate::table::{Figures, Line, Mark};
use crate::variant::Variant;

const STRACE: &str = "/usr/bin/strace";
/// System calls hardly differ from call to call.
const TRACED: usize = 3;

pub(super) fn measure(lab: &mut Lab, trio: &Trio, scale: &Scale) -> Result<Vec<Line>> {
    let samples = lab.compare(&trio.all(), scale.calls)?;
    let peak = figures(&samples, |sample| largest(&each(&sample.add, |call| call.peak_kib as f64 / 1024.0)));
    let calls = Figures {
        podwire: system_calls(lab, &trio.podwire)?,
        floor: system_calls(lab, &trio.floor)?,
        incumbent: trio.incumbent.as_ref().map(|variant| system_calls(lab, variant)).transpose()?.flatten(),
    };
    Ok(vec![
        Line::new("one ADD, peak memory MiB (at least the spawner's own)", peak).mark(Mark::AtMost(6.0)),
        Line::new("one ADD, page faults", of_adds(&samples, |call| call.faults as f64))
            .mark(Mark::AtMost(150.0)),
        Line::new(format!("one ADD, system calls{}", without_strace()), calls).mark(Mark::AtMost(120.0)),
    ])
}

fn without_strace() -> &'static str {
    if Path::new(STRACE).exists() { "" } else { " (strace is not there: apt-get install strace)" }
}

/// Of an ADD and all that it starts, as strace counts them; none without strace.
fn system_calls(lab: &mut Lab, variant: &Variant) -> Result<Option<f64>> {
    if !Path::new(STRACE).exists() {
        return Ok(None);
    }
    let mut counted = Vec::new();
    for pod in lab.pods(TRACED) {
        let counts = format!("/run/strace-{}", pod.container_id);
        let mut traced = variant.add(&pod);
        let program = std::mem::replace(&mut traced.program, STRACE.into());
        traced.arguments = ["-f", "-c", "-o", &counts].map(str::to_owned).into();
        traced.arguments.push(program.display().to_string());
        let report = Batch { calls: vec![traced, variant.del(&pod, "null")], at_once: 1 }.run()?;
        report.calls.iter().filter(|call| call.exit != Some(0)).for_each(|call| {
            lab.fail(format!("{:?}, traced: {}", variant.kind, call.output.trim()));
        });
        let summary = fs::read_to_string(&counts).with_context(|| counts.clone())?;
        counted.extend(total(&summary));
    }
    Ok(median(&counted))
}

/// The number of calls in the last line of what `strace -c` writes.
fn total(summary: &str) -> Option<f64> {
    let last = summary.lines().rev().find(|line| line.ends_with(" total"))?;
    last.split_ascii_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_summary_is_that_of_its_calls() {
        let summary = "% time     seconds  usecs/call     calls    errors syscall\n\
                       ------ ----------- ----------- --------- --------- ----------------\n\
                       60.00    0.000030          15         2         1 open\n\
                       40.00    0.000020          10        25           read\n\
                       ------ ----------- ----------- --------- --------- ----------------\n\
                       100.00    0.000050           1        27         1 total\n";
        assert_eq!(total(summary), Some(27.0));
        assert_eq!(total("strace: no such file\n"), None);
    }
}
