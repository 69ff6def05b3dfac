//! Installed policies: by name, which people choose and can point elsewhere, and by digest, which never
//! changes its meaning.
//!
//! ```text
//! /var/lib/podwire/policies/
//!     HEX/policy.wasm                       a component, by the SHA-256 of its bytes
//!     HEX/0.1.0-48.0.8-1-x86_64.cwasm       its code for one podwire on one kind of processor
//!     active/NAME -> ../HEX                 the policy of that name
//!     previous/NAME -> ../HEX               what it was before
//! ```
//!
//! Files are never changed, only made; a name is pointed elsewhere by renaming a link, so a call sees the
//! old policy or the new one. Owns these files; does not know what a policy decides.

mod builtin;
mod compiled;
mod error;
#[cfg(feature = "compiler")]
mod install;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use sha2::Digest as _;

use crate::names::{Digest, PolicyName};
use crate::state::{self, State};

pub use error::Error;

/// The policies of a node.
#[derive(Debug, Clone)]
pub struct Registry {
    policies: PathBuf,
}

/// One version of a policy, under the name by which it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// What network configurations call it.
    pub name: PolicyName,
    /// Of its component.
    pub digest: Digest,
    /// Where it and its compiled code lie.
    pub dir: PathBuf,
}

impl std::fmt::Display for Installed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.digest)
    }
}

impl Installed {
    /// Whether it came with podwire.
    pub fn is_builtin(&self) -> bool {
        builtin::is(&self.digest)
    }
}

impl Registry {
    /// The policies below that state directory. Touches nothing.
    pub fn open(state: &State) -> Self {
        Self { policies: state.policies_dir() }
    }

    /// What the name stands for now: what is installed under it, else what is built in.
    pub fn active(&self, name: &PolicyName) -> Result<Installed, Error> {
        let installed = self.pointed_to(&self.pointer("active", name))?;
        let digest = installed.or_else(|| builtin::named(name));
        let digest = digest.ok_or_else(|| Error::NotInstalled { name: name.clone() })?;
        Ok(self.version(name, digest))
    }

    /// The version of a policy that decided something earlier.
    pub fn installed(&self, name: &PolicyName, digest: Digest) -> Result<Installed, Error> {
        let version = self.version(name, digest);
        if version.is_builtin() || version.dir.join(COMPONENT).exists() {
            return Ok(version);
        }
        Err(Error::Gone { name: name.clone(), digest })
    }

    /// The component of a policy, which is what was installed, byte by byte.
    pub fn component(&self, installed: &Installed) -> Result<Cow<'static, [u8]>, Error> {
        if installed.is_builtin() {
            return Ok(Cow::Borrowed(builtin::COMPONENT));
        }
        let path = installed.dir.join(COMPONENT);
        state::trusted(&path)?;
        let mut bytes = Vec::new();
        let mut file = state::open_file(&path)?;
        io::Read::read_to_end(&mut file, &mut bytes).map_err(state::Error::io(&path, "read"))?;
        match digest(&bytes) {
            found if found == installed.digest => Ok(Cow::Owned(bytes)),
            found => Err(Error::Damaged { path, found }),
        }
    }

    fn version(&self, name: &PolicyName, digest: Digest) -> Installed {
        Installed { name: name.clone(), digest, dir: self.policies.join(hex(&digest)) }
    }

    fn pointer(&self, which: &str, name: &PolicyName) -> PathBuf {
        self.policies.join(which).join(name.as_str())
    }

    fn pointed_to(&self, link: &Path) -> Result<Option<Digest>, Error> {
        let target = match std::fs::read_link(link) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(state::Error::io(link, "read the link")(error).into()),
        };
        // Somebody else could have made it point to another version, even if not to code of his own. What it
        // points to may be missing: the built-in policy is unpacked when it is needed.
        state::trusted(link).or_else(|error| if error.is_absent() { Ok(()) } else { Err(error) })?;
        let hex = target.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let digest = format!("sha256:{hex}").parse().ok();
        digest.map(Some).ok_or_else(|| Error::Pointer { path: link.to_owned() })
    }
}

/// The component's name in its directory.
const COMPONENT: &str = "policy.wasm";

fn hex(digest: &Digest) -> String {
    digest.to_string().split_off("sha256:".len())
}

fn digest(component: &[u8]) -> Digest {
    Digest(sha2::Sha256::digest(component).into())
}

#[cfg(test)]
#[cfg(feature = "compiler")]
mod tests;
