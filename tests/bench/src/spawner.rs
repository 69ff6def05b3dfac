//! A process that does nothing but make calls and take their times.
//!
//! Apart from the rest for two reasons. A child's peak memory starts from that of the process that started it,
//! so this one has to stay small. And it runs, with all that it starts, before everything else on the machine:
//! other work then delays neither a call nor the clock. Knows programs and their input, not what they do.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::{Deserialize, Serialize};

use crate::sys;

/// The argument by which this program is told to be a spawner.
pub(crate) const ARGUMENT: &str = "spawn";

/// A program with its input, to be run in a network namespace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Call {
    /// The namespace's path.
    pub(crate) namespace: PathBuf,
    /// The program's path.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
    /// Its whole environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// On its standard input; less than a pipe holds.
    pub(crate) input: String,
}

/// Calls in the order in which they are made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Batch {
    /// The calls.
    pub(crate) calls: Vec<Call>,
    /// How many are under way at any time.
    pub(crate) at_once: usize,
}

/// One call, measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// From before its pipes were made until its end was known.
    pub(crate) wall: Duration,
    /// User and system time of the process and all that it waited for.
    pub(crate) cpu: Duration,
    /// The largest resident set of any of them, in KiB: at least the spawner's own.
    pub(crate) peak_kib: u64,
    /// Page faults of all of them.
    pub(crate) faults: u64,
    /// The exit status; none after a signal.
    pub(crate) exit: Option<i32>,
    /// Standard output.
    pub(crate) output: String,
}

/// A batch, measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Each call, in the batch's order.
    pub(crate) calls: Vec<Measured>,
    /// From the start of the first to the end of the last.
    pub(crate) wall: Duration,
}

impl Batch {
    /// Makes the calls in a spawner, which sees the calling thread's mounts.
    pub(crate) fn run(&self) -> Result<Report> {
        let mut spawner = Command::new("/proc/self/exe")
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the spawner")?;
        let mut input = spawner.stdin.take().context("its standard input is a pipe")?;
        serde_json::to_writer(&mut input, self).context("telling the spawner its calls")?;
        drop(input);
        let output = spawner.wait_with_output().context("waiting for the spawner")?;
        ensure!(output.status.success(), "the spawner failed: {}", output.status);
        serde_json::from_slice(&output.stdout).context("reading the spawner's report")
    }
}

/// Is a spawner: a [`Batch`] on standard input, its [`Report`] on standard output.
pub(crate) fn main() -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("asking to end with the parent")?;
    let batch: Batch = serde_json::from_reader(io::stdin().lock()).context("reading the calls")?;
    if batch.at_once == 1 {
        sys::become_real_time().context("becoming a real-time process")?;
    } else {
        // Real-time processes without number would keep the kernel's own threads from running.
        rustix::process::nice(-15).context("going before others")?;
    }
    let report = make(&batch)?;
    Ok(serde_json::to_writer(io::stdout().lock(), &report)?)
}

fn make(batch: &Batch) -> Result<Report> {
    let mut measured = vec![None; batch.calls.len()];
    let mut waiting = batch.calls.iter().enumerate();
    let mut running: Vec<(usize, Running)> = Vec::with_capacity(batch.at_once);
    let begin = Instant::now();
    loop {
        for (number, call) in waiting.by_ref().take(batch.at_once - running.len()) {
            let started = call.start().with_context(|| format!("starting {}", call.program.display()))?;
            running.push((number, started));
        }
        if running.is_empty() {
            let calls = measured.into_iter().collect::<Option<_>>().context("every call has ended")?;
            return Ok(Report { calls, wall: begin.elapsed() });
        }
        let ended = sys::wait_for_any().context("waiting for a call")?;
        let wall = Instant::now();
        if let Some(at) = running.iter().position(|(_, one)| one.child.id() == ended.pid) {
            let (number, one) = running.swap_remove(at);
            measured[number] = Some(one.end(wall, &ended)?);
        }
    }
}

/// A call that is under way.
struct Running {
    child: Child,
    output: io::PipeReader,
    begin: Instant,
}

impl Call {
    /// The input lies in the pipe before the program starts, as it does for one that a busy runtime starts.
    fn start(&self) -> io::Result<Running> {
        let namespace = File::open(&self.namespace)?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().envs(&self.environment);
        let begin = Instant::now();
        let (input, mut feed) = io::pipe()?;
        let (output, answer) = io::pipe()?;
        feed.write_all(self.input.as_bytes())?;
        drop(feed);
        let child = command.stdin(input).stdout(answer).spawn()?;
        Ok(Running { child, output, begin })
    }
}

impl Running {
    /// Reads what is there and no further: something that outlives the call may still have its output open.
    fn end(mut self, at: Instant, ended: &sys::Ended) -> io::Result<Measured> {
        rustix::io::ioctl_fionbio(&self.output, true)?;
        let mut output = Vec::new();
        match self.output.read_to_end(&mut output) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        let sys::Usage { cpu, peak_kib, faults } = ended.usage;
        let output = String::from_utf8_lossy(&output).into_owned();
        Ok(Measured { wall: at - self.begin, cpu, peak_kib, faults, exit: ended.exit, output })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(script: &str) -> Call {
        Call {
            namespace: "/proc/self/ns/net".into(),
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: BTreeMap::from([("WHO".to_owned(), "me".to_owned())]),
            input: "given".to_owned(),
        }
    }

    /// Moving into a namespace, even into the own one, needs root.
    fn is_root() -> bool {
        let is_root = rustix::process::geteuid().is_root();
        if !is_root {
            writeln!(io::stderr(), "a test: skipped, because moving into a namespace needs root")
                .expect("standard error is open");
        }
        is_root
    }

    /// One test and not two: each child that ends is waited for by whoever comes first.
    #[test]
    fn calls_are_told_apart_and_reported_in_their_order_with_what_they_cost() {
        if !is_root() {
            return;
        }
        let outlived = format!("tail --pid={} -f /dev/null & echo out", std::process::id());
        let scripts = ["cat; echo $WHO", "read x; exit 3", "kill -9 $$", &outlived];
        let calls = scripts.iter().map(|script| call(script)).collect();
        let report = make(&Batch { calls, at_once: 2 }).expect("the calls are made");
        let seen = report.calls.iter().map(|call| (call.exit, call.output.as_str()));
        let expected = [(Some(0), "givenme\n"), (Some(3), ""), (None, ""), (Some(0), "out\n")];
        assert_eq!(seen.collect::<Vec<_>>(), expected);

        let calls = vec![call("true"), call("for i in 1 2 3 4; do /bin/sh -c true; done")];
        let report = make(&Batch { calls, at_once: 1 }).expect("the calls are made");
        let [one, five] = &report.calls[..] else { panic!("two calls were made") };
        assert!(five.faults > 2 * one.faults, "{one:?} {five:?}");
        assert!(report.calls.iter().all(|call| call.wall <= report.wall && call.peak_kib > 0));
    }
}
