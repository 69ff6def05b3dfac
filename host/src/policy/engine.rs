//! From a component to machine code, and from a file of machine code to a policy that can run.
#![allow(unsafe_code)]

use std::path::Path;

use wasmtime::component::Component;

use super::fault::{Error, Label, reason};
use super::instance::Policy;
use super::settings;
use crate::state;

/// Machine code that this process made.
#[cfg(feature = "compiler")]
pub struct MachineCode(Vec<u8>);

#[cfg(feature = "compiler")]
impl MachineCode {
    /// In bytes.
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

/// wasmtime with podwire's settings. One is enough for a process.
pub struct Engine(wasmtime::Engine);

impl Engine {
    /// Sets wasmtime up.
    pub fn new() -> Result<Self, Error> {
        Self::of_version(settings::version())
    }

    /// An engine that makes and takes code of that version.
    pub(crate) fn of_version(version: String) -> Result<Self, Error> {
        let engine = settings::config(version).and_then(|config| wasmtime::Engine::new(&config));
        engine.map(Self).map_err(|error| Error::Settings(reason(&error)))
    }

    /// Makes machine code for this processor, which [`Engine::load`] takes.
    #[cfg(feature = "compiler")]
    pub fn compile(&self, component: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.precompile_component(component).map_err(|error| Error::Compile(reason(&error)))
    }

    /// The same, to be loaded by this process.
    #[cfg(feature = "compiler")]
    pub fn machine_code(&self, component: &[u8]) -> Result<MachineCode, Error> {
        self.compile(component).map(MachineCode)
    }

    /// Loads what this process made, from memory.
    #[cfg(feature = "compiler")]
    pub fn load_machine_code(&self, code: &MachineCode, label: impl Into<Label>) -> Result<Policy, Error> {
        // SAFETY: `machine_code` alone makes such a value, of what `compile` made, and nobody can change it.
        let loaded = unsafe { Component::deserialize(&self.0, &code.0) };
        loaded.map(|code| Policy::new(code, label)).map_err(|error| Error::Compile(reason(&error)))
    }

    /// Compiles a component and keeps the code in memory.
    #[cfg(feature = "compiler")]
    pub fn load_component(&self, component: &[u8], label: impl Into<Label>) -> Result<Policy, Error> {
        super::inspect(component)?.check()?;
        let compiled = Component::from_binary(&self.0, component);
        compiled.map(|code| Policy::new(code, label)).map_err(|error| Error::Compile(reason(&error)))
    }

    /// Maps compiled code, after checking that nobody but root could have written it.
    ///
    /// A file that is too short, was made with other settings or for another processor is refused as
    /// [`Error::Stale`]. One whose length is right and whose bytes are wrong is not recognised: reading it
    /// all would cost more than the policy does.
    pub fn load(&self, path: &Path, label: impl Into<Label>) -> Result<Policy, Error> {
        state::trusted(path)?;
        // SAFETY: the file holds what `compile` made, since only root and podwire can write to it or to any
        // directory above it; it is replaced by renaming, never changed in place, so the mapping stays as it is.
        let loaded = unsafe { Component::deserialize_file(&self.0, path) };
        loaded
            .map(|code| Policy::new(code, label))
            .map_err(|error| Error::Stale { path: path.to_owned(), reason: reason(&error) })
    }
}
