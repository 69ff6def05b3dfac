//! Why there is no policy.

use std::path::PathBuf;

use crate::names::{Digest, PolicyName};
use crate::{policy, state};

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing of that name.
    #[error("policy {name} is not installed: `podwire policy install --name {name} COMPONENT` installs it")]
    NotInstalled {
        /// The name.
        name: PolicyName,
    },
    /// Nothing of that name decides.
    #[error(
        "policy {name} has no active version: `podwire policy activate {name}` activates the one installed last"
    )]
    NotActive {
        /// The name.
        name: PolicyName,
    },
    /// No version begins like that.
    #[error(
        "policy {name} has no version whose digest begins with {prefix}: `podwire policy list` shows them"
    )]
    NoVersion {
        /// The name.
        name: PolicyName,
        /// What was given.
        prefix: String,
    },
    /// Several versions begin like that.
    #[error("several versions of policy {name} begin with {prefix}: {several}: give more of the digest")]
    SeveralVersions {
        /// The name.
        name: PolicyName,
        /// What was given.
        prefix: String,
        /// Their digests.
        several: String,
    },
    /// To be tried beside itself.
    #[error("{digest} is the active version of policy {name}: only another one can be tried beside it")]
    IsActive {
        /// The name.
        name: PolicyName,
        /// The version.
        digest: Digest,
    },
    /// Nothing to go back to.
    #[error(
        "policy {name} has no earlier version to go back to {place}: `podwire policy activate {name}@DIGEST` chooses one"
    )]
    NothingBefore {
        /// The name.
        name: PolicyName,
        /// Where it should have gone back.
        place: String,
    },
    /// Cannot be removed while it decides.
    #[error("{digest} of policy {name} is active, or is tried: activate another version first")]
    InUse {
        /// The name.
        name: PolicyName,
        /// The version.
        digest: Digest,
    },
    /// A version that is not kept any more.
    #[error(
        "policy {name} was installed as {digest}, but that version is not kept any more: install it again"
    )]
    Gone {
        /// The name.
        name: PolicyName,
        /// The version.
        digest: Digest,
    },
    /// Cannot be removed.
    #[error("policy {name} is built into podwire, and nothing is installed in its place to be removed")]
    Builtin {
        /// The name.
        name: PolicyName,
    },
    /// Not as podwire wrote it.
    #[error(
        "{path} does not say which version is active ({source}): remove it, and install the policy again"
    )]
    Pointer {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: serde_json::Error,
    },
    /// The component's bytes are not those that were installed.
    #[error("{path} has been changed, it is {found} now: install the policy again")]
    Damaged {
        /// The component.
        path: PathBuf,
        /// What it is now.
        found: Digest,
    },
    /// The plugin has no compiler in it.
    #[error(
        "policy {name} has to be compiled for this machine, but {program} cannot be run ({source}): put \
         podwire-compile into the plugin's directory"
    )]
    NoCompiler {
        /// The policy.
        name: PolicyName,
        /// The compiler.
        program: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The compiler gave up.
    #[error("policy {name} cannot be compiled: podwire-compile ended with {status}: {message}")]
    Compiler {
        /// The policy.
        name: PolicyName,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said.
        message: String,
    },
    /// It holds, but nobody will read of it.
    #[error("{change}: this holds, but the journal lacks it: {source}")]
    NotRecorded {
        /// What was changed.
        change: String,
        /// What is wrong with the journal.
        source: state::Error,
    },
    /// Something is wrong with a file.
    #[error(transparent)]
    File(#[from] state::Error),
    /// Something is wrong with the policy.
    #[error(transparent)]
    Policy(#[from] policy::Error),
}
