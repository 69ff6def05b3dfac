//! The plugin and its compiler: where the new ones are, whether the new plugin runs, and what they are called.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};
use serde_json::Value;

use super::{Error, file};
use crate::names::Digest;

/// As a runtime looks for it, and as the plugin looks for its compiler.
pub(super) const NAME: &str = "podwire";
pub(super) const COMPILER: &str = "podwire-compile";

/// As it is built, beside the command for people, which has the plugin's name.
const AS_BUILT: &str = "podwire-cni";

/// The files of a new version.
pub(super) struct Plugin {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
    pub(super) compiler: Vec<u8>,
    pub(super) versions: String,
}

impl Plugin {
    /// The named one, or the one beside this command; its compiler lies beside it.
    pub(super) fn find(named: Option<&Path>) -> Result<Self, Error> {
        let path = named.map_or_else(beside_this_command, |path| Ok(path.to_owned()))?;
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| Error::NoPlugin { path: path.to_owned(), source })
        };
        let (bytes, compiler) = (read(&path)?, read(&path.with_file_name(COMPILER))?);
        let versions = versions(&path)?;
        Ok(Self { path, bytes, compiler, versions })
    }

    /// What is put in the place of what.
    pub(super) fn describe(&self, digest: &Digest, old: Option<&Path>) -> String {
        let new = format!("{} ({})", short(digest), self.versions);
        let Some(old) = old else { return format!("plugin {new}") };
        let before = file::read(old).ok().flatten().map(|bytes| short(&file::digest(&bytes)));
        let spoke = versions(old).unwrap_or_else(|_| "does not answer".to_owned());
        format!("plugin {} ({spoke}) → {new}", before.unwrap_or_default())
    }
}

fn beside_this_command() -> Result<PathBuf, Error> {
    let unknown = |source| Error::NoPlugin { path: AS_BUILT.into(), source };
    std::env::current_exe().map(|own| own.with_file_name(AS_BUILT)).map_err(unknown)
}

/// The versions of the specification that a plugin speaks. It is asked as a runtime would, with nothing else in its
/// environment.
pub(super) fn versions(plugin: &Path) -> Result<String, Error> {
    let unfit = |said: String| Error::Unfit { path: plugin.to_owned(), said };
    let plugin = std::path::absolute(plugin).map_err(|error| unfit(error.to_string()))?;
    let mut command = Command::new(&plugin);
    command.env_clear().env("CNI_COMMAND", "VERSION").current_dir("/");
    let asked = question().and_then(|question| command.stdin(question).stderr(Stdio::null()).output());
    let output = asked.map_err(|error| unfit(format!("it cannot be run: {error}")))?;
    let answer: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    let all = answer.as_ref().and_then(|answer| answer["supportedVersions"].as_array());
    match all.map(Vec::as_slice) {
        Some([first, .., last]) if output.status.success() => {
            Ok(format!("CNI {} to {}", text(first), text(last)))
        }
        Some([only]) if output.status.success() => Ok(format!("CNI {}", text(only))),
        _ => Err(unfit(format!("it answers VERSION with {}", output.status))),
    }
}

/// No pipe: whoever does not read it would end us by a signal.
fn question() -> io::Result<File> {
    let mut file = File::from(memfd_create("version", MemfdFlags::CLOEXEC)?);
    file.write_all(br#"{"cniVersion":"1.0.0"}"#)?;
    file.rewind()?;
    Ok(file)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// Enough of a digest to tell two builds apart.
pub(super) fn short(digest: &Digest) -> String {
    digest.to_string().chars().skip("sha256:".len()).take(12).collect()
}
