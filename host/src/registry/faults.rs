//! How often a version failed since it was put into use, and what is done when that is too often.
//!
//! `HEX/faults` has a line for each time. Whoever puts the version into use takes the file away.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

use super::{Error, Installed, Registry};
use crate::journal::{Change, Time, What};
use crate::names::{AttachmentId, NetworkName};
use crate::state;

/// Bytes after which no more lines are written, unless the limit is that high: a version to which there is no
/// alternative goes on failing.
const ENOUGH: u64 = 64 << 10;

/// Bytes of a line: one write, which no other interrupts.
const LINE: usize = 1_024;

/// Who goes back to another version by itself.
const PODWIRE: &str = "podwire";

/// Where a version failed.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'a> {
    /// `name` of the network configuration.
    pub network: &'a NetworkName,
    /// Container and interface.
    pub attachment: &'a AttachmentId,
}

impl Registry {
    /// Counts that a version failed. At the limit it is taken out of use: then that is returned. A limit of 0 is
    /// none.
    pub fn failed(
        &self,
        version: &Installed,
        occasion: Occasion<'_>,
        what: &str,
        limit: u32,
    ) -> Result<Option<Change>, Error> {
        let enough = ENOUGH.max(u64::from(limit) * LINE as u64);
        append(&version.faults_file(), &line(occasion, what), enough)?;
        if limit == 0 || version.faults()? < limit {
            return Ok(None);
        }
        let (name, network) = (&version.name, occasion.network);
        let standing = self.standing(name)?;
        let scope = standing.scope_of(&version.digest, network);
        self.change(name, scope, PODWIRE, |standing| {
            // Whoever put it into use anew meanwhile did away with those that were counted.
            let faults = version.faults()?;
            if faults < limit {
                return Ok(None);
            }
            let what = standing.fall_back(name, scope, &version.digest, faults);
            if let Some(What::FellBack { to, .. }) = &what {
                self.version(name, *to).forgive()?;
            }
            Ok(what)
        })
    }
}

impl Installed {
    /// How often it failed since it was put into use.
    pub fn faults(&self) -> Result<u32, Error> {
        let lines = state::read_trusted(&self.faults_file())?.unwrap_or_default();
        let lines = lines.iter().filter(|byte| **byte == b'\n').count();
        Ok(u32::try_from(lines).unwrap_or(u32::MAX))
    }

    /// What it failed of lately, in the words of the record.
    pub fn last_fault(&self) -> Result<Option<String>, Error> {
        let lines = state::read_trusted(&self.faults_file())?.unwrap_or_default();
        let last = String::from_utf8_lossy(&lines).lines().last().map(str::to_owned);
        Ok(last)
    }

    /// Counts from zero again.
    pub(super) fn forgive(&self) -> Result<(), Error> {
        let path = self.faults_file();
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(state::Error::io(&path, "remove")(error).into())
            }
            _ => Ok(()),
        }
    }

    fn faults_file(&self) -> PathBuf {
        self.dir.join("faults")
    }
}

fn append(path: &Path, line: &str, enough: u64) -> Result<(), Error> {
    state::trusted(path.parent().unwrap_or(Path::new("/")))?;
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::RUSR | Mode::WUSR).map_err(io::Error::from);
    let written = file.and_then(|file| {
        let mut file = std::fs::File::from(file);
        if file.metadata()?.len() < enough { file.write_all(line.as_bytes()) } else { Ok(()) }
    });
    Ok(written.map_err(state::Error::io(path, "write"))?)
}

fn line(Occasion { network, attachment }: Occasion<'_>, what: &str) -> String {
    let mut line = format!("{} {attachment} {network} {what}", Time::now());
    line.truncate(line.floor_char_boundary(LINE - 1));
    let mut line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.push('\n');
    line
}
