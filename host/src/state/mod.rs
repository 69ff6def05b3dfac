//! Where everything lies on disk, and how files there are written and trusted.
//!
//! Owns paths, atomic replacement and the question whether somebody other than root could have written
//! a file. Does not know what the files mean.
//!
//! | directory | with `--root DIR` | holds |
//! | --- | --- | --- |
//! | `/run/podwire` | `DIR/run` | leases: they describe namespaces, and die with the boot as those do |
//! | `/var/lib/podwire` | `DIR/lib` | installed policies, their compiled code, and the journal: they outlive a boot |
//! | `/etc/podwire` | `DIR/etc` | what the operator writes |

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{read, retry_on_intr};

mod trust;

pub use trust::{read_trusted, trusted};

/// The environment variable that moves everything below one directory, like `--root`.
pub const ROOT_VARIABLE: &str = "PODWIRE_ROOT";

/// Longer than what is read of the kernel: switches, and the boot's id.
const KERNEL_VALUE: usize = 4096;

/// The directories of one podwire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// `/run/podwire`
    pub run: PathBuf,
    /// `/var/lib/podwire`
    pub lib: PathBuf,
    /// `/etc/podwire`
    pub etc: PathBuf,
}

impl State {
    /// The directories below `root`; without it, below the environment's `PODWIRE_ROOT`; without that,
    /// the system's.
    pub fn new(root: Option<&Path>) -> Self {
        let from_environment =
            || std::env::var_os(ROOT_VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from);
        match root.map(Path::to_owned).or_else(from_environment) {
            Some(root) => {
                // The compiler is started in another directory.
                let root = std::path::absolute(&root).unwrap_or(root);
                Self { run: root.join("run"), lib: root.join("lib"), etc: root.join("etc") }
            }
            None => Self {
                run: "/run/podwire".into(),
                lib: "/var/lib/podwire".into(),
                etc: "/etc/podwire".into(),
            },
        }
    }

    /// The database of leases.
    pub fn leases_dir(&self) -> PathBuf {
        self.run.join("leases")
    }

    /// Held by the agent while it runs.
    pub fn agent_lock(&self) -> PathBuf {
        self.run.join("agent.lock")
    }

    /// What the agent says of itself.
    pub fn agent_record(&self) -> PathBuf {
        self.run.join("agent.json")
    }

    /// What the agent keeps true.
    pub fn agent_plan(&self) -> PathBuf {
        self.run.join("agent-plan.msgpack")
    }

    /// Installed policies, a directory for each digest.
    pub fn policies_dir(&self) -> PathBuf {
        self.lib.join("policies")
    }

    /// What was decided, and when.
    pub fn journal_dir(&self) -> PathBuf {
        self.lib.join("journal")
    }

    /// The other nodes, if the operator named them.
    pub fn peers(&self) -> PathBuf {
        self.etc.join("peers.json")
    }

    /// The agent's settings, if the operator wrote any.
    pub fn agent_config(&self) -> PathBuf {
        self.etc.join("agent.json")
    }

    /// The public keys of those who may sign policies, if the operator demands signatures.
    pub fn policy_keys(&self) -> PathBuf {
        self.etc.join("policy.keys")
    }

    /// The node's configuration, if the operator wrote one.
    pub fn node_config(&self) -> PathBuf {
        self.etc.join("node.json")
    }
}

/// Why a file is not used or not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("{path}: cannot {action}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// Somebody other than root owns it.
    #[error(
        "{path} belongs to user {owner}, so what it holds is not trusted: `chown root {path}` after making \
         sure of its contents"
    )]
    ForeignOwner {
        /// The element of the path.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Somebody other than its owner may write to it.
    #[error(
        "{path} can be written by others (mode {mode:03o}), so what it holds is not trusted: `chmod go-w \
         {path}` after making sure of its contents"
    )]
    Writable {
        /// The element of the path.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl Error {
    /// For `map_err`: what was tried on which path.
    pub fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), action, source }
    }

    /// Whether the file or directory simply is not there.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Puts `bytes` at `path`, readable by all: a reader sees the old file or the new one, and so does whoever
/// looks after a power cut.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let name = path.file_name().unwrap_or(OsStr::new("file"));
    let directory = path.parent().unwrap_or(Path::new("."));
    let temporary = directory.join(temporary_name(name));
    let written = write_new(&temporary, bytes)
        .and_then(|()| std::fs::rename(&temporary, path))
        .and_then(|()| File::open(directory)?.sync_all());
    if written.is_err() {
        // Best effort: the error that matters is the first one.
        let _ = std::fs::remove_file(&temporary);
    }
    written.map_err(Error::io(path, "write"))
}

/// Unique among the processes and threads that write at once; hidden from whoever lists the directory.
fn temporary_name(name: &OsStr) -> OsString {
    let mut temporary = OsString::from(".");
    temporary.push(name);
    let thread = rustix::thread::gettid().as_raw_nonzero();
    temporary.push(format!(".{thread}.tmp"));
    temporary
}

/// Left behind by a killed process that had our number: nobody else has it now.
fn remove_leftover(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    remove_leftover(path)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// What the kernel says in a file below /proc, which it hands over in one piece. Without the line's end.
pub fn kernel_value(path: &Path) -> io::Result<String> {
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut value = Vec::with_capacity(KERNEL_VALUE);
    retry_on_intr(|| read(&file, spare_capacity(&mut value)))?;
    value.truncate(value.trim_ascii_end().len());
    String::from_utf8(value).map_err(io::Error::other)
}

/// Opens a file for reading, unless it is a symbolic link.
pub fn open_file(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)
        .map_err(Error::io(path, "open"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_root_moves_everything() {
        let state = State::new(Some(Path::new("/tmp/node1")));
        assert_eq!(state.leases_dir(), Path::new("/tmp/node1/run/leases"));
        assert_eq!(state.policies_dir(), Path::new("/tmp/node1/lib/policies"));
        assert_eq!(state.node_config(), Path::new("/tmp/node1/etc/node.json"));
    }

    #[test]
    fn a_root_stays_the_same_wherever_a_process_goes() {
        let state = State::new(Some(Path::new("nodes/1")));
        let here = std::env::current_dir().unwrap();
        assert_eq!(state.policies_dir(), here.join("nodes/1/lib/policies"));
    }

    #[test]
    fn what_a_killed_process_left_is_in_nobodys_way() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::os::unix::fs::symlink("old", directory.path().join(temporary_name(OsStr::new("file")))).unwrap();
        write_atomically(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn writing_replaces_whole_files_and_leaves_nothing_beside_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write_atomically(&path, b"old").unwrap();
        write_atomically(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o022, 0);
        assert_eq!(directory.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        std::fs::create_dir(&path).unwrap();
        let error = write_atomically(&path, b"bytes").unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: cannot write: ", path.display())), "{error}");
        assert_eq!(directory.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn links_are_never_opened() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        write_atomically(&directory.path().join("two"), b"bytes").unwrap();
        std::os::unix::fs::symlink("two", &link).unwrap();
        assert!(open_file(&directory.path().join("two")).is_ok());
        assert!(matches!(read_trusted(&link), Err(Error::Io { action: "open", .. })));
        assert!(matches!(open_file(&link), Err(Error::Io { action: "open", .. })));
        assert!(open_file(&directory.path().join("three")).unwrap_err().is_absent());
    }
}
