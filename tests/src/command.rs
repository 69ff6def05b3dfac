//! The command for people, `podwire`, working on the state of a test's node.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use crate::node::Node;
use crate::plugin::{Outcome, beside_the_test};

/// The command of the build that the running test belongs to.
#[derive(Debug, Clone)]
pub struct Podwire {
    path: PathBuf,
    root: PathBuf,
}

impl Podwire {
    /// For the state of this node.
    pub fn on(node: &Node) -> Self {
        Self { path: beside_the_test("podwire"), root: node.root().to_owned() }
    }

    /// Runs it with these arguments and waits for its end.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Outcome {
        let mut command = Command::new(&self.path);
        command.env_clear().env("PODWIRE_ROOT", &self.root).args(arguments);
        let output = command.output().unwrap_or_else(|e| {
            panic!("{}: {e}: build it with: cargo build -p podwire --bins", self.path.display())
        });
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Outcome { exit: output.status.code(), stdout: output.stdout, stderr }
    }
}
