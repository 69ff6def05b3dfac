//! From a component to machine code, and from a file of machine code to a policy that can run.
#![allow(unsafe_code)]

#[cfg(feature = "compiler")]
use std::fs::File;
#[cfg(feature = "compiler")]
use std::io::{self, Write as _};
#[cfg(feature = "compiler")]
use std::os::fd::AsRawFd as _;
use std::path::Path;

#[cfg(feature = "compiler")]
use rustix::fs::{MemfdFlags, memfd_create};
use wasmtime::component::Component;

use super::fault::{Error, Label, reason};
use super::instance::Policy;
use super::settings;
use crate::state;

/// Machine code that this process made. It is a file, if in memory only: what a policy's memory begins with is mapped
/// from it, where a process of its own could make no copy.
#[cfg(feature = "compiler")]
pub struct MachineCode {
    file: File,
    size: usize,
}

#[cfg(feature = "compiler")]
impl MachineCode {
    fn new(code: &[u8]) -> io::Result<Self> {
        let mut file = File::from(memfd_create("podwire-policy", MemfdFlags::CLOEXEC)?);
        file.write_all(code)?;
        Ok(Self { file, size: code.len() })
    }

    /// In bytes.
    pub fn size(&self) -> usize {
        self.size
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

    /// Makes machine code for any processor of this architecture, which [`Engine::load`] takes.
    #[cfg(feature = "compiler")]
    pub fn compile(&self, component: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.precompile_component(component).map_err(|error| Error::Compile(reason(&error)))
    }

    /// The same, to be loaded by this process.
    #[cfg(feature = "compiler")]
    pub fn machine_code(&self, component: &[u8]) -> Result<MachineCode, Error> {
        MachineCode::new(&self.compile(component)?).map_err(|error| Error::Compile(error.to_string()))
    }

    /// Loads what this process made, from memory.
    #[cfg(feature = "compiler")]
    pub fn load_machine_code(&self, code: &MachineCode, label: impl Into<Label>) -> Result<Policy, Error> {
        let path = format!("/proc/self/fd/{}", code.file.as_raw_fd());
        // SAFETY: `machine_code` alone makes such a value, of what `compile` made, and nobody else has the file.
        let loaded = unsafe { Component::deserialize_file(&self.0, path) };
        loaded.map(|code| Policy::new(code, label)).map_err(|error| Error::Compile(reason(&error)))
    }

    /// Compiles a component and keeps the code in memory.
    #[cfg(feature = "compiler")]
    pub fn load_component(&self, component: &[u8], label: impl Into<Label>) -> Result<Policy, Error> {
        super::inspect(component)?.check()?;
        self.load_machine_code(&self.machine_code(component)?, label)
    }

    /// Maps compiled code, after checking that nobody but root could have written it.
    ///
    /// A file that is too short, was made with other settings or for another architecture is refused as
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
