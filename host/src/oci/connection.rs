//! The way to a registry: HTTP, TLS, proxies.
//!
//! Owns every bound, and what is said when something fails on the way: no answer is read beyond what it may have,
//! and all of them together end in time. Knows nothing of artifacts.
//!
//! ureq and not the crate oci-client: that brings some hundred crates and an asynchronous runtime, and reads
//! manifests, tokens and errors of any length into memory.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::ring::default_provider;
use ureq::http::{Request, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::{Error, Options, Reference};

pub(super) type Response = ureq::http::Response<Body>;

/// How long it may take to be connected: an address at which nobody answers need not use up all the time.
const CONNECT: Duration = Duration::from_secs(15);

/// To one registry, and to wherever it sends us.
pub(super) struct Connection<'a> {
    agent: Agent,
    registry: &'a str,
    origin: String,
    limit: Duration,
    deadline: Instant,
}

impl<'a> Connection<'a> {
    pub(super) fn new(reference: &'a Reference, options: &Options) -> Self {
        let plain = options.plain_http || reference.is_local();
        let host = match reference.registry() {
            // Its name for people, and its name for programs.
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        Self {
            agent: agent(plain, reference.is_local()),
            registry: reference.registry(),
            origin: format!("{}://{host}", if plain { "http" } else { "https" }),
            limit: options.timeout,
            deadline: Instant::now() + options.timeout,
        }
    }

    /// `HOST[:PORT]`, for errors.
    pub(super) fn registry(&self) -> String {
        self.registry.to_owned()
    }

    /// A path of this registry, as a URL.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// Whether that is this registry: who asks is nobody else's business.
    pub(super) fn is_its_own(&self, url: &str) -> bool {
        url.strip_prefix(&self.origin).is_some_and(|path| path.starts_with('/'))
    }

    pub(super) fn send(&self, request: Request<()>, body: Option<&[u8]>) -> Result<Response, Error> {
        let left = Some(self.left()?);
        let sent = match body {
            Some(body) => {
                let request = request.map(|()| body);
                self.agent.run(self.agent.configure_request(request).timeout_global(left).build())
            }
            None => self.agent.run(self.agent.configure_request(request).timeout_global(left).build()),
        };
        sent.map_err(|error| self.failed(error))
    }

    /// Asks somebody else.
    pub(super) fn get(
        &self,
        url: &str,
        query: &[(&str, &str)],
        authorization: Option<String>,
    ) -> Result<Response, Error> {
        let mut request = self.agent.get(url).query_pairs(query.iter().copied());
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.config().timeout_global(Some(self.left()?)).build();
        request.call().map_err(|error| self.failed(error))
    }

    /// An answer of at most that many bytes.
    pub(super) fn read(&self, response: &mut Response, limit: u64, what: &str) -> Result<Vec<u8>, Error> {
        response.body_mut().with_config().limit(limit).read_to_vec().map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => {
                Error::Endless { registry: self.registry(), what: what.to_owned(), limit }
            }
            error => self.failed(error),
        })
    }

    fn left(&self) -> Result<Duration, Error> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.slow()) } else { Ok(left) }
    }

    fn failed(&self, error: ureq::Error) -> Error {
        let registry = self.registry();
        match error {
            // While a connection is made, only the whole time's end says that the time was too short.
            ureq::Error::Timeout(ureq::Timeout::Connect) => self.unreachable(&"nobody answers there"),
            ureq::Error::Timeout(_) => self.slow(),
            ureq::Error::Rustls(error) => Error::Untrusted { registry, reason: error.to_string() },
            ureq::Error::Tls(reason) => Error::Untrusted { registry, reason: reason.to_owned() },
            ureq::Error::Io(error) => {
                match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                    Some(error) => Error::Untrusted { registry, reason: error.to_string() },
                    None => self.unreachable(&error),
                }
            }
            ureq::Error::HostNotFound => self.unreachable(&"no machine of that name is known"),
            error => self.unreachable(&error),
        }
    }

    pub(super) fn unreachable(&self, reason: &dyn Display) -> Error {
        Error::Unreachable { registry: self.registry(), reason: reason.to_string() }
    }

    fn slow(&self) -> Error {
        Error::Slow { registry: self.registry(), limit: self.limit }
    }
}

fn agent(plain: bool, local: bool) -> Agent {
    // What the machine trusts, or SSL_CERT_FILE.
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(default_provider()))
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .https_only(!plain)
        .http_status_as_error(false)
        .timeout_connect(Some(CONNECT))
        .user_agent(concat!("podwire/", env!("CARGO_PKG_VERSION")));
    // Through a proxy, this machine's loopback would be the proxy's own.
    let config = if local { config.proxy(None) } else { config };
    config.build().new_agent()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(reference: &str, plain_http: bool) -> String {
        let reference = reference.parse().unwrap();
        let options = Options { plain_http, timeout: Duration::from_secs(1) };
        Connection::new(&reference, &options).url("/v2/")
    }

    #[test]
    fn only_this_machine_is_asked_without_tls_unless_somebody_says_so() {
        assert_eq!(url("oci://r.test:5000/a", false), "https://r.test:5000/v2/");
        assert_eq!(url("oci://r.test:5000/a", true), "http://r.test:5000/v2/");
        assert_eq!(url("oci://127.0.0.1:5000/a", false), "http://127.0.0.1:5000/v2/");
        assert_eq!(url("oci://docker.io/library/a", false), "https://registry-1.docker.io/v2/");
    }

    #[test]
    fn another_host_port_or_scheme_is_another_registry() {
        let reference = "oci://r.test/a".parse().unwrap();
        let options = Options { plain_http: false, timeout: Duration::from_secs(1) };
        let connection = Connection::new(&reference, &options);
        assert!(connection.is_its_own("https://r.test/v2/a/blobs/uploads/1?state=x"));
        for other in
            ["http://r.test/v2/", "https://r.test.evil/v2/", "https://r.test:444/v2/", "https://r.test@evil/"]
        {
            assert!(!connection.is_its_own(other), "{other}");
        }
    }
}
