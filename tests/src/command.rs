//! The command for people: called with arguments, judged by exit status and what it printed.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};
use serde_json::Value;

use crate::node::Node;

/// Nobody in particular: the user `nobody` of Debian, without any privilege.
const NOBODY: &str = "65534";

/// `podwire` of the build that the running test belongs to, or the file that `PODWIRE_COMMAND` names.
#[derive(Debug, Clone)]
pub struct Podwire {
    path: PathBuf,
    root: PathBuf,
    before: Vec<String>,
}

impl Podwire {
    /// With its state in the node's folder (`PODWIRE_ROOT`).
    pub fn on(node: &Node) -> Self {
        Self { path: program(), root: node.root().to_owned(), before: Vec::new() }
    }

    /// On no node: with its state in a folder.
    pub fn in_folder(root: &Path) -> Self {
        Self { path: program(), root: root.to_owned(), before: Vec::new() }
    }

    /// With its state elsewhere.
    pub fn with_root(self, root: &Path) -> Self {
        Self { root: root.to_owned(), ..self }
    }

    /// Where it keeps its state.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Called by a user without privilege.
    pub fn as_nobody(self) -> Self {
        let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
        self.by(["setpriv", &user, &group, "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"])
    }

    /// Called by way of another program, such as `setpriv`, that executes what its arguments end with. The
    /// one named last is called first.
    pub fn by<'a>(mut self, program: impl IntoIterator<Item = &'a str>) -> Self {
        self.before.splice(0..0, program.into_iter().map(str::to_owned));
        self
    }

    /// Called in a process namespace of the test's.
    pub fn inside(self, processes: &Processes) -> Self {
        let target = format!("--target={}", processes.first());
        self.by(["nsenter", "--pid", "--mount", &target])
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Printed {
        self.start(arguments).finish()
    }

    /// Starts it, with nothing to read.
    pub fn start(&self, arguments: &[&str]) -> Started {
        self.start_with(Stdio::null(), arguments)
    }

    /// Starts it, and it may wait for what it reads: until its end is waited for.
    pub fn start_waiting(&self, arguments: &[&str]) -> Started {
        self.start_with(Stdio::piped(), arguments)
    }

    fn start_with(&self, stdin: Stdio, arguments: &[&str]) -> Started {
        let podwire = self.path.to_str().expect("the workspace's path is text");
        let words: Vec<&str> = self
            .before
            .iter()
            .map(String::as_str)
            .chain([podwire])
            .chain(arguments.iter().copied())
            .collect();
        let stderr = File::from(memfd_create("stderr", MemfdFlags::CLOEXEC).expect("memory"));
        let child = Command::new(words[0])
            .args(&words[1..])
            .env("PODWIRE_ROOT", &self.root)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(stderr.try_clone().expect("a file can be shared"))
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", words[0]));
        Started { child, stderr }
    }

    /// Installs a component under that name and makes it decide, whatever it does: without what `activate` asks it
    /// before, which a build without optimisation takes a second for.
    #[track_caller]
    pub fn put_into_use(&self, name: &str, component: &Path) {
        let component = component.to_str().expect("a test writes text");
        self.run(&["policy", "install", component, "--name", name]).done();
        let path = self.root.join("lib/policies/names").join(name).with_extension("json");
        let mut standing: Value =
            serde_json::from_slice(&fs::read(&path).expect("it is installed")).expect("podwire writes JSON");
        let installed = standing["installed"].as_array().expect("a list");
        standing["everywhere"]["active"] = installed.last().expect("it is installed").clone();
        let mut file = File::create(path).expect("the state is the test's own");
        file.write_all(standing.to_string().as_bytes()).expect("the state is the test's own");
    }

    /// Writes a file of the node's configuration, `node.json` or `peers.json`.
    pub fn configure(&self, file: &str, content: &serde_json::Value) {
        self.write(file, &content.to_string());
    }

    /// The same with any text.
    pub fn write(&self, file: &str, text: &str) {
        let folder = self.root.join("etc");
        fs::create_dir_all(&folder).expect("/run is the test's own");
        let mut file = File::create(folder.join(file)).expect("/run is the test's own");
        file.write_all(text.as_bytes()).expect("/run is the test's own");
    }
}

/// Where the command is: beside the tests, or where PODWIRE_COMMAND says.
pub fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("PODWIRE_COMMAND") {
        return named.into();
    }
    let test = std::env::current_exe().expect("a test knows its own file");
    let profile = test.ancestors().nth(2).expect("cargo puts tests into target/PROFILE/deps");
    let path = profile.join("podwire");
    assert!(path.exists(), "{}: build it with: cargo build -p podwire --bins", path.display());
    path
}

/// A command under way.
pub struct Started {
    child: Child,
    /// No pipe: an agent says more than one holds before anybody reads it, and would wait.
    stderr: File,
}

impl Started {
    /// The process that was started: podwire, or the program by way of which it is called.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has printed a line that holds this text; panics if it ends before.
    #[track_caller]
    pub fn wait_for_line_with(&mut self, text: &str) {
        self.wait_for_line_with_all(&[text]);
    }

    /// The same for a line that holds all of these.
    #[track_caller]
    pub fn wait_for_line_with_all(&mut self, texts: &[&str]) {
        let stdout = self.child.stdout.as_mut().expect("standard output is a pipe");
        let (mut line, mut byte) = (Vec::new(), [0]);
        // Byte by byte: what comes behind the line is left to whoever reads the rest.
        while stdout.read(&mut byte).is_ok_and(|n| n == 1) {
            match byte[0] {
                b'\n' if texts.iter().all(|text| String::from_utf8_lossy(&line).contains(text)) => return,
                b'\n' => line.clear(),
                byte => line.push(byte),
            }
        }
        panic!("it ended before it printed {texts:?}");
    }

    /// What it has written to standard error so far.
    pub fn said(&self) -> String {
        whole(&self.stderr)
    }

    /// Waits for its end.
    pub fn finish(self) -> Printed {
        let Output { status, stdout, .. } = self.child.wait_with_output().expect("a child can be waited for");
        let stdout = String::from_utf8(stdout).expect("podwire prints text");
        Printed { exit: status.code(), stdout, stderr: whole(&self.stderr) }
    }
}

/// What a file holds; who writes goes on where he was.
fn whole(file: &File) -> String {
    let length = file.metadata().expect("it is open").len();
    let mut content = vec![0; usize::try_from(length).expect("it is in memory")];
    file.read_exact_at(&mut content, 0).expect("nobody makes it shorter");
    String::from_utf8(content).expect("podwire prints text")
}

/// What a command came to.
#[derive(Debug, Clone)]
pub struct Printed {
    /// The exit status; none after a signal.
    pub exit: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Printed {
    /// Success: standard output. Panics unless the exit status is 0 and nothing was complained of.
    #[track_caller]
    pub fn done(self) -> String {
        assert!(self.exit == Some(0) && self.stderr.is_empty(), "{self}");
        self.stdout
    }

    /// A no that is an answer, on standard output: exit status 1, and nothing on standard error.
    #[track_caller]
    pub fn no(self) -> String {
        assert!(self.exit == Some(1) && self.stderr.is_empty(), "{self}");
        self.stdout
    }

    /// Failure: standard error. Panics unless the exit status is 1 and standard error is one line of
    /// podwire's.
    #[track_caller]
    pub fn failed(self) -> String {
        let said = self.stderr.starts_with("podwire: ") && self.stderr.trim_end().lines().count() == 1;
        assert!(self.exit == Some(1) && said, "{self}");
        self.stderr
    }
}

impl std::fmt::Display for Printed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { exit, stdout, stderr } = self;
        write!(f, "exit {exit:?}\nstandard output:\n{stdout}\nstandard error:\n{stderr}")
    }
}

/// A process namespace of the test's own: what is started in it ends with the test, however that ends.
pub struct Processes {
    keeper: Child,
}

impl Processes {
    /// Its first process waits for the end of its input, which comes when the test ends or drops this.
    pub fn new() -> Self {
        let mut keeper = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", "echo up; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is there");
        use std::io::{BufRead, BufReader};
        let mut line = String::new();
        let stdout = keeper.stdout.as_mut().expect("standard output is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a pipe can be read");
        assert_eq!(line, "up\n", "no process namespace");
        Self { keeper }
    }

    /// Those that run in it beside its first, as the machine numbers them.
    pub fn others(&self) -> Vec<u32> {
        let first = self.first();
        let namespace = |pid: &u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = namespace(&first);
        let all = fs::read_dir("/proc").expect("/proc is mounted").flatten();
        let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        numbers.filter(|pid| *pid != first && namespace(pid) == own && !has_ended(*pid)).collect()
    }

    /// Where what is mounted, as its first process sees it.
    pub fn mounts(&self) -> String {
        fs::read_to_string(format!("/proc/{}/mounts", self.first())).expect("/proc is mounted")
    }

    fn first(&self) -> u32 {
        *children(self.keeper.id()).first().expect("unshare has one child")
    }
}

impl Default for Processes {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        self.keeper.wait().ok();
    }
}

/// Whether it has ended, and only its parent has not yet asked how: a namespace's first process, to which
/// orphans come, need not.
fn has_ended(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, fields)| fields.trim_start().starts_with('Z'))
}

/// The processes that a process started.
pub fn children(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    text.split_ascii_whitespace().map(|pid| pid.parse().expect("the kernel writes numbers")).collect()
}

/// Ends a process as a user's impatience or the kernel out of memory would: SIGKILL.
pub fn kill(process: u32) {
    let pid = rustix::process::Pid::from_raw(process.try_into().expect("process IDs are positive"));
    let pid = pid.expect("no process is number 0");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("a child can be killed");
}

/// Writes a file, in a folder of the test's own.
pub fn write_file(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = path.as_ref();
    let mut file = File::create(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    file.write_all(content.as_ref()).expect("there is room");
}

/// Writes a file that can be run, in a folder of the test's own.
pub fn write_program(path: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    write_file(path, text);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the file is the test's own");
}

/// Whether users without privilege get namespaces here; says so if they do not.
pub fn nobody_gets_namespaces(node: &Node) -> bool {
    let trial = Podwire { path: "/bin/true".into(), ..Podwire::on(node) };
    let got = trial.by(["unshare", "--user", "--map-root-user", "--net", "--mount"]).as_nobody().run(&[]);
    if got.exit != Some(0) {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        writeln!(
            std::io::stderr(),
            "{test}: skipped, because users without privilege get no namespaces here: {}",
            got.stderr.trim()
        )
        .expect("standard error is open");
    }
    got.exit == Some(0)
}
