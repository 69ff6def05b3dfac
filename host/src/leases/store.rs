//! Opening the database, and beginning to read or write it.
#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use heed::types::Bytes;
use heed::{CommitOrAbort, EnvFlags, EnvOpenOptions, MdbError, WithoutTls};
use rustix::fs::{Mode, OFlags, open};

use super::folder::{self, DATA, Folder};
use super::turn::Lender;
use super::{Error, Snapshot, Transaction, Turn};
use crate::names::AttachmentId;

/// Only address space: the file is as large as what was written, some 100 MiB for 60,000 attachments.
const MAP_SIZE: usize = 1 << 30;

/// Where rows are.
pub(super) type Table = heed::Database<'static, Bytes, Bytes>;

/// The database of this boot, open. LMDB allows one opening for each process and file, so it is kept until
/// the process ends, and every opening after the first gives the same.
#[derive(Clone, Copy)]
pub struct Store {
    environment: &'static Environment,
}

/// What [`Store`]s share.
pub(super) struct Environment {
    pub(super) lmdb: heed::Env<WithoutTls>,
    pub(super) table: Table,
    folder: Folder,
    /// For messages.
    path: PathBuf,
    map_size: usize,
    data: Lender,
}

/// Device, inode and boot of what was opened.
type Key = ((u64, u64), String);

static OPENED: Mutex<Vec<(Key, Store)>> = Mutex::new(Vec::new());

impl Store {
    /// Opens the database of this boot, and makes it if there is none. `directory` is that of the leases
    /// alone, such as /run/podwire/leases.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let boot = folder::boot_id()?;
        Self::open_boot(directory, &boot, MAP_SIZE)
    }

    /// Opens the database of this boot if there is one, for commands that must not make anything.
    pub fn open_existing(directory: &Path) -> Result<Option<Self>, Error> {
        let boot = folder::boot_id()?;
        let Some(folder) = Folder::open(directory)? else { return Ok(None) };
        let _lock = folder.lock_to_write()?;
        match Self::opened(&folder, &boot)? {
            None if folder.has(&boot)? => Self::find(folder, &boot, MAP_SIZE).map(Some),
            found_or_none => Ok(found_or_none),
        }
    }

    pub(super) fn open_boot(directory: &Path, boot: &str, map_size: usize) -> Result<Self, Error> {
        let folder = Folder::make(directory)?;
        let _lock = folder.lock_to_write()?;
        match Self::opened(&folder, boot)? {
            Some(store) => Ok(store),
            None if folder.has(boot)? => Self::find(folder, boot, map_size),
            None => Self::create(folder, boot, map_size),
        }
    }

    /// What this process has open already.
    fn opened(folder: &Folder, boot: &str) -> Result<Option<Self>, Error> {
        let identity = folder.identity();
        let opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |((other, other_boot), _): &&(Key, Self)| *other == identity && other_boot == boot;
        Ok(opened.iter().find(same).map(|(_, store)| *store))
    }

    fn find(folder: Folder, boot: &str, map_size: usize) -> Result<Self, Error> {
        let at = folder.of(boot);
        Self::keep(boot, Environment::open(folder, &at, boot, map_size)?)
    }

    fn create(folder: Folder, boot: &str, map_size: usize) -> Result<Self, Error> {
        let at = folder.prepare(boot)?;
        let environment = Environment::open(folder, &at, boot, map_size)?;
        environment.folder.publish(boot)?;
        Self::keep(boot, environment)
    }

    fn keep(boot: &str, environment: Environment) -> Result<Self, Error> {
        let key = (environment.folder.identity(), boot.to_owned());
        let store = Self { environment: Box::leak(Box::new(environment)) };
        OPENED.lock().unwrap_or_else(PoisonError::into_inner).push((key, store));
        Ok(store)
    }

    /// The boot that its sequence numbers belong to.
    pub fn boot(&self) -> &'static str {
        let boot = self.environment.path.parent().and_then(Path::file_name);
        boot.and_then(OsStr::to_str).unwrap_or_default()
    }

    /// Waits until nobody else reads or writes, then begins to write. What is not committed is as if it
    /// had never been, also if the process is killed. One at a time in each thread.
    pub fn transaction(&self) -> Result<Transaction, Error> {
        self.transaction_at(now())
    }

    /// A transaction at another time than now.
    pub(super) fn transaction_at(&self, now: u64) -> Result<Transaction, Error> {
        let environment = self.environment;
        let lock = environment.folder.lock_to_write()?;
        environment.refuse_if_removed()?;
        let lmdb = environment.lmdb.write_txn().map_err(|error| environment.fail(error))?;
        Ok(Transaction::new(environment, lmdb, now, lock))
    }

    /// Waits until no other call about the attachment is under way: to be taken before any transaction.
    pub fn turn(&self, id: &AttachmentId) -> Result<Turn, Error> {
        let data = self.environment.path.join(DATA);
        let fail = |source| Error::Folder { what: "lock an attachment in", path: data.clone(), source };
        Turn::take(&self.environment.data, &data, id).map_err(fail)
    }

    /// Looks at one state. Nobody writes until it is dropped: gather what is needed, drop it, then print.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        self.snapshot_at(now())
    }

    /// A snapshot, judged at another time than now.
    pub(super) fn snapshot_at(&self, now: u64) -> Result<Snapshot, Error> {
        let environment = self.environment;
        let lock = environment.folder.lock_to_read()?;
        environment.refuse_if_removed()?;
        let lmdb = environment.lmdb.read_txn().map_err(|error| environment.fail(error))?;
        Ok(Snapshot::new(environment, lmdb, now, lock))
    }
}

impl Environment {
    /// Opens what lies `at` the boot's folder, or at one that becomes it. The folder is locked.
    fn open(folder: Folder, at: &Path, boot: &str, map_size: usize) -> Result<Self, Error> {
        let path = folder.of(boot);
        let fail = |error| Error::database(&path, map_size, error);
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(map_size);
        // SAFETY: NO_SYNC can leave a torn file after a power cut, but none is read after a boot. NO_LOCK
        // wants one writer alone, or readers: each transaction has the folder's lock until it is dropped.
        unsafe { options.flags(EnvFlags::NO_SYNC | EnvFlags::NO_LOCK) };
        // SAFETY: the file lies in a folder that only root can write to, which `Folder` makes sure of, and
        // only LMDB writes to it, under that lock.
        let lmdb = unsafe { options.open(at) }.map_err(fail)?;
        let data = open(at.join(DATA), OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let data = data.map(File::from).map_err(|errno| fail(io::Error::from(errno).into()))?;
        let table = table(&lmdb, &data).map_err(fail)?;
        Ok(Self { lmdb, table, folder, path, map_size, data: Lender::new(data) })
    }

    /// Nobody would see what is written to it.
    fn refuse_if_removed(&self) -> Result<(), Error> {
        let metadata = self.data.file.metadata().map_err(|error| self.fail(error.into()))?;
        if metadata.nlink() == 0 { Err(Error::Removed { path: self.path.clone() }) } else { Ok(()) }
    }

    /// What LMDB said, with what an operator needs to know.
    pub(super) fn fail(&self, error: heed::Error) -> Error {
        Error::database(&self.path, self.map_size, error)
    }

    /// A row is not what podwire wrote.
    pub(super) fn damaged(&self, what: impl std::fmt::Display) -> Error {
        Error::Damaged { path: self.path.clone(), problem: format!("{what} cannot be read") }
    }
}

fn table(lmdb: &heed::Env<WithoutTls>, data: &File) -> heed::Result<Table> {
    let writer = lmdb.write_txn()?;
    fill(lmdb, data)?;
    let made = lmdb.create_databases_and_commit(writer, |opener, writer| {
        opener.create_database::<Bytes, Bytes>(writer, None).map(CommitOrAbort::<_, ()>::Commit)
    })?;
    made.commit().ok_or(heed::Error::Mdb(MdbError::Problem))
}

/// Gives a file that was cut short its length again, so that a damaged database is a bad page, which LMDB
/// reports, and not a place outside of the file, which ends the process with SIGBUS. The last pages of a
/// sound one may be missing too, if they were freed before they were written: it is no error by itself.
fn fill(lmdb: &heed::Env<WithoutTls>, data: &File) -> heed::Result<()> {
    let pages = lmdb.info().last_page_number as u64 + 1;
    let length = pages * u64::from(lmdb.unnamed_database_stat().page_size);
    if data.metadata()?.len() < length {
        data.set_len(length)?;
    }
    Ok(())
}

/// Nanoseconds since the boot, sleep included. By libc, which asks without a system call also where it is static.
fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: libc writes one such structure, which outlives the call. The clock is there since Linux 2.6.39.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
impl Store {
    /// Closes it as the end of a process would. Nothing of this store may be in use.
    pub(super) fn close(self) {
        let opened = &mut OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        opened.retain(|(_, other)| !std::ptr::eq(other.environment, self.environment));
        // SAFETY: it was made by Box::leak, and the tests that call this drop what borrowed from it.
        drop(unsafe { Box::from_raw(std::ptr::from_ref(self.environment).cast_mut()) });
    }

    pub(super) fn path(&self) -> &'static Path {
        &self.environment.path
    }
}
