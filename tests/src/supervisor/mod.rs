//! Processes that a test starts and that start others on their own, such as a runtime's: in a process namespace that
//! ends with the test, however that ends, and with them their control groups, the one thing that no namespace keeps
//! apart. Knows no runtime.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use std::os::unix::process::CommandExt;

use crate::command::children;

const SUPERVISOR: &str = include_str!("supervise.sh");

/// Each has a control group of its own.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// A process namespace with its first process; dropped, all processes in it and their control groups are gone.
pub(crate) struct Supervisor {
    child: Child,
    cgroup: String,
    log: PathBuf,
}

impl Supervisor {
    /// Starts the namespace's first process, whose output goes to the file `log`.
    pub(crate) fn start(log: &Path, words: &[&OsStr], environment: &[(&str, &OsStr)]) -> Self {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let cgroup = format!("podwire-test-{}-{number}", std::process::id());
        let output = File::create(log).expect("/run is the test's own");
        let child = Command::new("sh")
            .args(["-c", SUPERVISOR, "supervise", &cgroup])
            .args(words)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(output.try_clone().expect("a file can be shared"))
            .stderr(output)
            .process_group(0)
            .spawn()
            .expect("sh is there");
        Self { child, cgroup, log: log.to_owned() }
    }

    /// The control group that the containers of this namespace have to lie in.
    pub(crate) fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// The namespace's first process, as the machine numbers it.
    pub(crate) fn first(&self) -> u32 {
        // The supervisor's first child is unshare, and unshare's the first process.
        let child = |process| *children(process).first().expect("the first process runs");
        child(child(self.child.id()))
    }

    /// A path of the namespace's mounts, as seen from the test.
    pub(crate) fn path(&self, inside: &Path) -> PathBuf {
        let inside = inside.strip_prefix("/").expect("runtimes give absolute paths");
        Path::new("/proc").join(self.first().to_string()).join("root").join(inside)
    }

    /// What its processes wrote.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Panics with the log if the first process has ended.
    #[track_caller]
    pub(crate) fn assert_running(&mut self) {
        let ended = self.child.try_wait().expect("a child can be waited for");
        assert!(ended.is_none(), "the first process ended:\n{}", self.log());
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().ok();
    }
}
