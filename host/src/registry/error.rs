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
    /// Not one of podwire's links.
    #[error("{path} does not point to an installed policy: remove it, and install the policy again")]
    Pointer {
        /// The link.
        path: PathBuf,
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
    /// Something is wrong with a file.
    #[error(transparent)]
    File(#[from] state::Error),
    /// Something is wrong with the policy.
    #[error(transparent)]
    Policy(#[from] policy::Error),
}
