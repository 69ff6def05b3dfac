//! Loading a policy's compiled code, and making it again where it cannot be loaded: podwire or wasmtime is another one
//! now, or the file is not whole.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::retry_on_intr;

use super::{COMPONENT, Error, Installed, Registry, builtin};
use crate::policy::{self, Engine, Policy, abi_key};
use crate::state;

impl Registry {
    /// Maps the policy's compiled code; compiles it first if that is not there or cannot be used. However many
    /// do so at once, it is compiled once.
    pub fn load(&self, engine: &Engine, installed: &Installed) -> Result<Policy, Error> {
        if let Some(policy) = map(engine, installed)? {
            return Ok(policy);
        }
        installed.exists()?;
        if installed.is_builtin() {
            make_directory(&installed.dir)?;
        }
        let _lock = lock(&installed.dir)?;
        if let Some(policy) = map(engine, installed)? {
            return Ok(policy);
        }
        if installed.is_builtin() {
            state::write_atomically(&installed.dir.join(COMPONENT), builtin::COMPONENT)?;
        }
        self.compile(engine, installed)?;
        Ok(installed.in_its_place(engine.load(&installed.code(), installed.to_string())?))
    }

    /// Like [`Registry::load`], but what it compiles stays in memory, and it changes nothing.
    #[cfg(feature = "compiler")]
    pub fn load_unsaved(&self, engine: &Engine, installed: &Installed) -> Result<Policy, Error> {
        if let Some(policy) = map(engine, installed)? {
            return Ok(policy);
        }
        installed.exists()?;
        let policy = engine.load_component(&self.component(installed)?, installed.to_string())?;
        Ok(installed.in_its_place(policy))
    }

    #[cfg(feature = "compiler")]
    fn compile(&self, engine: &Engine, installed: &Installed) -> Result<(), Error> {
        let code = engine.compile(&self.component(installed)?)?;
        Ok(state::write_atomically(&installed.code(), &code)?)
    }

    /// With the program beside this one, which bounds itself.
    #[cfg(not(feature = "compiler"))]
    fn compile(&self, _: &Engine, installed: &Installed) -> Result<(), Error> {
        use std::process::{Command, Stdio};

        // It compiles what it reads, which has to be what was installed.
        self.component(installed)?;
        let program = std::env::current_exe().unwrap_or_default().with_file_name("podwire-compile");
        let unusable =
            |source| Error::NoCompiler { name: installed.name.clone(), program: program.clone(), source };
        match state::trusted(&program) {
            Err(state::Error::Io { source, .. }) => return Err(unusable(source)),
            others => others?,
        }
        let mut command = Command::new(&program);
        command.arg(installed.dir.join(COMPONENT)).arg(installed.code());
        command.env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        let done = command.output().map_err(unusable)?;
        if !done.status.success() {
            let message = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            return Err(Error::Compiler { name: installed.name.clone(), status: done.status, message });
        }
        Ok(())
    }
}

impl Installed {
    /// podwire's own runs in podwire's process. What others wrote is a process apart, for the price of a fork.
    fn in_its_place(&self, policy: Policy) -> Policy {
        if self.is_builtin() { policy } else { policy.apart() }
    }

    /// Its compiled code for this podwire.
    pub(super) fn code(&self) -> std::path::PathBuf {
        self.dir.join(format!("{}.cwasm", abi_key()))
    }
}

/// None if the code has to be compiled.
fn map(engine: &Engine, installed: &Installed) -> Result<Option<Policy>, Error> {
    match engine.load(&installed.code(), installed.to_string()) {
        Ok(policy) => Ok(Some(installed.in_its_place(policy))),
        Err(policy::Error::Stale { .. }) => Ok(None),
        Err(policy::Error::File(error)) if error.is_absent() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes the directory and those above it, as far as they are missing, and checks that they are root's.
pub(super) fn make_directory(path: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(state::Error::io(path, "make the directory"))?;
    Ok(state::trusted(path)?)
}

/// Waits until nobody else holds the directory; it is free again when the file is dropped. Not the directory itself is
/// locked: whoever may look at it could, and keep ADDs waiting.
pub(super) fn lock(directory: &Path) -> Result<File, Error> {
    state::trusted(directory)?;
    let path = directory.join("lock");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = open(&path, flags, Mode::RUSR | Mode::WUSR);
    let file = file.map_err(|error| state::Error::io(&path, "open")(error.into()))?;
    retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
        .map_err(|error| state::Error::io(&path, "lock")(error.into()))?;
    Ok(file.into())
}
