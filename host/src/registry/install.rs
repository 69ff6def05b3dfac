//! Storing a version of a policy. It decides nothing until it is activated.

use super::compiled::{lock, make_directory};
use super::rollout::Version;
use super::{COMPONENT, Error, Installed, Registry, digest};
use crate::journal::{Time, What};
use crate::names::PolicyName;
use crate::policy::{self, Engine};
use crate::state;

impl Registry {
    /// Keeps the component under that name, once it is seen to be a policy: it imports nothing but the contract's
    /// interfaces and exports its functions, compiles, and can be instantiated.
    pub fn install(&self, name: &PolicyName, component: &[u8], by: &str) -> Result<Installed, Error> {
        policy::inspect(component).and_then(|found| found.check()).map_err(policy::Error::from)?;
        let engine = Engine::new()?;
        let code = engine.compile(component)?;
        let installed = self.version(name, digest(component));
        self.store(&engine, &installed, component, &code)?;
        let version = Version { digest: installed.digest, at: Time::now(), by: by.to_owned() };
        self.change(name, None, by, |standing| {
            // Somebody may have removed it under its other name meanwhile.
            installed.exists()?;
            standing.install(version);
            Ok(Some(What::Installed { digest: installed.digest }))
        })?;
        Ok(installed)
    }

    /// Writes component and code, and tries them.
    fn store(
        &self,
        engine: &Engine,
        installed: &Installed,
        component: &[u8],
        code: &[u8],
    ) -> Result<(), Error> {
        make_directory(&self.policies)?;
        let _lock = lock(&self.policies)?;
        let is_new = !installed.dir.exists();
        make_directory(&installed.dir)?;
        let _code = lock(&installed.dir)?;
        let stored = write(engine, installed, component, code);
        if stored.is_err() && is_new {
            // Best effort: the error that matters is the first one.
            let _ = std::fs::remove_dir_all(&installed.dir);
        }
        stored
    }
}

fn write(engine: &Engine, installed: &Installed, component: &[u8], code: &[u8]) -> Result<(), Error> {
    state::write_atomically(&installed.dir.join(COMPONENT), component)?;
    state::write_atomically(&installed.code(), code)?;
    engine.load(&installed.code(), installed.to_string())?.apart().instantiate()?;
    Ok(())
}
