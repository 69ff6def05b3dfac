//! What the operator says of etcd: the value of `etcd` in `agent.json`, and the rules that it keeps.
//!
//! Knows nothing of requests. The files that it names are read anew for each connection: certificates are renewed
//! while an agent runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};
use ipnet::IpNet;
use serde::Deserialize;

use super::error::Error;

/// How long one request may take: an etcd that elects a new leader needs one to two seconds.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// A connection without packets is asked for life this often. Servers take more than one such question in five seconds
/// for an attack.
const PING: Duration = Duration::from_secs(10);

/// Below, a busy etcd's pause ends the lease of a node that lives; above, dead nodes keep their routes for too long.
const LEASE_SECONDS: std::ops::RangeInclusive<u32> = 3..=3600;

/// How etcd is reached, and what a node claims there.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EtcdSettings {
    /// URLs of etcd's members, `https://HOST:PORT` or `http://HOST:PORT`; one at a time is used.
    pub endpoints: Vec<String>,
    /// What all keys begin with; one for each cluster.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// Certificates of who may vouch for etcd, in PEM.
    pub ca: Option<PathBuf>,
    /// The node's own certificate, in PEM.
    pub certificate: Option<PathBuf>,
    /// The key of that certificate, in PEM.
    pub key: Option<PathBuf>,
    /// Who the node is to etcd's authentication.
    pub user: Option<String>,
    /// Holds that user's password.
    pub password_file: Option<PathBuf>,
    /// How large the blocks of nodes are.
    #[serde(default)]
    pub node_block: NodeBlock,
    /// How long a node that is silent counts as a member.
    #[serde(default = "default_lease_seconds")]
    pub lease_seconds: u32,
}

/// Prefix lengths of the blocks that nodes get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeBlock {
    /// Of IPv4.
    pub ipv4: u8,
    /// Of IPv6.
    pub ipv6: u8,
}

impl Default for NodeBlock {
    /// As Kubernetes' controller has them.
    fn default() -> Self {
        Self { ipv4: 24, ipv6: 64 }
    }
}

impl NodeBlock {
    /// The length for blocks out of this one.
    pub(super) fn length_in(self, cluster: &IpNet) -> u8 {
        match cluster {
            IpNet::V4(_) => self.ipv4,
            IpNet::V6(_) => self.ipv6,
        }
    }
}

fn default_prefix() -> String {
    "/podwire".to_owned()
}

fn default_lease_seconds() -> u32 {
    60
}

impl EtcdSettings {
    /// What can be known to be wrong without asking etcd.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.check_endpoints()?;
        let (prefix, lease, block) = (&self.prefix, self.lease_seconds, self.node_block);
        let rules = [
            (
                prefix.starts_with('/') && prefix.len() > 1 && !prefix.ends_with('/') && prefix.len() <= 200,
                "prefix",
                prefix.clone(),
                "it begins with / and does not end with it, in at most 200 bytes",
            ),
            (LEASE_SECONDS.contains(&lease), "leaseSeconds", lease.to_string(), "3 to 3600 are possible"),
            (
                (1..=30).contains(&block.ipv4),
                "nodeBlock.ipv4",
                block.ipv4.to_string(),
                "1 to 30 are possible: pods need addresses",
            ),
            (
                (1..=126).contains(&block.ipv6),
                "nodeBlock.ipv6",
                block.ipv6.to_string(),
                "1 to 126 are possible: pods need addresses",
            ),
        ];
        match rules.into_iter().find(|(kept, ..)| !kept) {
            Some((_, field, value, rule)) => Err(Error::Setting { field, value, rule }),
            None => self.check_pairs(),
        }
    }

    fn check_endpoints(&self) -> Result<(), Error> {
        let wrong =
            |value: &str, rule| Err(Error::Setting { field: "endpoints", value: value.to_owned(), rule });
        let is_url = |url: &&String| url.starts_with("https://") || url.starts_with("http://");
        if self.endpoints.is_empty() {
            return wrong("[]", "at least one URL of etcd is needed");
        }
        if let Some(url) = self.endpoints.iter().find(|url| !is_url(url)) {
            return wrong(url, "URLs such as https://192.168.1.10:2379 are meant");
        }
        match self.endpoints.iter().find(|url| url.starts_with("https://")) {
            Some(url) if self.ca.is_none() => wrong(url, "with https, `ca` has to name who vouches for etcd"),
            _ => Ok(()),
        }
    }

    fn check_pairs(&self) -> Result<(), Error> {
        let half = |field, rule| Err(Error::Setting { field, value: "left out".to_owned(), rule });
        match (&self.certificate, &self.key, &self.user, &self.password_file) {
            (Some(_), None, ..) => half("key", "it belongs to `certificate`"),
            (None, Some(_), ..) => half("certificate", "it belongs to `key`"),
            (_, _, Some(_), None) => half("passwordFile", "it belongs to `user`"),
            (_, _, None, Some(_)) => half("user", "it belongs to `passwordFile`"),
            _ => Ok(()),
        }
    }

    /// How to connect to an endpoint, with what the files say now.
    pub(super) fn options(&self, endpoint: &str) -> Result<ConnectOptions, Error> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(ANSWER)
            .with_timeout(ANSWER)
            .with_keep_alive(PING, ANSWER)
            // A member that lost the others would go on answering with what it last knew.
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if endpoint.starts_with("https://") {
            options = options.with_tls(self.tls()?);
        }
        if let (Some(user), Some(file)) = (&self.user, &self.password_file) {
            options = options.with_user(user, read(file)?.trim_end_matches(['\r', '\n']));
        }
        Ok(options)
    }

    fn tls(&self) -> Result<TlsOptions, Error> {
        let mut tls = TlsOptions::new();
        if let Some(file) = &self.ca {
            tls = tls.ca_certificate(Certificate::from_pem(read_pem(file, "CERTIFICATE")?));
        }
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            let certificate = read_pem(certificate, "CERTIFICATE")?;
            tls = tls.identity(Identity::from_pem(certificate, read_pem(key, "PRIVATE KEY")?));
        }
        Ok(tls)
    }
}

fn read(file: &Path) -> Result<String, Error> {
    std::fs::read_to_string(file).map_err(|source| Error::File { file: file.to_owned(), source })
}

/// What is no PEM would otherwise count as an empty list of certificates.
fn read_pem(file: &Path, what: &'static str) -> Result<String, Error> {
    let text = read(file)?;
    if text.contains("-----BEGIN ") && text.contains(&format!("{what}-----")) {
        return Ok(text);
    }
    Err(Error::NotPem { file: file.to_owned(), what })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        let settings: EtcdSettings = serde_json::from_str(text).map_err(|e| e.to_string())?;
        settings.check().map_err(|e| e.to_string())
    }

    #[test]
    fn endpoints_are_enough() {
        assert_eq!(check(r#"{"endpoints": ["http://127.0.0.1:2379"]}"#), Ok(()));
        let whole = r#"{"endpoints": ["https://a:1", "https://b:2"], "prefix": "/x/y", "ca": "/ca", "certificate": "/c",
            "key": "/k", "user": "u", "passwordFile": "/p", "nodeBlock": {"ipv4": 26}, "leaseSeconds": 3}"#;
        assert_eq!(check(whole), Ok(()));
        let settings: EtcdSettings = serde_json::from_str(whole).expect("well-formed");
        assert_eq!(settings.node_block, NodeBlock { ipv4: 26, ipv6: 64 });
    }

    #[test]
    fn each_mistake_is_named() {
        for (more, named) in [
            (r#""endpoints": []"#, "endpoints is []"),
            (r#""endpoints": ["a:1"]"#, "endpoints is a:1"),
            (r#""endpoints": ["https://a:1"]"#, "`ca`"),
            (r#""endpoints": ["http://a:1"], "prefix": "/""#, "prefix is /"),
            (r#""endpoints": ["http://a:1"], "prefix": "x""#, "prefix is x"),
            (r#""endpoints": ["http://a:1"], "leaseSeconds": 2"#, "leaseSeconds is 2"),
            (r#""endpoints": ["http://a:1"], "nodeBlock": {"ipv4": 31}"#, "nodeBlock.ipv4 is 31"),
            (r#""endpoints": ["http://a:1"], "nodeBlock": {"ipv6": 127}"#, "nodeBlock.ipv6 is 127"),
            (r#""endpoints": ["http://a:1"], "certificate": "/c""#, "key is left out"),
            (r#""endpoints": ["http://a:1"], "passwordFile": "/p""#, "user is left out"),
            (r#""endpoints": ["http://a:1"], "password": "p""#, "unknown field `password`"),
        ] {
            let error = check(&format!("{{{more}}}")).expect_err(more);
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = read_pem(file.path(), "CERTIFICATE").expect_err("empty").to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }
}
