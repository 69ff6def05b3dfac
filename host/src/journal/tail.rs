//! Reading what is appended, as it comes.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::writer::KEPT;
use super::{Entry, Journal, Reading};
use crate::state::{self, Error};

/// Of a file, in one go: the rest comes the next time.
const MOST_BYTES: u64 = 64 << 20;

/// A reader that goes on where it was. It takes no lock: no ADD waits for it.
#[derive(Debug)]
pub struct Tail {
    journal: Journal,
    /// The file that is written to, read up to the end of its last whole line.
    file: Option<File>,
}

impl Journal {
    /// What is appended from now on.
    pub fn tail(&self) -> Tail {
        let file = state::open_file(&self.file(0)).ok();
        let end = file.and_then(|mut file| file.seek(SeekFrom::End(0)).ok().map(|_| file));
        Tail { journal: self.clone(), file: end }
    }
}

impl Tail {
    /// What was appended since the last time. A file that was moved aside is read to its end, then those after it.
    pub fn read(&mut self) -> Result<Vec<Entry<'static>>, Error> {
        let mut reading = Reading::default();
        if let Some(file) = &mut self.file {
            rest(file, &self.journal.file(0), &mut reading)?;
        }
        for number in self.newer()? {
            let path = self.journal.file(number);
            match state::open_file(&path) {
                Ok(mut file) => {
                    rest(&mut file, &path, &mut reading)?;
                    self.file = Some(file);
                }
                Err(error) if error.is_absent() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(reading.entries)
    }

    /// The numbers of the files that came after the one that is read, the earliest first.
    fn newer(&self) -> Result<std::iter::Rev<std::ops::Range<usize>>, Error> {
        let inode = |file: &File| file.metadata().map(|found| found.ino()).ok();
        let Some(own) = self.file.as_ref().and_then(inode) else { return Ok((0..1).rev()) };
        let is_own = |number: &usize| {
            std::fs::symlink_metadata(self.journal.file(*number)).is_ok_and(|found| found.ino() == own)
        };
        // Not found at all: so much was written that even it is gone.
        Ok((0..(0..=KEPT).find(is_own).unwrap_or(KEPT + 1)).rev())
    }
}

/// Whole lines: the end of one that is being written comes the next time.
fn rest(file: &mut File, path: &Path, reading: &mut Reading) -> Result<(), Error> {
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(Error::io(path, "read"))?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let part = (bytes.len() - whole) as i64;
    file.seek(SeekFrom::Current(-part)).map_err(Error::io(path, "read"))?;
    reading.take(path, &bytes[..whole]);
    Ok(())
}
