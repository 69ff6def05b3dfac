//! What names an artifact: `oci://HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]`.
//!
//! The grammar is the OCI distribution specification's; nothing is asked of the network here.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::names::Digest;

/// With what a reference begins, so that nobody takes it for a file.
pub const SCHEME: &str = "oci://";

/// Characters of a tag, at most (OCI distribution specification, "Pulling manifests").
const TAG: usize = 128;

/// Characters of a host, its port and a repository, at most: what registries take together.
const NAME: usize = 255;

/// An artifact in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    registry: String,
    repository: String,
    version: Version,
}

/// Which of a repository's artifacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// Whatever has that name now.
    Tag(String),
    /// One that never changes: the digest of its manifest.
    Manifest(Digest),
}

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {reason}: write oci://HOST[:PORT]/REPOSITORY[:TAG][@sha256:…]")]
pub struct InvalidReference {
    text: String,
    reason: &'static str,
}

impl Reference {
    /// `HOST[:PORT]`
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// `REPOSITORY`
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// What stands behind the repository.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The last word of the repository, which usually says what it holds.
    pub fn name(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or_default()
    }

    /// Another version of the same repository.
    pub(super) fn with(&self, version: Version) -> Self {
        Self { version, ..self.clone() }
    }

    /// Whether the registry is this machine by its address: what is sent there, nobody else reads.
    pub(super) fn is_local(&self) -> bool {
        let host = match self.registry.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => &self.registry,
        };
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;
    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let wrong = |reason| InvalidReference { text: text.to_owned(), reason };
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| wrong("does not begin with oci://"))?;
        let (registry, rest) = rest.split_once('/').ok_or_else(|| wrong("names no repository"))?;
        let (name, digest) = match rest.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (rest, None),
        };
        let (repository, tag) = name.split_once(':').unwrap_or((name, "latest"));
        if !is_host(registry) {
            return Err(wrong("does not begin with a host"));
        }
        if !repository.split('/').all(is_path_element) || registry.len() + repository.len() > NAME {
            return Err(wrong("has a repository that no registry takes"));
        }
        if !is_tag(tag) {
            return Err(wrong("has a tag that no registry takes"));
        }
        let version = match digest.map(str::parse) {
            Some(Ok(digest)) => Version::Manifest(digest),
            Some(Err(_)) => return Err(wrong("has a digest that is not sha256: and 64 hexadecimal digits")),
            None => Version::Tag(tag.to_owned()),
        };
        Ok(Self { registry: registry.to_owned(), repository: repository.to_owned(), version })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.registry, self.repository)?;
        match &self.version {
            Version::Tag(tag) => write!(f, ":{tag}"),
            Version::Manifest(digest) => write!(f, "@{digest}"),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Manifest(digest) => digest.fmt(f),
        }
    }
}

fn is_host(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '[' || c == ']');
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    ends(text.chars().next()) && ends(text.chars().next_back()) && text.chars().all(inside)
}

fn is_path_element(text: &str) -> bool {
    let end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(end)
        && text.ends_with(end)
        && text.chars().all(|c| end(c) || matches!(c, '.' | '_' | '-'))
}

fn is_tag(text: &str) -> bool {
    let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= TAG && text.starts_with(first) && text.chars().all(|c| first(c) || matches!(c, '.' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(text: &str) -> Reference {
        text.parse().unwrap()
    }

    #[test]
    fn a_reference_has_a_host_a_repository_and_a_version() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (text, registry, repository, version) in [
            ("oci://registry.example/a/b-c/d:1.2", "registry.example", "a/b-c/d", "1.2"),
            ("oci://localhost:5000/tenant", "localhost:5000", "tenant", "latest"),
            ("oci://[::1]:5000/tenant:x", "[::1]:5000", "tenant", "x"),
            (&format!("oci://r.test/a@{digest}"), "r.test", "a", &digest),
            (&format!("oci://r.test/a:ignored@{digest}"), "r.test", "a", &digest),
        ] {
            let found = reference(text);
            let parts = (found.registry(), found.repository(), found.version().to_string());
            assert_eq!(parts, (registry, repository, version.to_owned()), "{text}");
            assert_eq!(found.to_string().parse(), Ok(found), "{text}");
        }
        assert_eq!(reference("oci://registry.example/policies/tenant").name(), "tenant");
    }

    #[test]
    fn what_no_registry_takes_is_refused_with_the_form() {
        for (text, reason) in [
            ("registry.example/a/b", "does not begin with oci://"),
            ("oci://registry.example", "names no repository"),
            ("oci:///a", "does not begin with a host"),
            ("oci://user:secret@registry.example/a", "does not begin with a host"),
            ("oci://registry.example/", "has a repository"),
            ("oci://registry.example/A", "has a repository"),
            ("oci://registry.example/a//b", "has a repository"),
            ("oci://registry.example/../b", "has a repository"),
            ("oci://registry.example/a?b", "has a repository"),
            ("oci://registry.example/a:", "has a tag"),
            ("oci://registry.example/a:-b", "has a tag"),
            ("oci://registry.example/a:b/c", "has a tag"),
            ("oci://registry.example/a@sha256:12", "has a digest"),
            ("oci://registry.example/a@md5:12", "has a digest"),
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("oci://HOST"), "{text}: {error}");
        }
    }

    #[test]
    fn only_addresses_of_this_machine_are_local() {
        for local in
            ["oci://localhost/a", "oci://127.0.0.1:5000/a", "oci://127.9.9.9/a", "oci://[::1]:5000/a"]
        {
            assert!(reference(local).is_local(), "{local}");
        }
        for remote in ["oci://localhost.example/a", "oci://10.0.0.1:5000/a", "oci://127.example/a"] {
            assert!(!reference(remote).is_local(), "{remote}");
        }
    }
}
