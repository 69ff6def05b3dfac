//! Installed policies: by name, which people choose and can give to another version, and by digest, which never
//! changes its meaning.
//!
//! ```text
//! /var/lib/podwire/policies/
//!     HEX/policy.wasm                       a component, by the SHA-256 of its bytes
//!     HEX/0.1.0-48.0.8-2-x86_64.cwasm       its code for one podwire on one architecture
//!     HEX/passed                            what it was asked last, and stood, before it was put into use
//!     HEX/faults                            how it failed since then, a line each time
//!     names/NAME.json                       which versions have that name, and which of them decides where
//!     lock, HEX/lock                        held by whoever changes what is beside it
//! ```
//!
//! Files are never changed, only made and replaced (but for `faults`, which grows); all that a name stands for is in
//! one file, so a call sees the old policy or the new one, wherever somebody is killed who changes it. Owns these
//! files; does not know what a policy decides.

mod builtin;
mod choice;
mod compiled;
mod error;
mod faults;
#[cfg(feature = "compiler")]
mod install;
#[cfg(feature = "compiler")]
mod moves;
#[cfg(feature = "compiler")]
mod operation;
mod rollout;
mod standing;

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use sha2::Digest as _;

use crate::journal::Journal;
use crate::names::{Digest, PolicyName};
use crate::state::{self, State};

pub use choice::Chosen;
pub use error::Error;
pub use faults::Occasion;
#[cfg(feature = "compiler")]
pub use operation::Named;
pub use rollout::{Candidate, FellBack, Rollout, Scope, Standing, Trial, Version};

/// The policies of a node.
#[derive(Debug, Clone)]
pub struct Registry {
    policies: PathBuf,
    journal: Journal,
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
    fn exists(&self) -> Result<(), Error> {
        if self.is_builtin() || self.dir.join(COMPONENT).exists() {
            return Ok(());
        }
        Err(Error::Gone { name: self.name.clone(), digest: self.digest })
    }

    /// Whether it came with podwire.
    pub fn is_builtin(&self) -> bool {
        builtin::is(&self.digest)
    }
}

impl Registry {
    /// The policies below that state directory. Touches nothing.
    pub fn open(state: &State) -> Self {
        Self { policies: state.policies_dir(), journal: Journal::open(state) }
    }

    /// The folder whose files change when a name stands for another version.
    #[cfg(feature = "cli")]
    pub fn names_dir(&self) -> PathBuf {
        self.policies.join(NAMES)
    }

    /// What decides where no network has a version of its own: what is activated, else what is built in.
    pub fn active(&self, name: &PolicyName) -> Result<Installed, Error> {
        let standing = self.standing(name)?;
        let digest = standing.active(name, None).ok_or_else(|| self.inactive(name, &standing))?;
        Ok(self.version(name, digest))
    }

    /// What came with podwire.
    pub fn builtin(&self) -> Installed {
        self.version(&PolicyName::default(), *builtin::DIGEST)
    }

    /// The version of a policy that decided something earlier.
    pub fn installed(&self, name: &PolicyName, digest: Digest) -> Result<Installed, Error> {
        let version = self.version(name, digest);
        version.exists().map(|()| version)
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

    /// The version of that digest, whether it is there or not.
    pub fn version(&self, name: &PolicyName, digest: Digest) -> Installed {
        Installed { name: name.clone(), digest, dir: self.policies.join(hex(&digest)) }
    }
}

/// The component's name in its directory.
const COMPONENT: &str = "policy.wasm";

/// The directory of what names stand for.
const NAMES: &str = "names";

fn hex(digest: &Digest) -> String {
    digest.to_string().split_off("sha256:".len())
}

/// By what a component is known.
pub fn digest(component: &[u8]) -> Digest {
    Digest(sha2::Sha256::digest(component).into())
}

#[cfg(test)]
#[cfg(feature = "compiler")]
mod tests;
