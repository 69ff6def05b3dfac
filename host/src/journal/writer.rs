//! Appending: one `write` for each entry, and a new file when one is long enough.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::{Errno, retry_on_intr, write};

use super::{Entry, FORMAT, Journal, Line};
use crate::state::Error;

/// Of an entry: what is longer loses its lists.
pub(super) const MOST_BYTES: usize = 1 << 20;

/// Of a file: thousands of decisions.
pub(super) const FILE_BYTES: u64 = 8 << 20;

/// Earlier files that are kept.
pub(super) const KEPT: usize = 4;

/// One attachment in so many looks whether its file is long enough: a system call that the others save. A file is
/// longer by some entries for it.
const LOOKS: u64 = 16;

/// Appends to a journal, whose file it keeps open: a call of the plugin has an entry or two, and ends.
///
/// One that others move aside meanwhile is appended to where it is.
#[derive(Debug)]
pub struct Appender {
    journal: Journal,
    file: Option<File>,
}

impl Appender {
    /// Touches nothing yet.
    pub fn new(journal: Journal) -> Self {
        Self { journal, file: None }
    }

    /// Whose entries it appends.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Appends an entry. Whatever other processes append at the same time stands before or after it.
    pub fn append(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.journal.open_to_append()?,
        };
        let path = || self.journal.file(0);
        append(&file, &line(entry)).map_err(|error| Error::io(&path(), "append to")(error))?;
        if !looks_at_length(entry) || !is_long(&file).map_err(|error| Error::io(&path(), "look at")(error))? {
            self.file = Some(file);
            return Ok(());
        }
        self.journal.begin_anew()
    }
}

impl Journal {
    /// Appends one entry.
    pub fn append(&self, entry: &Entry<'_>) -> Result<(), Error> {
        Appender::new(self.clone()).append(entry)
    }

    fn open_to_append(&self) -> Result<File, Error> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = self.file(0);
        let open = || open(&path, flags, Mode::RUSR | Mode::WUSR);
        let opened = match open() {
            Err(Errno::NOENT) => {
                self.make_directory().map_err(Error::io(&self.directory, "make the directory"))?;
                open()
            }
            opened => opened,
        };
        opened.map(File::from).map_err(|errno| Error::io(&path, "open")(errno.into()))
    }

    fn make_directory(&self) -> io::Result<()> {
        if let Some(above) = self.directory.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(above)?;
        }
        // What pods' annotations say is not everybody's.
        match DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    /// Moves the file aside, unless somebody else just did. Who still has it open appends to it where it is.
    fn begin_anew(&self) -> Result<(), Error> {
        let _lock = self.lock(FlockOperation::LockExclusive)?;
        let still_long = self.still_long().map_err(Error::io(&self.file(0), "look at"))?;
        if still_long { self.move_aside().map_err(Error::io(&self.file(0), "rename")) } else { Ok(()) }
    }

    fn still_long(&self) -> io::Result<bool> {
        match fs::symlink_metadata(self.file(0)) {
            Ok(found) => Ok(found.size() >= FILE_BYTES),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Up to the first number that is free, which somebody leaves who is killed here: nothing is lost by it.
    fn move_aside(&self) -> io::Result<()> {
        let free = (1..=KEPT).find(|number| !self.file(*number).exists());
        (0..free.unwrap_or(KEPT))
            .rev()
            .try_for_each(|number| fs::rename(self.file(number), self.file(number + 1)))
    }

    /// Files are renamed under the lock of their directory, and opened for reading.
    pub(super) fn lock(&self, operation: FlockOperation) -> Result<File, Error> {
        let directory = open_directory(&self.directory).map_err(Error::io(&self.directory, "open"))?;
        retry_on_intr(|| flock(&directory, operation))
            .map_err(|errno| Error::io(&self.directory, "lock")(errno.into()))?;
        Ok(directory)
    }
}

fn open_directory(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlags::DIRECTORY.bits() as i32).open(path)
}

/// The kernel appends all of it or, on a disk that is full, a part: that is no entry, and the next one begins
/// where a reader finds it.
fn append(file: &File, line: &[u8]) -> io::Result<()> {
    let written = retry_on_intr(|| write(file, line))?;
    if written == line.len() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
}

fn is_long(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.len() >= FILE_BYTES)
}

fn looks_at_length(entry: &Entry<'_>) -> bool {
    let number = match entry {
        Entry::Decision(decision) => decision.sequence,
        Entry::Release(release) => Some(release.sequence),
        Entry::Change(_) => None,
    };
    number.is_none_or(|number| number.0.is_multiple_of(LOOKS))
}

fn line(entry: &Entry<'_>) -> Vec<u8> {
    match entry {
        Entry::Decision(decision) => {
            let line = to_json(entry);
            if line.len() <= MOST_BYTES { line } else { to_json(&Entry::Decision(Box::new(decision.cut()))) }
        }
        _ => to_json(entry),
    }
}

/// As long as most entries, so that the text is not moved while it grows.
const USUAL_BYTES: usize = 4096;

fn to_json(entry: &Entry<'_>) -> Vec<u8> {
    let mut line = Vec::with_capacity(USUAL_BYTES);
    // Neither a map with keys that are no text nor a failing writer is in sight.
    let _ = serde_json::to_writer(&mut line, &Line { format: FORMAT, entry });
    line.push(b'\n');
    line
}
