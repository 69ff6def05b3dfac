//! Installing and removing policies.

use std::path::Path;

use super::compiled::{lock, make_directory};
use super::{COMPONENT, Error, Installed, Registry, builtin, digest, hex};
use crate::leases::Empty;
use crate::names::{Digest, PolicyName};
use crate::policy::{self, Engine};
use crate::state;

impl Registry {
    /// Makes the component the policy of that name, once it is seen to be one: it imports nothing but the
    /// contract's interfaces and exports its functions, compiles, and can be instantiated.
    pub fn install(&self, name: &PolicyName, component: &[u8]) -> Result<Installed, Error> {
        policy::inspect(component).and_then(|found| found.check()).map_err(policy::Error::from)?;
        let engine = Engine::new()?;
        let code = engine.compile(component)?;
        let installed = self.version(name, digest(component));
        make_directory(&self.policies)?;
        let _lock = lock(&self.policies)?;
        let is_new = !installed.dir.exists();
        make_directory(&installed.dir)?;
        let stored = store(&engine, &installed, component, &code);
        if stored.is_err() && is_new {
            // Best effort: the error that matters is the first one.
            let _ = std::fs::remove_dir_all(&installed.dir);
        }
        stored?;
        self.activate(&installed)?;
        Ok(installed)
    }

    /// Points the name to the version, and remembers what it pointed to.
    fn activate(&self, installed: &Installed) -> Result<(), Error> {
        let [active, previous] = ["active", "previous"].map(|which| self.pointer(which, &installed.name));
        let target = |digest: &Digest| Path::new("..").join(hex(digest));
        let before = self.pointed_to(&active)?.or_else(|| builtin::named(&installed.name));
        if let Some(before) = before.filter(|before| *before != installed.digest) {
            make_directory(&self.policies.join("previous"))?;
            state::link_atomically(&previous, &target(&before))?;
        }
        make_directory(&self.policies.join("active"))?;
        Ok(state::link_atomically(&active, &target(&installed.digest))?)
    }

    /// Every name and what it stands for, by name.
    pub fn list(&self) -> Result<Vec<Installed>, Error> {
        let mut names = self.names()?;
        names.push(PolicyName::default());
        names.sort();
        names.dedup();
        names.iter().map(|name| self.active(name)).collect()
    }

    /// Names under which something is installed.
    fn names(&self) -> Result<Vec<PolicyName>, Error> {
        let directory = self.policies.join("active");
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(state::Error::io(&directory, "read")(error).into()),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(state::Error::io(&directory, "read"))?;
            // What is no name was left by somebody who was killed while he wrote.
            names.extend(entry.file_name().to_str().and_then(|name| name.parse().ok()));
        }
        Ok(names)
    }

    /// Takes the name away, and the versions that it stood for unless another name stands for them.
    pub fn remove(&self, name: &PolicyName) -> Result<(), Error> {
        let pointers = ["active", "previous"].map(|which| self.pointer(which, name));
        let Some(active) = self.pointed_to(&pointers[0])? else {
            let name = name.clone();
            return Err(match builtin::named(&name) {
                Some(_) => Error::Builtin { name },
                None => Error::NotInstalled { name },
            });
        };
        let _lock = lock(&self.policies)?;
        let previous = self.pointed_to(&pointers[1])?;
        for pointer in &pointers {
            remove_link(pointer)?;
        }
        let used = self.used()?;
        for digest in [Some(active), previous].into_iter().flatten().filter(|digest| !used.contains(digest)) {
            remove_directory(&self.version(name, digest).dir)?;
        }
        Ok(())
    }

    /// Versions that some name stands for, or stood for before.
    fn used(&self) -> Result<Vec<Digest>, Error> {
        let mut used = Vec::new();
        for name in self.names()? {
            for which in ["active", "previous"] {
                used.extend(self.pointed_to(&self.pointer(which, &name))?);
            }
        }
        Ok(used)
    }
}

/// Writes component and code, and tries them.
fn store(engine: &Engine, installed: &Installed, component: &[u8], code: &[u8]) -> Result<(), Error> {
    state::write_atomically(&installed.dir.join(COMPONENT), component)?;
    state::write_atomically(&installed.code(), code)?;
    engine.load(&installed.code(), installed.to_string())?.apart().instantiate::<Empty>()?;
    Ok(())
}

fn remove_link(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(state::Error::io(path, "remove")(error).into())
        }
        _ => Ok(()),
    }
}

fn remove_directory(path: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(state::Error::io(path, "remove")(error).into())
        }
        _ => Ok(()),
    }
}
