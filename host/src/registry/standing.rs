//! `names/NAME.json`: read by every ADD, replaced in one step, under one lock.

use std::path::PathBuf;

use super::compiled::{lock, make_directory};
use super::rollout::{Scope, Standing};
use super::{Error, Registry};
use crate::journal::{Change, Entry, Time, What};
use crate::names::PolicyName;
use crate::state;

/// The ending of the files' names.
const ENDING: &str = ".json";

impl Registry {
    /// What the name stands for; nothing was ever installed under one that has no file.
    pub fn standing(&self, name: &PolicyName) -> Result<Standing, Error> {
        Ok(self.read(name)?.unwrap_or_default())
    }

    pub(super) fn read(&self, name: &PolicyName) -> Result<Option<Standing>, Error> {
        let path = self.file(name);
        let Some(text) = state::read_trusted(&path)? else { return Ok(None) };
        serde_json::from_slice(&text).map(Some).map_err(|source| Error::Pointer { path, source })
    }

    /// Names under which something is installed, in order.
    pub fn names(&self) -> Result<Vec<PolicyName>, Error> {
        let directory = self.policies.join(super::NAMES);
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(state::Error::io(&directory, "read")(error).into()),
        };
        let mut names = Vec::new();
        for entry in entries {
            let file = entry.map_err(state::Error::io(&directory, "read"))?.file_name();
            // What is no name was left by somebody who was killed while he wrote.
            let name = file.to_str().and_then(|file| file.strip_suffix(ENDING));
            names.extend(name.and_then(|name| name.parse::<PolicyName>().ok()));
        }
        names.sort();
        Ok(names)
    }

    /// Changes what the name stands for, if the change says that it did anything. A reader sees the old file or the
    /// new one, whenever this is killed.
    pub(super) fn change(
        &self,
        name: &PolicyName,
        scope: Scope<'_>,
        by: &str,
        alter: impl FnOnce(&mut Standing) -> Result<Option<What>, Error>,
    ) -> Result<Option<Change>, Error> {
        make_directory(&self.policies.join(super::NAMES))?;
        let _lock = lock(&self.policies)?;
        let mut standing = self.standing(name)?;
        let Some(what) = alter(&mut standing)? else { return Ok(None) };
        standing.end_trials(name);
        let path = self.file(name);
        let text = serde_json::to_vec_pretty(&standing)
            .map_err(|source| Error::Pointer { path: path.clone(), source })?;
        state::write_atomically(&path, &text)?;
        let (policy, network) = (name.clone(), scope.cloned());
        let change = Change { at: Time::now(), by: by.to_owned(), policy, network, what };
        self.recorded(change).map(Some)
    }

    /// Every change goes through here, once it holds.
    pub(super) fn recorded(&self, change: Change) -> Result<Change, Error> {
        match self.journal.append(&Entry::Change(change.clone())) {
            Ok(()) => Ok(change),
            Err(source) => Err(Error::NotRecorded { change: change.to_string(), source }),
        }
    }

    pub(super) fn file(&self, name: &PolicyName) -> PathBuf {
        self.policies.join(super::NAMES).join(format!("{name}{ENDING}"))
    }
}
