//! The folders that the database lies in, one for each boot, and the lock under which they are made,
//! opened, read and written. Knows nothing of what the files hold.

use std::cell::Cell;
use std::fs::{self, DirBuilder};
use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, open, openat};
use rustix::io::Errno;

use super::Error;
use crate::state;

/// LMDB's name for its file.
pub(super) const DATA: &str = "data.mdb";

/// Where the kernel says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// How a folder is opened.
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Of the rows, and of the pages that LMDB keeps them in.
pub(super) fn format() -> String {
    format!("1-{}", std::env::consts::ARCH)
}

/// This boot's id.
pub(super) fn boot_id() -> Result<String, Error> {
    let fail = |source| Error::BootId { path: BOOT_ID.into(), source };
    let id = state::kernel_value(Path::new(BOOT_ID)).map_err(fail)?;
    if is_boot_id(&id) { Ok(id) } else { Err(fail(io::ErrorKind::InvalidData.into())) }
}

/// A UUID in text: 8-4-4-4-12 hexadecimal digits.
fn is_boot_id(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, byte)| match i {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The folder of all boots. What is in it changes only under its lock.
pub(super) struct Folder {
    path: PathBuf,
    handle: OwnedFd,
    identity: (u64, u64),
}

impl Folder {
    /// Opens it, and makes it if it is missing.
    pub(super) fn make(path: &Path) -> Result<Self, Error> {
        if let Some(folder) = Self::open(path)? {
            return Ok(folder);
        }
        make(path)?;
        let removed = || fail("open", path)(io::ErrorKind::NotFound.into());
        Self::open(path)?.ok_or_else(removed)
    }

    /// Opens it; none if there is no such folder.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, Error> {
        match open(path, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(fail("open", path)(errno.into())),
            Ok(handle) => {
                // LMDB believes whatever its file says.
                state::trusted(path)?;
                let found = fstat(&handle).map_err(|errno| fail("inspect", path)(errno.into()))?;
                Ok(Some(Self { path: path.to_owned(), handle, identity: (found.st_dev, found.st_ino) }))
            }
        }
    }

    /// Waits until nobody else reads or writes.
    pub(super) fn lock_to_write(&self) -> Result<Lock, Error> {
        self.lock(FlockOperation::LockExclusive)
    }

    /// Waits until nobody writes.
    pub(super) fn lock_to_read(&self) -> Result<Lock, Error> {
        self.lock(FlockOperation::LockShared)
    }

    fn lock(&self, operation: FlockOperation) -> Result<Lock, Error> {
        let alone = Alone::enter()?;
        // The lock belongs to the open file: one that is opened anew excludes other threads too.
        let file = openat(&self.handle, ".", DIRECTORY, Mode::empty());
        let locked = file.and_then(|file| {
            rustix::io::retry_on_intr(|| flock(&file, operation))?;
            Ok(Lock { _file: file, _alone: alone })
        });
        locked.map_err(|errno| fail("lock", &self.path)(errno.into()))
    }

    /// The same for every path that leads here.
    pub(super) fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Where the environment of a boot belongs.
    pub(super) fn of(&self, boot: &str) -> PathBuf {
        self.path.join(boot).join(format())
    }

    /// Whether it is there. It is only shown once it is made: one without its file, or with an empty one, was
    /// damaged, and LMDB would begin anew with everything free.
    pub(super) fn has(&self, boot: &str) -> Result<bool, Error> {
        let path = self.of(boot);
        let damaged = |problem: &str| Err(Error::Damaged { path: path.clone(), problem: problem.to_owned() });
        match fs::metadata(path.join(DATA)) {
            Ok(data) if data.len() == 0 => return damaged("its file is empty"),
            Ok(_) => return Ok(true),
            Err(_) if path.is_dir() => return damaged("its file cannot be found"),
            Err(_) => (),
        }
        let boot = self.path.join(boot);
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
        fs::rename(&new, self.path.join(boot)).map_err(fail("rename", &new))
    }

    fn new_folder(&self, boot: &str) -> PathBuf {
        self.path.join(format!("{boot}.new"))
    }

    /// Not worth an error: what stays takes some space, and nobody reads it.
    fn remove_other_boots(&self, boot: &str) {
        for name in entries(&self.path).unwrap_or_default() {
            let of = name.strip_suffix(".new").unwrap_or(&name);
            if is_boot_id(of) && of != boot {
                let _ = fs::remove_dir_all(self.path.join(name));
            }
        }
    }
}

/// A flock(2) on the [`Folder`], until it is dropped.
///
/// It stands in for LMDB's own locks, which do not survive every kill. Its write lock is a robust futex:
/// if a waiter is killed that was woken, and another process has taken the lock just before, those that
/// still wait are never woken (`handle_futex_death` in the kernel's kernel/futex/core.c wakes only if
/// nobody has the lock). And a process that is killed while it sets up LMDB's lock file leaves the next, if
/// that waits already, with half of one. Here the kernel itself knows who waits for whom.
pub(super) struct Lock {
    _file: OwnedFd,
    _alone: Alone,
}

thread_local! {
    static LOCKED: Cell<bool> = const { Cell::new(false) };
}

/// That this thread has a lock. With a second one it could wait for itself, for ever; and what was locked
/// for one thread must not be sent to another.
struct Alone(PhantomData<*const ()>);

impl Alone {
    fn enter() -> Result<Self, Error> {
        if LOCKED.replace(true) { Err(Error::Nested) } else { Ok(Self(PhantomData)) }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        LOCKED.set(false);
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
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;

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
        let folder = Folder::make(state.path()).expect("there");
        assert!(!folder.has(OURS).expect("readable"));
        let new = folder.prepare(OURS).expect("prepared");
        fs::copy("/proc/self/stat", new.join(DATA)).expect("any content");
        assert!(!folder.has(OURS).expect("readable"));
        folder.publish(OURS).expect("published");
        assert!(folder.has(OURS).expect("readable"));
        let mut left = entries(state.path()).expect("readable");
        left.sort();
        assert_eq!(left, [OURS, "notes"]);
    }

    #[test]
    fn a_database_that_lost_its_file_is_not_taken_for_a_new_one() {
        let state = tempfile::tempdir().expect("a folder");
        let folder = Folder::make(state.path()).expect("there");
        folder.prepare(OURS).expect("prepared");
        folder.publish(OURS).expect("published");
        let problem = || folder.has(OURS).expect_err("damaged").to_string();
        assert!(problem().contains("its file cannot be found"), "{}", problem());
        fs::File::create(folder.of(OURS).join(DATA)).expect("made");
        assert!(problem().contains("its file is empty"), "{}", problem());
    }

    #[test]
    fn another_format_is_refused_by_name() {
        let state = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(state.path().join(OURS).join("0-vax-bsd")).expect("made");
        let folder = Folder::make(state.path()).expect("there");
        let error = folder.has(OURS).expect_err("foreign").to_string();
        assert!(error.contains("0-vax-bsd") && error.contains(&format()), "{error}");
    }

    #[test]
    fn folders_are_for_root_alone_and_made_only_when_asked() {
        let state = tempfile::tempdir().expect("a folder");
        let directory = state.path().join("run/leases");
        assert!(Folder::open(&directory).expect("no error").is_none());
        assert!(!directory.exists());
        let folder = Folder::make(&directory).expect("made");
        folder.prepare(OURS).expect("prepared");
        folder.publish(OURS).expect("published");
        for path in [&directory, &directory.join(OURS), &folder.of(OURS)] {
            let mode = fs::metadata(path).expect("there").mode();
            assert_eq!(mode & 0o777, 0o700, "{}", path.display());
        }
    }

    #[test]
    fn readers_share_what_a_writer_has_alone() {
        let state = tempfile::tempdir().expect("a folder");
        let folder = &Folder::make(state.path()).expect("there");
        let is_free = |operation| {
            let file = File::open(state.path()).expect("there");
            flock(&file, operation).is_ok()
        };
        let free =
            || [FlockOperation::NonBlockingLockShared, FlockOperation::NonBlockingLockExclusive].map(is_free);
        assert_eq!(free(), [true, true]);
        let read = folder.lock_to_read().expect("free");
        assert_eq!(free(), [true, false]);
        assert!(matches!(folder.lock_to_write(), Err(Error::Nested)));
        drop(read);
        let write = folder.lock_to_write().expect("free");
        assert_eq!(free(), [false, false]);
        drop(write);
        assert_eq!(free(), [true, true]);
    }
}
