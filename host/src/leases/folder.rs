//! The folders that the database lies in, one for each boot, and the lock under which they are made and
//! opened. Knows nothing of what the files hold.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::Error;

/// Where the kernel says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Of the rows and of the lock. LMDB's lock file holds pthread mutexes, which the C libraries lay out in
/// different ways though in the same size: LMDB itself would not notice.
pub(super) fn format() -> String {
    let library = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    format!("1-{}-{library}", std::env::consts::ARCH)
}

/// This boot's id.
pub(super) fn boot_id() -> Result<String, Error> {
    let fail = |source| Error::BootId { path: BOOT_ID.into(), source };
    let text = fs::read_to_string(BOOT_ID).map_err(fail)?;
    let id = text.trim_end();
    if is_boot_id(id) { Ok(id.to_owned()) } else { Err(fail(io::ErrorKind::InvalidData.into())) }
}

/// A UUID in text: 8-4-4-4-12 hexadecimal digits.
fn is_boot_id(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, byte)| match i {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The state's folder, locked while this lives.
///
/// LMDB sets up its lock file when no other process has it open. One that is killed while it does so
/// leaves the next, if that waits already, with half of a lock; so nobody may wait there. At exit the
/// kernel gives LMDB's own file lock back before this one, whichever was opened first: flock(2) locks end
/// with the open file, which is put away after all descriptors are closed.
pub(super) struct Gate<'a> {
    directory: &'a Path,
    file: File,
}

impl<'a> Gate<'a> {
    /// Waits for the lock of a folder that is made if it is missing.
    pub(super) fn make(directory: &'a Path) -> Result<Self, Error> {
        if let Some(gate) = Self::enter(directory)? {
            return Ok(gate);
        }
        make(directory)?;
        Self::lock(directory, File::open(directory).map_err(fail("open", directory))?)
    }

    /// Waits for the lock; none if there is no such folder.
    pub(super) fn enter(directory: &'a Path) -> Result<Option<Self>, Error> {
        match File::open(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fail("open", directory)(error)),
            Ok(file) => Self::lock(directory, file).map(Some),
        }
    }

    fn lock(directory: &'a Path, file: File) -> Result<Self, Error> {
        rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
            .map_err(|errno| fail("lock", directory)(errno.into()))?;
        Ok(Self { directory, file })
    }

    /// The same for every path that leads to the folder.
    pub(super) fn identity(&self) -> Result<(u64, u64), Error> {
        let metadata = self.file.metadata().map_err(fail("inspect", self.directory))?;
        Ok((metadata.dev(), metadata.ino()))
    }

    /// Where the environment of a boot belongs.
    pub(super) fn path(&self, boot: &str) -> PathBuf {
        self.directory.join(boot).join(format())
    }

    /// Whether it is there.
    pub(super) fn has(&self, boot: &str) -> Result<bool, Error> {
        let path = self.path(boot);
        if path.is_dir() {
            return Ok(true);
        }
        let boot = self.directory.join(boot);
        let Some(other) = entries(&boot)?.into_iter().next() else { return Ok(false) };
        Err(Error::Foreign { path: boot, found: other, expected: format() })
    }

    /// Makes an empty folder for an environment that is not ready to be seen.
    pub(super) fn prepare(&self, boot: &str) -> Result<PathBuf, Error> {
        self.remove_other_boots(boot);
        let new = self.new_folder(boot);
        if new.exists() {
            fs::remove_dir_all(&new).map_err(fail("remove", &new))?;
        }
        let path = new.join(format());
        make(&path)?;
        Ok(path)
    }

    /// Shows what was prepared.
    pub(super) fn publish(&self, boot: &str) -> Result<(), Error> {
        let new = self.new_folder(boot);
        fs::rename(&new, self.directory.join(boot)).map_err(fail("rename", &new))
    }

    fn new_folder(&self, boot: &str) -> PathBuf {
        self.directory.join(format!("{boot}.new"))
    }

    /// Not worth an error: what stays takes some space, and nobody reads it.
    fn remove_other_boots(&self, boot: &str) {
        for name in entries(self.directory).unwrap_or_default() {
            let of = name.strip_suffix(".new").unwrap_or(&name);
            if is_boot_id(of) && of != boot {
                let _ = fs::remove_dir_all(self.directory.join(name));
            }
        }
    }
}

/// The names in a folder; none if there is no such folder.
fn entries(directory: &Path) -> Result<Vec<String>, Error> {
    let read = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(fail("read", directory))?,
    };
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    read.map(|entry| entry.map(name).map_err(fail("read", directory))).collect()
}

fn make(path: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fail("create", path))
}

fn fail(what: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Folder { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "00000000-0000-4000-8000-000000000001";
    const OTHER: &str = "00000000-0000-4000-8000-00000000000f";

    #[test]
    fn this_boot_has_an_id() {
        let id = boot_id().expect("Linux has one");
        assert!(is_boot_id(&id));
        assert!(!is_boot_id("lost+found") && !is_boot_id(&id[1..]));
    }

    #[test]
    fn folders_of_other_boots_go_and_what_is_not_ours_stays() {
        let state = tempfile::tempdir().expect("a folder");
        for name in [OTHER, &format!("{OTHER}.new"), &format!("{OURS}.new"), "notes"] {
            fs::create_dir_all(state.path().join(name).join("x")).expect("made");
        }
        let gate = Gate::make(state.path()).expect("locked");
        assert!(!gate.has(OURS).expect("readable"));
        gate.prepare(OURS).expect("prepared");
        assert!(!gate.has(OURS).expect("readable"));
        gate.publish(OURS).expect("published");
        assert!(gate.has(OURS).expect("readable"));
        let mut left = entries(state.path()).expect("readable");
        left.sort();
        assert_eq!(left, [OURS, "notes"]);
    }

    #[test]
    fn another_format_is_refused_by_name() {
        let state = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(state.path().join(OURS).join("0-vax-bsd")).expect("made");
        let gate = Gate::make(state.path()).expect("locked");
        let error = gate.has(OURS).expect_err("foreign").to_string();
        assert!(error.contains("0-vax-bsd") && error.contains(&format()), "{error}");
    }

    #[test]
    fn folders_are_for_root_alone_and_made_only_when_asked() {
        let state = tempfile::tempdir().expect("a folder");
        let directory = state.path().join("run/leases");
        assert!(Gate::enter(&directory).expect("no error").is_none());
        assert!(!directory.exists());
        let gate = Gate::make(&directory).expect("made");
        gate.prepare(OURS).expect("prepared");
        gate.publish(OURS).expect("published");
        for path in [&directory, &directory.join(OURS), &gate.path(OURS)] {
            let mode = fs::metadata(path).expect("there").mode();
            assert_eq!(mode & 0o777, 0o700, "{}", path.display());
        }
    }
}
