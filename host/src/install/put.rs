//! `podwire install`: what is missing on the node, in the order in which nothing is ever asked for too early: the
//! plugin before the configuration that has it called.

use std::path::{Path, PathBuf};

use super::plugin::{self, Plugin};
use super::receipt::{self, Receipt};
use super::{Error, Places, Steps, conflist, file};
use crate::names::Digest;
use crate::state;

/// What the node's settings are called. The agent's may hold what lets it into a source.
const SETTINGS: [(&str, u32); 3] = [("node.json", 0o644), ("peers.json", 0o644), (AGENT, 0o600)];
pub(super) const AGENT: &str = "agent.json";

/// What the operator wants installed.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// The plugin; without it, the one beside this command.
    pub plugin: Option<PathBuf>,
    /// A network configuration of the operator's.
    pub conflist: Option<PathBuf>,
    /// A folder with settings.
    pub settings: Option<PathBuf>,
    /// Whether what somebody else wrote is replaced.
    pub force: bool,
}

/// What has to be done until the node is as wished.
pub struct Plan {
    places: Places,
    notes: Vec<String>,
    /// As they are on the node.
    directories: Vec<(PathBuf, u32)>,
    files: Vec<Wanted>,
}

/// A file as it shall be.
struct Wanted {
    /// On the node.
    path: PathBuf,
    bytes: Vec<u8>,
    digest: Digest,
    mode: u32,
    line: String,
    is_plugin: bool,
    /// Whether it is there already.
    is_settled: bool,
}

impl Plan {
    /// Compares the node with the wish. Changes nothing.
    pub fn make(places: Places, wish: &Wish) -> Result<Self, Error> {
        let notes = vec![format!(
            "plugins in {}, network configurations in {}: {}",
            places.bin.display(),
            places.conf.display(),
            places.said_by
        )];
        let mut plan = Self { places, notes, directories: Vec::new(), files: Vec::new() };
        plan.want_directories()?;
        plan.want_programs(&Plugin::find(wish.plugin.as_deref())?);
        plan.want_settings(wish)?;
        plan.want_conflist(wish)?;
        if !wish.force {
            plan.refuse_to_replace_what_others_wrote()?;
        }
        Ok(plan)
    }

    /// The leases' is for root alone, as the first ADD makes it.
    fn want_directories(&mut self) -> Result<(), Error> {
        let state = self.places.state.clone();
        let all = [(&self.places.bin, 0o755), (&self.places.conf, 0o755)];
        let own = [(&state.etc, 0o755), (&state.lib, 0o755), (&state.run, 0o700)];
        for (path, mode) in all.into_iter().chain(own) {
            let at = self.places.at(path);
            if !at.exists() {
                self.directories.push((path.clone(), mode));
            } else if *path != self.places.conf {
                // The plugin would not run its compiler, nor any policy, from where others may write.
                state::trusted(&at)?;
            }
        }
        Ok(())
    }

    fn want_programs(&mut self, plugin: &Plugin) {
        let (program, compiler) =
            (self.places.bin.join(plugin::NAME), self.places.bin.join(plugin::COMPILER));
        let line = |wanted: &Wanted| format!("compiler {}", plugin::short(&wanted.digest));
        self.want(compiler, plugin.compiler.clone(), 0o755, line);
        let old = Some(self.places.at(&program)).filter(|path| path.exists());
        let line = |wanted: &Wanted| {
            let described = plugin.describe(&wanted.digest, old.as_deref().filter(|_| !wanted.is_settled));
            format!("{described}, from {}", plugin.path.display())
        };
        self.want(program, plugin.bytes.clone(), 0o755, line).is_plugin = true;
    }

    fn want_settings(&mut self, wish: &Wish) -> Result<(), Error> {
        let Some(folder) = &wish.settings else { return Ok(()) };
        for (name, mode) in SETTINGS {
            if let Some(bytes) = file::read(&folder.join(name))? {
                let path = self.places.state.etc.join(name);
                self.want(path, bytes, mode, |_| format!("settings, from {}", folder.display()));
            }
        }
        Ok(())
    }

    fn want_conflist(&mut self, wish: &Wish) -> Result<(), Error> {
        let path = conflist::path(&self.places);
        let kept = match self.kept_by_agent(wish)? {
            Some(kept) => {
                refuse_both(wish, &kept)?;
                self.notes.push(format!("{} is left to the agent, which keeps it", kept.display()));
                kept
            }
            None => {
                let content = conflist::content(wish.conflist.as_deref())?;
                self.want(path.clone(), content, 0o644, |_| "network configuration".to_owned());
                path
            }
        };
        for other in conflist::before(&self.places, &kept)? {
            let (other, kept) = (other.display(), kept.display());
            self.notes.push(format!(
                "{other} comes before {kept}, and a runtime that takes the first leaves podwire out: `mv {other} {other}.off`"
            ));
        }
        Ok(())
    }

    /// As its settings will be.
    fn kept_by_agent(&self, wish: &Wish) -> Result<Option<PathBuf>, Error> {
        let new = wish.settings.as_ref().map(|folder| folder.join(AGENT)).filter(|path| path.exists());
        conflist::kept_by_agent(&new.unwrap_or_else(|| self.places.reachable_state().etc.join(AGENT)))
    }

    fn want(
        &mut self,
        path: PathBuf,
        bytes: Vec<u8>,
        mode: u32,
        line: impl FnOnce(&Wanted) -> String,
    ) -> &mut Wanted {
        let at = self.places.at(&path);
        let is_settled = file::is_settled(&at, mode) && std::fs::read(&at).is_ok_and(|there| there == bytes);
        let (digest, is_plugin) = (file::digest(&bytes), false);
        let mut wanted = Wanted { path, bytes, digest, mode, line: String::new(), is_plugin, is_settled };
        wanted.line = format!("{}: {}", wanted.path.display(), line(&wanted));
        let index = self.files.len();
        self.files.push(wanted);
        &mut self.files[index]
    }

    /// Programs may be replaced: their names are podwire's.
    fn refuse_to_replace_what_others_wrote(&self) -> Result<(), Error> {
        let receipt = Receipt::read(&self.places.reachable_state())?;
        for wanted in self.files.iter().filter(|wanted| wanted.mode & 0o111 == 0) {
            let there = file::read(&self.places.at(&wanted.path))?.map(|bytes| (file::digest(&bytes), bytes));
            let is_others = |(digest, bytes)| bytes != wanted.bytes && !receipt.knows(&wanted.path, &digest);
            if there.is_some_and(is_others) {
                return Err(Error::Changed(wanted.path.clone()));
            }
        }
        Ok(())
    }

    fn missing(&self) -> impl Iterator<Item = &Wanted> {
        self.files.iter().filter(|wanted| !wanted.is_settled)
    }
}

/// The agent would write over it.
fn refuse_both(wish: &Wish, kept: &Path) -> Result<(), Error> {
    let Some(path) = wish.conflist.clone() else { return Ok(()) };
    let problem =
        format!("the agent keeps {} (`conflist` in {AGENT}): leave one of the two out", kept.display());
    Err(Error::Conflist { path, problem })
}

impl Steps for Plan {
    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn lines(&self) -> Vec<String> {
        let directories = self.directories.iter().map(|(path, mode)| directory_line(path, *mode));
        directories.chain(self.missing().map(|wanted| wanted.line.clone())).collect()
    }

    fn carry_out(&self, done: &mut dyn FnMut(&str)) -> Result<(), Error> {
        for (path, mode) in &self.directories {
            file::make_directory(&self.places.at(path), *mode)?;
            done(&directory_line(path, *mode));
        }
        let state = self.places.reachable_state();
        let _lock = receipt::lock(&state)?;
        let mut receipt = Receipt::read(&state)?;
        let before = receipt.clone();
        self.files.iter().for_each(|wanted| receipt.promise(&wanted.path, wanted.digest));
        if receipt != before {
            receipt.write(&state)?;
        }
        for wanted in &self.files {
            wanted.put(&self.places)?;
            if !wanted.is_settled {
                done(&wanted.line);
            }
            receipt.settle(&wanted.path, wanted.digest);
        }
        if receipt != before { receipt.write(&state) } else { Ok(()) }
    }
}

impl Wanted {
    /// A new plugin has to run where it will be run.
    fn put(&self, places: &Places) -> Result<(), Error> {
        let at = places.at(&self.path);
        if self.is_settled {
            return file::sweep(&at);
        }
        file::place(&at, &self.bytes, self.mode, |new| match self.is_plugin {
            true => plugin::versions(new).map(|_| ()),
            false => Ok(()),
        })
    }
}

fn directory_line(path: &Path, mode: u32) -> String {
    format!("{}: directory, mode {mode:o}", path.display())
}
