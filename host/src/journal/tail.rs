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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Change, Time, What};
    use crate::names::Digest;
    use crate::state::State;

    fn change(number: u8) -> Entry<'static> {
        let (by, policy) = ("root".to_owned(), "bridge".parse().expect("a name"));
        let what = What::Installed { digest: Digest([number; 32]) };
        Entry::Change(Change { at: Time::now(), by, policy, network: None, what })
    }

    fn numbers(tail: &mut Tail) -> Vec<u8> {
        let number = |entry: &Entry<'_>| match entry {
            Entry::Change(Change { what: What::Installed { digest }, .. }) => digest.0[0],
            other => panic!("{other:?}"),
        };
        tail.read().expect("readable").iter().map(number).collect()
    }

    #[test]
    fn only_what_is_new_is_read_and_all_of_it() {
        let root = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(&State::new(Some(root.path())));
        let append = |number: u8| journal.append(&change(number)).expect("room");
        let mut early = journal.tail();
        assert_eq!(numbers(&mut early), [0; 0]);
        append(1);
        let mut late = journal.tail();
        append(2);
        assert_eq!((numbers(&mut early), numbers(&mut late)), (vec![1, 2], vec![2]));
        assert_eq!((numbers(&mut early), numbers(&mut late)), (vec![], vec![]));
    }

    #[test]
    fn files_that_are_moved_aside_are_read_to_their_end() {
        let root = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(&State::new(Some(root.path())));
        let append = |number: u8| journal.append(&change(number)).expect("room");
        append(1);
        let mut tail = journal.tail();
        append(2);
        std::fs::rename(journal.file(0), journal.file(2)).expect("ours");
        append(3);
        std::fs::rename(journal.file(0), journal.file(1)).expect("ours");
        append(4);
        assert_eq!(numbers(&mut tail), [2, 3, 4]);
        append(5);
        assert_eq!(numbers(&mut tail), [5]);
    }

    #[test]
    fn half_a_line_waits_for_its_other_half() {
        use std::io::Write as _;
        let root = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(&State::new(Some(root.path())));
        journal.append(&change(1)).expect("room");
        let mut tail = journal.tail();
        journal.append(&change(2)).expect("room");
        let text = std::fs::read(journal.file(0)).expect("it is there");
        let line = text.split_inclusive(|byte| *byte == b'\n').next_back().expect("a line").to_vec();
        let mut file = std::fs::OpenOptions::new().append(true).open(journal.file(0)).expect("ours");
        file.write_all(&line[..40]).expect("room");
        assert_eq!(numbers(&mut tail), [2]);
        file.write_all(&line[40..]).expect("room");
        assert_eq!(numbers(&mut tail), [2]);
    }
}
