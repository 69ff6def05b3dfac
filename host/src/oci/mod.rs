//! Shipping: policies in OCI registries, and who signed them.
//!
//! Owns what is said to a registry, what an artifact is, and which signatures this node demands. Does not know how
//! a policy is installed: it hands over bytes that are what was asked for, or an [`Error`]. Only in the command for
//! people; the plugin asks nothing of the network.
//!
//! ```text
//! manifest ──▶ artifact: is it one component? ──▶ its digest pinned? ──▶ signed by a key? ──▶ component
//! ```
//!
//! What is wrong is found in this order, so a component that will not be installed is not even fetched.

mod artifact;
mod challenge;
mod client;
mod connection;
mod credentials;
mod error;
mod keys;
mod reference;
mod signature;

use std::path::Path;
use std::time::Duration;

use sha2::Digest as _;

use crate::names::Digest;
use crate::policy::Inspection;
use client::Client;

pub use error::{Demand, Error};
pub use keys::{Keys, PrivateKey};
pub use reference::{InvalidReference, Reference, SCHEME, Version};

/// How a registry is asked.
#[derive(Debug, Clone)]
pub struct Options {
    /// Without TLS, though it is not this machine.
    pub plain_http: bool,
    /// For all of it.
    pub timeout: Duration,
}

/// What has to be true of a component that is installed here.
#[derive(Debug)]
pub struct Demands<'a> {
    /// It has this digest.
    pub digest: Option<Digest>,
    /// One of these keys signed it.
    pub keys: Option<&'a Keys>,
}

impl Demands<'_> {
    fn check_digest(&self, what: &dyn std::fmt::Display, found: Digest) -> Result<(), Error> {
        match self.digest {
            Some(wanted) if wanted != found => {
                Err(Error::OtherDigest { what: what.to_string(), found, wanted })
            }
            _ => Ok(()),
        }
    }
}

/// An artifact that is as was demanded.
#[derive(Debug)]
pub struct Pulled {
    /// The component.
    pub component: Vec<u8>,
    /// The component's.
    pub digest: Digest,
    /// The manifest's, which pins the artifact: `oci://HOST/REPOSITORY@DIGEST`.
    pub manifest: Digest,
    /// Whose key signed it, if that was demanded.
    pub signed_by: Option<String>,
}

/// Fetches a component, of at most [`limits::COMPONENT_BYTES`](crate::policy::limits::COMPONENT_BYTES).
pub fn pull(reference: &Reference, demands: &Demands<'_>, options: &Options) -> Result<Pulled, Error> {
    let mut client = Client::to_pull(reference, options);
    let fetched = client.manifest(reference)?;
    let layer = artifact::component(reference, &fetched.content_type, &fetched.bytes)?;
    demands.check_digest(reference, layer.digest)?;
    let manifest = digest(&fetched.bytes);
    let signed_by = demands.keys.map(|keys| signer(&mut client, reference, manifest, keys)).transpose()?;
    Ok(Pulled { component: client.blob(&layer)?, digest: layer.digest, manifest, signed_by })
}

/// The name of the key that signed the manifest.
fn signer(
    client: &mut Client<'_>,
    reference: &Reference,
    manifest: Digest,
    keys: &Keys,
) -> Result<String, Error> {
    let what = reference.to_string();
    let place = signature::place(reference, manifest);
    let signatures = match client.manifest(&place) {
        Ok(found) => found.bytes,
        Err(Error::Absent { .. }) => {
            let remedy = "`podwire policy push --sign KEY`, or `cosign sign --key KEY`, signs it".to_owned();
            return Err(Error::Unsigned { what, demand: keys.demand(), remedy });
        }
        Err(error) => return Err(error),
    };
    for (layer, signature) in signature::layers(&signatures) {
        let payload = client.blob(&layer)?;
        if let Some(signer) = signature::signer(keys, manifest, &payload, &signature) {
            return Ok(signer.to_owned());
        }
    }
    Err(Error::WronglySigned { what, demand: keys.demand() })
}

/// Whether a component that came as a file is as was demanded: the name of who signed it, if that was.
pub fn check_file(path: &Path, component: &[u8], demands: &Demands<'_>) -> Result<Option<String>, Error> {
    demands.check_digest(&path.display(), digest(component))?;
    demands.keys.map(|keys| signature::of_file(keys, path, component)).transpose()
}

/// Puts a component there, signed if there is a key: the digest of its manifest.
pub fn push(
    reference: &Reference,
    component: &[u8],
    found: &Inspection,
    key: Option<&PrivateKey>,
    options: &Options,
) -> Result<Digest, Error> {
    if matches!(reference.version(), Version::Manifest(_)) {
        return Err(Error::PushToDigest { reference: reference.clone() });
    }
    let mut client = Client::to_push(reference, options);
    let (config, manifest) = artifact::describe(component, found);
    client.push_blob(component)?;
    client.push_blob(&config)?;
    // Signed before it has its name: whoever asks for the name finds the signature.
    if let Some(key) = key {
        sign(&mut client, reference, digest(&manifest), key)?;
    }
    client.push_manifest(reference, &manifest)?;
    Ok(digest(&manifest))
}

fn sign(
    client: &mut Client<'_>,
    reference: &Reference,
    manifest: Digest,
    key: &PrivateKey,
) -> Result<(), Error> {
    let place = signature::place(reference, manifest);
    let others = match client.manifest(&place) {
        Ok(found) => Some(found.bytes),
        Err(Error::Absent { .. }) => None,
        Err(error) => return Err(error),
    };
    let signed = signature::sign(reference, manifest, key, others.as_deref());
    client.push_blob(&signed.payload)?;
    client.push_blob(&signed.config)?;
    client.push_manifest(&place, &signed.manifest)
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(sha2::Sha256::digest(bytes).into())
}
