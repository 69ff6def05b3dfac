//! The agent's settings, `agent.json` in /etc/podwire.
//!
//! Apart from `node.json`, which every ADD reads: nothing here concerns a pod.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::source::etcd::EtcdSettings;
use super::source::kubernetes::KubernetesSettings;
use crate::node::config;
use crate::plan::Role;

/// Why the agent's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] config::Error),
    /// A key that nobody knows.
    #[error("{}: {said}; did you mean `{nearest}`?", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Where and what.
        said: String,
        /// A key that there is.
        nearest: String,
    },
}

/// What `agent.json` says; everything may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What this machine does for the cluster.
    #[serde(default)]
    pub role: Role,
    /// Where the membership comes from.
    #[serde(default)]
    pub source: Source,
    /// Where metrics and health are told; none: nowhere.
    pub listen: Option<SocketAddr>,
    /// The network configuration whose pools follow the source; none: somebody else keeps it.
    pub conflist: Option<PathBuf>,
}

/// Who knows the cluster's members. One key: the name of the source, with its own settings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// `node.json` and `peers.json`.
    Static(Static),
    /// An etcd, which also gives each node its blocks.
    Etcd(EtcdSettings),
    /// The Nodes of a Kubernetes cluster.
    Kubernetes(KubernetesSettings),
}

/// Files lie where they lie: there is nothing to set.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Static {}

impl Default for Source {
    fn default() -> Self {
        Self::Static(Static::default())
    }
}

impl Source {
    /// Whether the members stand in the node's own files, so that everybody can ask the policy about them.
    pub fn is_files(&self) -> bool {
        matches!(self, Self::Static(_))
    }
}

impl Settings {
    /// Reads `agent.json`; a missing file says nothing.
    pub fn read(path: &Path) -> Result<Self, Error> {
        config::read(path).map(Option::unwrap_or_default).map_err(|error| named(path, error))
    }
}

/// With the key that was probably meant.
fn named(path: &Path, error: config::Error) -> Error {
    let config::Error::Malformed { source, .. } = &error else { return error.into() };
    let said = source.to_string();
    match nearest(&said).map(str::to_owned) {
        Some(nearest) => Error::Key { path: path.to_owned(), said, nearest },
        None => error.into(),
    }
}

/// serde names the unknown key first, and behind it those that there are.
fn nearest(said: &str) -> Option<&str> {
    let mut quoted = said.split('`').skip(1).step_by(2);
    let unknown = quoted.next().filter(|_| said.starts_with("unknown "))?;
    let distances = quoted.map(|known| (strsim::damerau_levenshtein(unknown, known), known));
    distances.filter(|(wrong, known)| wrong * 3 <= known.len()).min().map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, Error> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("agent.json");
        crate::state::write_atomically(&path, text.as_bytes()).expect("room");
        Settings::read(&path)
    }

    #[test]
    fn a_node_that_nobody_configured_reads_files_and_listens_nowhere() {
        let settings = Settings::read(Path::new("/nonexistent/agent.json")).expect("nothing said");
        assert!(matches!(settings.source, Source::Static(_)));
        assert_eq!((settings.role, settings.listen, settings.conflist), (Role::Host, None, None));
    }

    #[test]
    fn values_are_taken_as_they_are() {
        let text = r#"{"role": "router", "source": {"static": {}}, "listen": "127.0.0.1:9473",
            "conflist": "/etc/cni/net.d/10-podwire.conflist"}"#;
        let settings = read(text).expect("well-formed");
        assert_eq!(settings.role, Role::Router);
        assert_eq!(settings.listen, Some("127.0.0.1:9473".parse().expect("an address")));
        assert_eq!(settings.conflist.as_deref(), Some(Path::new("/etc/cni/net.d/10-podwire.conflist")));
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        for (text, nearest) in [
            (r#"{"rol": "host"}"#, "`role`"),
            (r#"{"listens": "127.0.0.1:1"}"#, "`listen`"),
            (r#"{"role": "ruoter"}"#, "`router`"),
            (r#"{"source": {"statik": {}}}"#, "`static`"),
        ] {
            let said = read(text).expect_err(text).to_string();
            assert!(said.ends_with(&format!("did you mean {nearest}?")), "{said}");
        }
        let said = read(r#"{"colour": "red"}"#).expect_err("unknown").to_string();
        assert!(said.contains("unknown field `colour`") && !said.contains("did you mean"), "{said}");
        assert!(read(r#"{"source": {"static": {"file": "x"}}}"#).is_err());
    }
}
