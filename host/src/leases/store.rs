//! Opening the database, and beginning to read or write it.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::fs::File;
use std::marker::PhantomData;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use heed::types::Bytes;
use heed::{CommitOrAbort, EnvFlags, EnvOpenOptions, MdbError, WithoutTls};
use rustix::time::{ClockId, clock_gettime};

use super::folder::{self, Gate};
use super::{Error, Snapshot, Transaction};

/// Only address space: the file is as large as what was written, some 100 MiB for 60,000 attachments.
const MAP_SIZE: usize = 1 << 30;

/// The plugin takes none of these places, only the commands for people do.
const MAX_READERS: u32 = 126;

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
    /// For messages.
    path: PathBuf,
    map_size: usize,
    data: File,
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
        let Some(gate) = Gate::enter(directory)? else { return Ok(None) };
        Self::find(&gate, &boot, MAP_SIZE)
    }

    pub(super) fn open_boot(directory: &Path, boot: &str, map_size: usize) -> Result<Self, Error> {
        let gate = Gate::make(directory)?;
        match Self::find(&gate, boot, map_size)? {
            Some(store) => Ok(store),
            None => Self::create(&gate, boot, map_size),
        }
    }

    fn find(gate: &Gate, boot: &str, map_size: usize) -> Result<Option<Self>, Error> {
        let key = (gate.identity()?, boot.to_owned());
        let opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, store)) = opened.iter().find(|(other, _)| *other == key) {
            return Ok(Some(*store));
        }
        drop(opened);
        if !gate.has(boot)? {
            return Ok(None);
        }
        let path = gate.path(boot);
        let environment = Environment::open(&path, path.clone(), map_size)?;
        Ok(Some(Self::keep(key, environment)))
    }

    fn create(gate: &Gate, boot: &str, map_size: usize) -> Result<Self, Error> {
        let environment = Environment::open(&gate.prepare(boot)?, gate.path(boot), map_size)?;
        gate.publish(boot)?;
        Ok(Self::keep((gate.identity()?, boot.to_owned()), environment))
    }

    fn keep(key: Key, environment: Environment) -> Self {
        let store = Self { environment: Box::leak(Box::new(environment)) };
        OPENED.lock().unwrap_or_else(PoisonError::into_inner).push((key, store));
        store
    }

    /// Waits until no other process or thread writes, then begins to write. What is not committed is as
    /// if it had never been, also if the process is killed. One at a time in each thread.
    pub fn transaction(&self) -> Result<Transaction, Error> {
        self.transaction_at(now())
    }

    /// A transaction at another time than now.
    pub(super) fn transaction_at(&self, now: u64) -> Result<Transaction, Error> {
        let alone = Alone::enter()?;
        let environment = self.environment;
        let lmdb = environment.lmdb.write_txn().map_err(|error| environment.fail(error))?;
        if environment.data.metadata().is_ok_and(|metadata| metadata.nlink() == 0) {
            return Err(Error::Removed { path: environment.path.clone() });
        }
        Ok(Transaction::new(environment, lmdb, now, alone))
    }

    /// Looks at the state of this moment, without keeping anybody from writing.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        self.snapshot_at(now())
    }

    /// A snapshot, judged at another time than now.
    pub(super) fn snapshot_at(&self, now: u64) -> Result<Snapshot, Error> {
        let environment = self.environment;
        // A reader that was killed keeps its state alive, and the file from using old pages again.
        environment.lmdb.clear_stale_readers().map_err(|error| environment.fail(error))?;
        let lmdb = environment.lmdb.read_txn().map_err(|error| environment.fail(error))?;
        Ok(Snapshot::new(environment, lmdb, now))
    }
}

impl Environment {
    /// Opens what lies `at` a folder that is or becomes `path`.
    fn open(at: &Path, path: PathBuf, map_size: usize) -> Result<Self, Error> {
        let fail = |error| Error::database(&path, map_size, error);
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(map_size).max_readers(MAX_READERS);
        // SAFETY: without syncing, a power cut could leave a torn file; it is not read after a boot.
        unsafe { options.flags(EnvFlags::NO_SYNC) };
        // SAFETY: the files lie in a folder of mode 0700, nothing but LMDB writes to them, and the format
        // in the folder's name keeps programs with other locks out.
        let lmdb = unsafe { options.open(at) }.map_err(fail)?;
        let data = lmdb.try_clone_inner_file().map_err(fail)?;
        let table = table(&lmdb, &data).map_err(fail)?;
        Ok(Self { lmdb, table, path, map_size, data })
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

/// A write transaction, not one for reading: a process that is killed here leaves no reader behind.
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

/// Nanoseconds since the boot, sleep included.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

thread_local! {
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

/// That this thread writes. A pthread mutex would let it wait for itself; and it must be given back by the
/// thread that took it, so this cannot be sent to another.
pub(super) struct Alone(PhantomData<*const ()>);

impl Alone {
    fn enter() -> Result<Self, Error> {
        if WRITING.replace(true) { Err(Error::Nested) } else { Ok(Self(PhantomData)) }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        WRITING.set(false);
    }
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
