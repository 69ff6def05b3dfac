//! What one call costs, as strace, the kernel, GNU time and valgrind see it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// How many instructions the call takes outside of the kernel. What callgrind wrote stays in the build's folder under
/// the name.
pub(crate) fn instructions(plugin: &Plugin, call: &Call, name: &str) -> u64 {
    let (written, kept) = (callgrind(plugin, call, &[]), annotated(name));
    fs::copy(&written, &kept).unwrap_or_else(|e| panic!("{written}: {e}"));
    total(&kept)
}

/// Where in the program the call executes such an instruction.
pub(crate) fn executed(plugin: &Plugin, call: &Call, instruction: &str) -> Vec<u64> {
    let written = callgrind(plugin, call, &["--dump-instr=yes", "--compress-pos=no"]);
    let counts = fs::read_to_string(&written).unwrap_or_else(|e| panic!("{written}: {e}"));
    let places = counts.lines().filter_map(|line| line.strip_prefix("0x")?.split(' ').next());
    let executed: BTreeSet<u64> = places.filter_map(address).collect();
    assert!(executed.len() > 1_000, "callgrind tells of {} instructions", executed.len());
    contained(plugin, instruction).into_iter().filter(|place| executed.contains(place)).collect()
}

/// Where the program has such an instruction.
fn contained(plugin: &Plugin, instruction: &str) -> Vec<u64> {
    let mut objdump = Command::new("objdump");
    let output = objdump.args(["--disassemble", "--no-show-raw-insn"]).arg(plugin.path()).output();
    let output = output.expect("objdump is there");
    assert!(output.status.success(), "objdump: {}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8_lossy(&output.stdout);
    let all = lines.lines().filter_map(|line| line.trim().split_once(":\t"));
    let such = all.filter(|(_, words)| words.split_whitespace().next() == Some(instruction));
    such.filter_map(|(place, _)| address(place)).collect()
}

fn address(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// Runs the call by callgrind, and says where that wrote its counts.
fn callgrind(plugin: &Plugin, call: &Call, options: &[&str]) -> String {
    // By number: a process that the plugin starts by `fork` writes a file too.
    let out = format!("--callgrind-out-file={}", in_memory("callgrind-%p"));
    let program = [&["valgrind", "--quiet", "--tool=callgrind", &out], options].concat();
    let running = plugin.by(&program).start(call);
    let written = in_memory(&format!("callgrind-{}", running.id()));
    succeed(&running.finish());
    written
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
