//! Why a policy was not shipped.

use std::path::PathBuf;
use std::time::Duration;

use super::Reference;
use crate::names::Digest;
use crate::policy::limits;
use crate::state;

/// Why a policy was not shipped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer.
    #[error(
        "the registry {registry} cannot be reached: {reason}: look at its name and port, and at the way there \
         (HTTPS_PROXY, NO_PROXY)"
    )]
    Unreachable {
        /// `HOST[:PORT]`
        registry: String,
        /// What went wrong.
        reason: String,
    },
    /// TLS failed.
    #[error(
        "the registry {registry} is not trusted: {reason}: its certificate has to come from an authority of this \
         system, or of the file that SSL_CERT_FILE names; a registry without TLS wants --plain-http"
    )]
    Untrusted {
        /// `HOST[:PORT]`
        registry: String,
        /// What went wrong.
        reason: String,
    },
    /// It took too long.
    #[error(
        "the registry {registry} was not done after {} s: try again, or with a longer --timeout",
        limit.as_secs()
    )]
    Slow {
        /// `HOST[:PORT]`
        registry: String,
        /// How long it was given.
        limit: Duration,
    },
    /// No credentials, or wrong ones.
    #[error(
        "the registry {registry} wants to know who asks, and {known}: `docker login {registry}`, or podman's, mends \
         it"
    )]
    Unauthorized {
        /// `HOST[:PORT]`
        registry: String,
        /// What was found.
        known: String,
    },
    /// Credentials that are kept by another program.
    #[error(
        "{file} leaves the credentials of {registry} to the helper docker-credential-{helper}, and podwire runs no \
         other programs: point DOCKER_CONFIG at a folder whose config.json holds them under `auths`"
    )]
    Helper {
        /// The configuration.
        file: PathBuf,
        /// `HOST[:PORT]`
        registry: String,
        /// The helper's name.
        helper: String,
    },
    /// Not a configuration of docker's.
    #[error("{file} cannot be used for the registry {registry}: {reason}")]
    Credentials {
        /// The configuration.
        file: PathBuf,
        /// `HOST[:PORT]`
        registry: String,
        /// What is wrong.
        reason: String,
    },
    /// Nothing there.
    #[error("{reference} is not in its registry: look at the repository and the tag")]
    Absent {
        /// The artifact.
        reference: Reference,
    },
    /// Any other answer.
    #[error("the registry {registry} refused {what}: {status}{said}")]
    Refused {
        /// `HOST[:PORT]`
        registry: String,
        /// What was asked.
        what: String,
        /// The HTTP status.
        status: String,
        /// Its own words, if it had any.
        said: String,
    },
    /// Bytes other than those that were asked for.
    #[error("the registry {registry} sent something else than {what}: it is not to be trusted with this")]
    Tampered {
        /// `HOST[:PORT]`
        registry: String,
        /// What was asked for.
        what: String,
    },
    /// More bytes than there may be.
    #[error("the registry {registry} sent more than the {limit} bytes that {what} has or may have")]
    Endless {
        /// `HOST[:PORT]`
        registry: String,
        /// What was asked for.
        what: String,
        /// How many it may have.
        limit: u64,
    },
    /// An artifact that is no component.
    #[error("{reference} is no WebAssembly component, but {found}: push it with `podwire policy push`")]
    WrongArtifact {
        /// The artifact.
        reference: Reference,
        /// What it is.
        found: String,
    },
    /// Larger than a component may be.
    #[error(
        "{reference} has a component of {size} bytes, which is too large: it may have {} MiB at most",
        limits::COMPONENT_BYTES >> 20
    )]
    TooLarge {
        /// The artifact.
        reference: Reference,
        /// Its size.
        size: u64,
    },
    /// Not the digest that was asked for.
    #[error("{what} holds the component {found}, and --digest wants {wanted}: nothing was installed")]
    OtherDigest {
        /// The file or artifact.
        what: String,
        /// What it holds.
        found: Digest,
        /// What it should hold.
        wanted: Digest,
    },
    /// A tag is needed.
    #[error("{reference} names a digest, which nobody can choose: push to a tag")]
    PushToDigest {
        /// The artifact.
        reference: Reference,
    },
    /// No signature at all.
    #[error(
        "{what} is not signed, and {} demands a signature by {}: {remedy}",
        demand.keys.display(), demand.names
    )]
    Unsigned {
        /// The file or artifact.
        what: String,
        /// Who may sign.
        demand: Demand,
        /// How to sign it.
        remedy: String,
    },
    /// Signatures of others, or for something else.
    #[error(
        "{what} has a signature, but none that is right: {} demands one by {}, of exactly this component",
        demand.keys.display(), demand.names
    )]
    WronglySigned {
        /// The file or artifact.
        what: String,
        /// Who may sign.
        demand: Demand,
    },
    /// Not a key.
    #[error("{path}: {reason}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Something is wrong with a file.
    #[error(transparent)]
    File(#[from] state::Error),
}

/// Which signatures this node demands.
#[derive(Debug, Clone)]
pub struct Demand {
    /// The file of keys.
    pub keys: PathBuf,
    /// The names in it.
    pub names: String,
}
