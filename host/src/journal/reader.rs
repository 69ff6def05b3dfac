//! Reading everything that is kept.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::FlockOperation;

use super::writer::KEPT;
use super::{Entry, FORMAT, Journal, Line};
use crate::state::{self, Error};

/// How every line begins. No text inside of one can look like it: quotes are escaped there.
const BEGINNING: &[u8] = b"{\"format\":";

/// What the journal holds.
#[derive(Debug, Default)]
pub struct Reading {
    /// The earliest first, but for those that were appended at the same time.
    pub entries: Vec<Entry<'static>>,
    /// What was left out, and why: for the operator.
    pub notes: Vec<String>,
}

impl Journal {
    /// Reads all files. What is no entry is left out, with a note.
    pub fn read(&self) -> Result<Reading, Error> {
        let mut reading = Reading::default();
        for number in self.files()? {
            let (path, mut file) = number;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(Error::io(&path, "read"))?;
            reading.take(&path, &bytes);
        }
        Ok(reading)
    }

    /// Opened while nobody renames them, the earliest first.
    fn files(&self) -> Result<Vec<(std::path::PathBuf, File)>, Error> {
        let _lock = match self.lock(FlockOperation::LockShared) {
            Err(error) if error.is_absent() => return Ok(Vec::new()),
            lock => lock?,
        };
        let mut files = Vec::new();
        for path in (0..=KEPT).rev().map(|number| self.file(number)) {
            match state::open_file(&path) {
                Err(error) if error.is_absent() => {}
                file => files.push((path, file?)),
            }
        }
        Ok(files)
    }
}

impl Reading {
    pub(super) fn take(&mut self, path: &Path, bytes: &[u8]) {
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let place = || format!("{}, line {}", path.display(), number + 1);
            match entry(line) {
                _ if line.is_empty() => {}
                Ok(entry) => self.entries.push(entry),
                Err(why) => self.take_rest(line, &format!("{}: {why}", place())),
            }
        }
    }

    /// Half an entry, with another behind it: whoever appended it did not know.
    fn take_rest(&mut self, line: &[u8], note: &str) {
        let behind = (1..line.len()).rev().find(|at| line[*at..].starts_with(BEGINNING));
        let rescued = behind.and_then(|at| entry(&line[at..]).ok());
        self.notes.push(format!("{note}, and is left out"));
        self.entries.extend(rescued);
    }
}

fn entry(line: &[u8]) -> Result<Entry<'static>, String> {
    #[derive(serde::Deserialize)]
    struct Format {
        format: u32,
    }
    match serde_json::from_slice::<Line<Entry<'static>>>(line) {
        Ok(line) if line.format == FORMAT => Ok(line.entry),
        read => Err(match (serde_json::from_slice::<Format>(line), read) {
            (Ok(Format { format }), _) if format != FORMAT => {
                format!("has format {format}, of another version of podwire")
            }
            (_, Err(error)) => error_of(&error),
            (_, Ok(_)) => io::Error::from(io::ErrorKind::InvalidData).to_string(),
        }),
    }
}

fn error_of(error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "breaks off".to_owned();
    }
    format!("is no entry ({error})")
}
