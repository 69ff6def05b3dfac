//! `podwire uninstall`: the configuration first, so that the runtime stops asking; then, if no pod came meanwhile, the
//! plugin; what podwire knows last.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::receipt::{self, Receipt};
use super::{Error, Places, Steps, conflist, error, file, plugin, put};
use crate::leases::{Attachment, Store};
use crate::state::State;

/// Of many attachments, these are enough to know whose they are.
const NAMED: usize = 8;

/// What has to be done until podwire is gone.
pub struct Removal {
    places: Places,
    notes: Vec<String>,
    force: bool,
    /// As they are on the node.
    conflists: Vec<PathBuf>,
    others: Vec<PathBuf>,
    directories: Vec<PathBuf>,
}

/// The attachments on record, each as its pod, or as its container and interface.
fn attached(state: &State) -> Result<Vec<String>, Error> {
    let Some(store) = Store::open_existing(&state.leases_dir())? else { return Ok(Vec::new()) };
    let name = |attachment: Attachment| {
        let holder = attachment.intent.holder();
        holder.pod.unwrap_or_else(|| holder.attachment.to_string())
    };
    Ok(store.snapshot()?.attachments()?.map(|attachment| attachment.map(name)).collect::<Result<_, _>>()?)
}

fn refuse_while_attached(state: &State) -> Result<(), Error> {
    summary(state)?.map_or(Ok(()), |(count, which)| Err(Error::Attached { count, which }))
}

/// How many attachments there are, and some of them; none if there are none.
fn summary(state: &State) -> Result<Option<(usize, String)>, Error> {
    let attached = attached(state)?;
    let count = attached.len();
    let more = if count > NAMED { ", …" } else { "" };
    let which = attached.into_iter().take(NAMED).collect::<Vec<_>>().join(", ") + more;
    Ok((count > 0).then_some((count, which)))
}

impl Removal {
    /// Looks for what podwire put onto the node. `force` is for the pods that are there, `purge` for leases, policies,
    /// journal and settings.
    pub fn make(places: Places, force: bool, purge: bool) -> Result<Self, Error> {
        let state = places.reachable_state();
        let receipt = Receipt::read(&state)?;
        let empty = Vec::new;
        let (conflists, others, directories) = (empty(), empty(), empty());
        let mut removal = Self { places, notes: Vec::new(), force, conflists, others, directories };
        if !force {
            refuse_while_attached(&state)?;
        } else if let Some((count, which)) = summary(&state)? {
            removal.notes.push(format!(
                "{} still wired ({which}): without the plugin their runtime's DEL fails; `podwire install` lets it \
                 end them",
                error::attachments_are(count)
            ));
        }
        removal.take_the_agents(&state)?;
        removal.take_what_was_put(&receipt, purge)?;
        removal.name_what_stays(&receipt)?;
        if purge {
            removal.take_directories();
        }
        Ok(removal)
    }

    fn take_the_agents(&mut self, state: &State) -> Result<(), Error> {
        let kept = conflist::kept_by_agent(&state.etc.join(put::AGENT))?;
        if let Some(kept) = kept.filter(|path| self.places.at(path).exists()) {
            self.notes
                .push(format!("{} comes back as long as the agent runs: stop it first", kept.display()));
            self.conflists.push(kept);
        }
        Ok(())
    }

    fn take_what_was_put(&mut self, receipt: &Receipt, purge: bool) -> Result<(), Error> {
        for path in receipt.files().filter(|path| purge || !path.starts_with(&self.places.state.etc)) {
            let Some(bytes) = file::read(&self.places.at(path))? else { continue };
            let is_conflist = path.extension().is_some_and(|ending| ending == "conflist");
            if self.conflists.iter().any(|taken| taken == path) {
                continue;
            }
            if !receipt.knows(path, &file::digest(&bytes)) {
                self.notes
                    .push(format!("{} was changed since podwire put it there, and stays", path.display()));
            } else if is_conflist {
                self.conflists.push(path.to_owned());
            } else {
                self.others.push(path.to_owned());
            }
        }
        Ok(())
    }

    fn name_what_stays(&mut self, receipt: &Receipt) -> Result<(), Error> {
        for path in [plugin::NAME, plugin::COMPILER].map(|name| self.places.bin.join(name)) {
            if self.places.at(&path).exists() && !receipt.files().any(|known| known == path) {
                self.notes
                    .push(format!("{} was not put there by `podwire install`, and stays", path.display()));
            }
        }
        let taken: Vec<&Path> = self.conflists.iter().map(PathBuf::as_path).collect();
        for path in conflist::others_that_call_podwire(&self.places, &taken)? {
            self.notes.push(format!("{} calls podwire, and stays", path.display()));
        }
        Ok(())
    }

    fn take_directories(&mut self) {
        let State { run, lib, .. } = self.places.state.clone();
        self.directories = [run, lib].into_iter().filter(|path| self.places.at(path).exists()).collect();
    }

    fn take(&self, paths: &[PathBuf], done: &mut dyn FnMut(&str)) -> Result<(), Error> {
        for path in paths {
            let at = self.places.at(path);
            file::sweep(&at)?;
            if file::remove(&at)? {
                done(&removed(path));
            }
        }
        Ok(())
    }

    /// What stays, stays on record.
    fn forget(&self) -> Result<(), Error> {
        let state = self.places.reachable_state();
        let mut receipt = Receipt::read(&state)?;
        let gone = |path: &&Path| !self.places.at(path).exists();
        let gone: Vec<PathBuf> = receipt.files().filter(gone).map(Path::to_owned).collect();
        gone.iter().for_each(|path| receipt.forget(path));
        receipt.write(&state)
    }
}

impl Steps for Removal {
    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn lines(&self) -> Vec<String> {
        let all = [&self.conflists, &self.others, &self.directories];
        all.into_iter().flatten().map(|path| removed(path)).collect()
    }

    fn carry_out(&self, done: &mut dyn FnMut(&str)) -> Result<(), Error> {
        let state = self.places.reachable_state();
        let _lock = receipt::lock(&state)?;
        self.take(&self.conflists, done)?;
        if !self.force {
            // Pods that came before the configuration went.
            refuse_while_attached(&state)?;
        }
        self.take(&self.others, done)?;
        self.forget()?;
        for path in &self.directories {
            fs::remove_dir_all(self.places.at(path)).map_err(Error::io(path, "remove"))?;
            done(&removed(path));
        }
        if self.directories.is_empty() { Ok(()) } else { remove_if_empty(&state.etc) }
    }
}

fn removed(path: &Path) -> String {
    format!("{}: removed", path.display())
}

/// What stands in it is the operator's.
fn remove_if_empty(path: &Path) -> Result<(), Error> {
    match fs::remove_dir(path) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => {
            Err(Error::io(path, "remove")(error))
        }
        _ => Ok(()),
    }
}
