//! Facts that the code cannot know by itself: wasmtime's full version, which names compiled code, the target that
//! policies are compiled for, the digest of the built-in policy, which an ADD must not spend time on, and which files the
//! SDK has.
#![allow(clippy::print_stdout)] // This is how a build script talks to cargo.

use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The one place that says which component is built in; relative to this crate.
const BUILTIN: &str = "../guests/bridge.wasm";

fn main() -> Result<(), Box<dyn Error>> {
    let host = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock = host.join("../Cargo.lock");
    let builtin = host.join(BUILTIN);
    list_sdk(&host.join("../guests/sdk"))?;
    println!("cargo::rustc-env=PODWIRE_WASMTIME_VERSION={}", wasmtime_version(&read(&lock)?)?);
    println!("cargo::rustc-env=PODWIRE_TARGET={}", std::env::var("TARGET")?);
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

/// The SDK's files, as a list for `podwire policy new` to include.
fn list_sdk(sdk: &Path) -> Result<(), Box<dyn Error>> {
    let mut files = vec![sdk.join("Cargo.toml")];
    find_files(&sdk.join("src"), &mut files)?;
    files.sort();
    let entry = |file: &PathBuf| {
        let name = file.strip_prefix(sdk).unwrap_or(file).display().to_string();
        format!("({name:?}, include_bytes!({:?}).as_slice()),\n", file.display().to_string())
    };
    let list = format!("&[\n{}]\n", files.iter().map(entry).collect::<String>());
    let out = std::env::var_os("OUT_DIR").ok_or("cargo names OUT_DIR")?;
    File::create(Path::new(&out).join("sdk.rs"))?.write_all(list.as_bytes())?;
    println!("cargo::rerun-if-changed={}", sdk.join("src").display());
    Ok(())
}

fn find_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_files(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
