//! What one call costs, as strace, the kernel, GNU time and valgrind see it.

use std::fs;
use std::path::{Path, PathBuf};

use podwire_tests::{Call, Outcome, Plugin};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// The names of the system calls, in order.
pub(crate) fn system_calls(plugin: &Plugin, call: &Call) -> Vec<String> {
    let trace = in_memory("strace");
    succeed(&plugin.by(&["strace", "--quiet=all", "--output", &trace]).run(call));
    let lines = fs::read_to_string(&trace).unwrap_or_else(|e| panic!("{trace}: {e}"));
    let calls = lines.lines().filter_map(|line| line.split_once('(')).map(|(name, _)| name.to_owned());
    calls.collect()
}

/// Those that the kernel counted without a need to read from a disk: the plugin's file is in its cache.
pub(crate) fn page_faults(plugin: &Plugin, call: &Call) -> u64 {
    let running = plugin.start(call);
    let pid = Pid::from_raw(running.id().try_into().expect("process IDs are positive")).expect("not 0");
    // The kernel keeps a process's figures until somebody waits for it, and this leaves it there.
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).expect("a child is waited for");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("nobody has waited for the process");
    succeed(&running.finish());
    // Field 10 of proc_pid_stat(5). The second is a name in parentheses, which may hold blanks.
    let (_, fields) = stat.rsplit_once(')').expect("the name ends");
    let faults = fields.split_ascii_whitespace().nth(10 - 3);
    faults.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no page faults in {stat}"))
}

/// In KiB. By GNU time, which is small itself: the kernel counts what a process was before `execve` too.
pub(crate) fn peak_memory(plugin: &Plugin, call: &Call) -> u64 {
    let output = in_memory("time");
    succeed(&plugin.by(&["/usr/bin/time", "--format=%M", "--output", &output]).run(call));
    let text = fs::read_to_string(&output).unwrap_or_else(|e| panic!("{output}: {e}"));
    text.trim().parse().unwrap_or_else(|e| panic!("{text:?}: {e}"))
}

/// Valgrind's processor. It has fewer features than most: a policy's code is not the one that runs without
/// valgrind, so the first call of a node compiles it under valgrind, and all that follow run there too.
pub(crate) struct Valgrind;

impl Valgrind {
    /// The plugin and all that it starts, on that processor.
    pub(crate) fn runs(&self, plugin: &Plugin) -> Plugin {
        plugin.by(&["valgrind", "--quiet", "--tool=none", "--trace-children=yes"])
    }

    /// How many instructions the call takes outside of the kernel. What callgrind wrote stays in the build's
    /// folder under the name.
    pub(crate) fn instructions(&self, plugin: &Plugin, call: &Call, name: &str) -> u64 {
        // By number: a process that the plugin starts by `fork` writes a file too.
        let option = format!("--callgrind-out-file={}", in_memory("callgrind-%p"));
        let running = plugin.by(&["valgrind", "--quiet", "--tool=callgrind", &option]).start(call);
        let written = in_memory(&format!("callgrind-{}", running.id()));
        succeed(&running.finish());
        let kept = annotated(name);
        fs::copy(&written, &kept).unwrap_or_else(|e| panic!("{written}: {e}"));
        total(&kept)
    }
}

/// Where the instructions of a case are kept, by place in the program.
pub(crate) fn annotated(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.callgrind"))
}

fn total(path: &Path) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let total = text.lines().find_map(|line| line.strip_prefix("summary: "));
    let total = total.and_then(|total| total.trim().parse().ok());
    total.unwrap_or_else(|| panic!("{}: no summary of callgrind", path.display()))
}

#[track_caller]
fn succeed(outcome: &Outcome) {
    assert_eq!(outcome.exit, Some(0), "{outcome}");
}

/// In the node's own /run.
fn in_memory(name: &str) -> String {
    format!("/run/{name}")
}
