//! Facts that the code cannot know by itself: wasmtime's full version, which names compiled code, and the
//! digest of the built-in policy, which an ADD must not spend time on.
#![allow(clippy::print_stdout)] // This is how a build script talks to cargo.

use std::error::Error;
use std::path::Path;

use sha2::{Digest, Sha256};

/// The one place that says which component is built in; relative to this crate.
const BUILTIN: &str = "../guests/bridge.wasm";

fn main() -> Result<(), Box<dyn Error>> {
    let host = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock = host.join("../Cargo.lock");
    let builtin = host.join(BUILTIN);
    println!("cargo::rustc-env=PODWIRE_WASMTIME_VERSION={}", wasmtime_version(&read(&lock)?)?);
    println!("cargo::rustc-env=PODWIRE_BUILTIN={}", builtin.display());
    println!("cargo::rustc-env=PODWIRE_BUILTIN_DIGEST=sha256:{}", hex(&Sha256::digest(read(&builtin)?)));
    println!("cargo::rerun-if-changed={}", lock.display());
    println!("cargo::rerun-if-changed={}", builtin.display());
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn wasmtime_version(lock: &[u8]) -> Result<&str, Box<dyn Error>> {
    let lock = std::str::from_utf8(lock)?;
    let (_, entry) =
        lock.split_once("name = \"wasmtime\"\nversion = \"").ok_or("wasmtime is not in Cargo.lock")?;
    let (version, _) = entry.split_once('"').ok_or("wasmtime has no version in Cargo.lock")?;
    Ok(version)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
