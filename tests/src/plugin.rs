//! One call of a CNI plugin, as libcni makes it: environment, standard input, and what came back.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};

use crate::network::Network;
use crate::node::{Node, Pod};

/// Where Debian's containernetworking-plugins puts the reference plugins.
pub const REFERENCE_PLUGINS: &str = "/usr/lib/cni";

/// The plugin under test.
#[derive(Debug, Clone)]
pub struct Plugin {
    path: PathBuf,
    /// None: where it lies on a node.
    root: Option<PathBuf>,
    before: Vec<String>,
}

impl Plugin {
    /// `PODWIRE_PLUGIN`, or `podwire-cni` of the build that the running test belongs to.
    pub fn under_test(node: &Node) -> Self {
        let path = std::env::var_os("PODWIRE_PLUGIN").map_or_else(beside_the_test, PathBuf::from);
        let hint = "build it with: cargo build -p podwire --bins (it must not lie in /run or /var/lib)";
        let path = path.canonicalize().unwrap_or_else(|e| panic!("{}: {e}: {hint}", path.display()));
        Self { path, root: Some(node.root().to_owned()), before: Vec::new() }
    }

    /// With podwire's state where it lies on a node: in /run and /var/lib, which are the test node's own.
    pub fn in_system_folders(self) -> Self {
        Self { root: None, ..self }
    }

    /// Called by way of another program, such as `strace`, that executes what its arguments end with.
    pub fn by(&self, program: &[&str]) -> Self {
        let before = program.iter().map(|&word| word.to_owned()).collect();
        Self { before, ..self.clone() }
    }

    /// Another plugin, called in the same way.
    pub fn standing_in(&self, path: &str) -> Self {
        Self { path: path.into(), ..self.clone() }
    }

    /// A folder of the node's in which the plugin lies under the name `podwire`, as a runtime looks for it.
    pub fn folder_with_its_name(&self) -> PathBuf {
        let folder = PathBuf::from("/run/cni-bin");
        std::fs::create_dir_all(&folder).expect("/run is the test's own");
        match std::os::unix::fs::symlink(&self.path, folder.join("podwire")) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => panic!("{error}"),
            _ => folder,
        }
    }

    /// The executable file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is the reference plugin `bridge`, called to show that the harness is right.
    pub fn is_reference(&self) -> bool {
        self.path.file_name().is_some_and(|name| name == "bridge")
    }

    /// Whether the plugin is the reference, which does not promise this; says so if it is.
    pub fn does_not_promise(&self, what: &str) -> bool {
        if self.is_reference() {
            writeln!(std::io::stderr(), "left out: the reference plugin does not promise {what}")
                .expect("standard error is open");
        }
        self.is_reference()
    }

    /// Whether it speaks this version of the specification.
    pub fn speaks(&self, version: &str) -> bool {
        let supported = self.version();
        supported["supportedVersions"].as_array().is_some_and(|all| all.iter().any(|one| one == version))
    }

    /// Calls VERSION.
    pub fn version(&self) -> Value {
        self.run(&self.verb("VERSION").stdin(json!({ "cniVersion": "1.0.0" }).to_string())).result()
    }

    /// ADD for the pod.
    pub fn add(&self, network: &Network, pod: &Pod) -> Outcome {
        self.run(&self.call("ADD", network, pod))
    }

    /// DEL for the pod.
    pub fn del(&self, network: &Network, pod: &Pod) -> Outcome {
        self.run(&self.call("DEL", network, pod))
    }

    /// CHECK for the pod; the network carries the result, see [`Network::after`].
    pub fn check(&self, network: &Network, pod: &Pod) -> Outcome {
        self.run(&self.call("CHECK", network, pod))
    }

    /// STATUS of the network.
    pub fn status(&self, network: &Network) -> Outcome {
        self.run(&self.verb("STATUS").stdin(network.configuration(self).to_string()))
    }

    /// GC of the network, in which these pods' attachments are the valid ones.
    pub fn gc(&self, network: &Network, valid: &[&Pod]) -> Outcome {
        let one = |pod: &&Pod| json!({ "containerID": pod.container_id, "ifname": pod.ifname });
        let valid = valid.iter().map(one).collect();
        let network = network.clone().with("cni.dev/valid-attachments", valid);
        self.run(&self.verb("GC").stdin(network.configuration(self).to_string()))
    }

    /// A call for the pod, to be changed before it is made.
    pub fn call(&self, command: &str, network: &Network, pod: &Pod) -> Call {
        self.verb(command)
            .env("CNI_CONTAINERID", &pod.container_id)
            .env("CNI_NETNS", &pod.namespace.path().display().to_string())
            .env("CNI_IFNAME", &pod.ifname)
            .env(
                "CNI_ARGS",
                &format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=test;K8S_POD_NAME={}", pod.container_id),
            )
            .stdin(network.configuration(self).to_string())
    }

    /// A call that is not about a pod.
    pub fn verb(&self, command: &str) -> Call {
        let call = Call::new(command);
        match &self.root {
            Some(root) => call.env("PODWIRE_ROOT", &root.display().to_string()),
            None => call,
        }
    }

    /// Makes a call and waits for its end.
    pub fn run(&self, call: &Call) -> Outcome {
        self.start(call).finish()
    }

    /// Starts a call, with all its input given.
    pub fn start(&self, call: &Call) -> Running {
        let mut words = self.before.iter().map(OsStr::new).chain([self.path.as_os_str()]);
        let program = words.next().expect("the plugin itself is the last word");
        let mut child = Command::new(program)
            .args(words)
            .env_clear()
            .envs(&call.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", program.display()));
        let mut stdin = child.stdin.take().expect("standard input is a pipe");
        // A plugin may end, or stop reading what is too long, before everything is written.
        stdin.write_all(&call.stdin).ok();
        Running { child }
    }
}

fn beside_the_test() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own file");
    let profile = test.ancestors().nth(2).expect("cargo puts tests into target/PROFILE/deps");
    profile.join("podwire-cni")
}

/// Environment and standard input of one call.
#[derive(Debug, Clone)]
pub struct Call {
    environment: BTreeMap<String, String>,
    stdin: Vec<u8>,
}

impl Call {
    /// With CNI_COMMAND, CNI_PATH and the test's PATH; nothing on standard input.
    pub fn new(command: &str) -> Self {
        Self { environment: BTreeMap::new(), stdin: Vec::new() }
            .env("CNI_COMMAND", command)
            .env("CNI_PATH", REFERENCE_PLUGINS)
            .env("PATH", &std::env::var("PATH").unwrap_or_default())
    }

    /// With this variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Without this variable.
    pub fn without(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// Without any variable, not even podwire's own.
    pub fn without_environment(mut self) -> Self {
        self.environment.clear();
        self
    }

    /// With this on standard input.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }
}

/// A call that may still be under way.
pub struct Running {
    child: Child,
}

impl Running {
    /// The process that was started: the plugin, or the program by way of which it is called.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_some()
    }

    /// Ends it as a killed runtime or the kernel out of memory would: SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Waits for its end, but not for ever: a call that lasts longer than this is killed, and the test fails.
    #[track_caller]
    pub fn finish_within(mut self, limit: Duration) -> Outcome {
        let pidfd =
            pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()).expect("a child has a pidfd");
        let limit = Timespec::try_from(limit).expect("a test waits for seconds");
        let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit)).expect("a pidfd is polled");
        if ended == 0 {
            self.child.kill().expect("a child can be killed");
            panic!("killed after {} s, in which it did not end: {}", limit.tv_sec, self.finish());
        }
        self.finish()
    }

    /// Waits for its end.
    pub fn finish(self) -> Outcome {
        let output = self.child.wait_with_output().expect("a child can be waited for");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Outcome { exit: output.status.code(), stdout: output.stdout, stderr }
    }
}

/// What one call came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The exit status; none after a signal.
    pub exit: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

/// The error object of the specification, section 5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CniError {
    /// `code`.
    pub code: u64,
    /// `msg` and `details`, in one text.
    pub message: String,
}

impl Outcome {
    /// Success with a result: panics unless the exit status is 0 and there is exactly one JSON object.
    #[track_caller]
    pub fn result(&self) -> Value {
        assert_eq!(self.exit, Some(0), "{self}");
        self.document().unwrap_or_else(|problem| panic!("{problem}: {self}"))
    }

    /// Success without a result, as of DEL, CHECK, GC and STATUS: panics unless the exit status is 0 and
    /// nothing was printed.
    #[track_caller]
    pub fn done(&self) {
        assert_eq!(self.exit, Some(0), "{self}");
        assert!(self.stdout.trim_ascii().is_empty(), "{self}");
    }

    /// Failure: panics unless there is exactly one error object and an exit status other than 0.
    #[track_caller]
    pub fn error(&self) -> CniError {
        self.try_error().unwrap_or_else(|problem| panic!("{problem}: {self}"))
    }

    /// The error object, or in what the outcome is not a proper failure.
    pub fn try_error(&self) -> Result<CniError, String> {
        match self.exit {
            None => return Err("ended by a signal".to_owned()),
            Some(0) => return Err("exit status 0, not a failure".to_owned()),
            Some(_) => {}
        }
        let document = self.document()?;
        let code = document["code"].as_u64().ok_or("the error has no code")?;
        let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
        if text("msg").is_empty() {
            return Err("the error has no msg".to_owned());
        }
        Ok(CniError { code, message: format!("{}; {}", text("msg"), text("details")) })
    }

    fn document(&self) -> Result<Value, String> {
        let documents = serde_json::Deserializer::from_slice(&self.stdout).into_iter::<Value>();
        let documents = documents.collect::<Result<Vec<_>, _>>().map_err(|e| format!("not JSON ({e})"))?;
        match <[Value; 1]>::try_from(documents) {
            Ok([document]) if document.is_object() => Ok(document),
            Ok([other]) => Err(format!("not an object but {other}")),
            Err(documents) => Err(format!("{} JSON documents, not one", documents.len())),
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stdout = String::from_utf8_lossy(&self.stdout);
        write!(
            f,
            "exit {:?}, standard output {:?}, standard error {:?}",
            self.exit,
            stdout.trim(),
            self.stderr.trim()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(exit: i32, stdout: &str) -> Outcome {
        Outcome { exit: Some(exit), stdout: stdout.into(), stderr: String::new() }
    }

    #[test]
    fn a_failure_is_one_error_object_and_an_exit_status() {
        let error = outcome(1, r#"{"code":4,"msg":"CNI_NETNS is missing"}"#).error();
        assert_eq!(error.code, 4);
        for (exit, stdout) in [
            (0, r#"{"code":4,"msg":"m"}"#),
            (1, ""),
            (1, r#"{"code":4,"msg":"m"}{"code":4,"msg":"m"}"#),
            (1, r#"{"code":4,"msg":""}"#),
            (1, r#"{"msg":"m"}"#),
            (1, "panicked at"),
            (1, "[4]"),
        ] {
            assert!(outcome(exit, stdout).try_error().is_err(), "{exit} {stdout}");
        }
    }
}
