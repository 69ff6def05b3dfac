//! A registry's HTTP interface (OCI distribution specification), as far as policies need it.
//!
//! Owns connections, who asks, and every bound: no answer is read beyond what it may have, and all of it ends in
//! time. What the bytes mean, others know.
//!
//! ureq and not the crate oci-client: that brings some hundred crates and an asynchronous runtime, and reads
//! manifests, tokens and errors of any length into memory.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::ring::default_provider;
use serde::Deserialize;
use ureq::http::{HeaderMap, Request, StatusCode, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::artifact::{ACCEPTED, Descriptor, MANIFEST, MANIFEST_BYTES};
use super::challenge::Challenge;
use super::credentials::{self, Credentials};
use super::{Error, Options, Reference, Version, digest};

type Response = ureq::http::Response<Body>;

/// Bytes of an error that a registry sends, or of a token.
const WORDS: u64 = 64 << 10;

/// What of a registry's own words gets into an error.
const QUOTE: usize = 200;

/// How long a connection may take: an address at which nobody answers need not use up all the time.
const CONNECT: Duration = Duration::from_secs(15);

/// One repository of a registry.
pub(super) struct Client<'a> {
    agent: Agent,
    reference: &'a Reference,
    scheme: &'static str,
    /// What for, in the words of a token's scope.
    actions: &'static str,
    authorization: Option<String>,
    asked_as: Option<Credentials>,
    limit: Duration,
    deadline: Instant,
}

/// A manifest as it was sent.
pub(super) struct Fetched {
    pub(super) bytes: Vec<u8>,
    pub(super) content_type: String,
}

impl<'a> Client<'a> {
    pub(super) fn to_pull(reference: &'a Reference, options: &Options) -> Self {
        Self::new(reference, options, "pull")
    }

    pub(super) fn to_push(reference: &'a Reference, options: &Options) -> Self {
        Self::new(reference, options, "pull,push")
    }

    fn new(reference: &'a Reference, options: &Options, actions: &'static str) -> Self {
        let plain = options.plain_http || reference.is_local();
        Self {
            agent: agent(plain, reference.is_local()),
            reference,
            scheme: if plain { "http" } else { "https" },
            actions,
            authorization: None,
            asked_as: None,
            limit: options.timeout,
            deadline: Instant::now() + options.timeout,
        }
    }

    /// The manifest of a version of this repository, whose digest is the version's if it is one.
    pub(super) fn manifest(&mut self, reference: &Reference) -> Result<Fetched, Error> {
        let version = reference.version();
        let request = Request::get(self.url(&format!("manifests/{version}")))
            .header(header::ACCEPT, ACCEPTED.join(", "));
        let mut response = self.ask(request, None)?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(Error::Absent { reference: reference.clone() });
        }
        let what = format!("the manifest of {reference}");
        self.expect(&mut response, &[StatusCode::OK], &what)?;
        let bytes = self.read(&mut response, MANIFEST_BYTES, &what)?;
        match version {
            Version::Manifest(wanted) if digest(&bytes) != *wanted => Err(self.tampered(&what)),
            _ => Ok(Fetched {
                content_type: response.body().mime_type().unwrap_or_default().to_owned(),
                bytes,
            }),
        }
    }

    /// A blob, which is what its descriptor says.
    pub(super) fn blob(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let what = format!("the blob {} of {}", descriptor.digest, self.reference);
        let request = Request::get(self.url(&format!("blobs/{}", descriptor.digest)));
        let mut response = self.ask(request, None)?;
        self.expect(&mut response, &[StatusCode::OK], &what)?;
        let bytes = self.read(&mut response, descriptor.size, &what)?;
        if digest(&bytes) == descriptor.digest { Ok(bytes) } else { Err(self.tampered(&what)) }
    }

    /// Puts a blob there, unless it is there already.
    pub(super) fn push_blob(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let digest = digest(bytes);
        let what = format!("a blob of {} bytes for {}", bytes.len(), self.reference);
        let head = Request::head(self.url(&format!("blobs/{digest}")));
        if self.ask(head, None)?.status() == StatusCode::OK {
            return Ok(());
        }
        let mut begun = self.ask(Request::post(self.url("blobs/uploads/")), Some(&[]))?;
        self.expect(&mut begun, &[StatusCode::ACCEPTED], &what)?;
        let location = begun.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        let location = self.absolute(location.unwrap_or_default());
        let separator = if location.contains('?') { '&' } else { '?' };
        let put = Request::put(format!("{location}{separator}digest={digest}"))
            .header(header::CONTENT_TYPE, "application/octet-stream");
        let mut done = self.ask(put, Some(bytes))?;
        self.expect(&mut done, &[StatusCode::CREATED, StatusCode::NO_CONTENT], &what)
    }

    /// Makes the manifest that version.
    pub(super) fn push_manifest(&mut self, reference: &Reference, manifest: &[u8]) -> Result<(), Error> {
        let put = Request::put(self.url(&format!("manifests/{}", reference.version())));
        let mut done = self.ask(put.header(header::CONTENT_TYPE, MANIFEST), Some(manifest))?;
        self.expect(
            &mut done,
            &[StatusCode::CREATED, StatusCode::OK],
            &format!("the manifest of {reference}"),
        )
    }

    fn url(&self, path: &str) -> String {
        format!("{}/v2/{}/{path}", self.origin(), self.reference.repository())
    }

    fn origin(&self) -> String {
        let registry = match self.reference.registry() {
            // Its name for people, and its name for programs.
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        format!("{}://{registry}", self.scheme)
    }

    fn absolute(&self, location: &str) -> String {
        if location.starts_with('/') { format!("{}{location}", self.origin()) } else { location.to_owned() }
    }

    /// Asks, and once more if the registry wants to know who asks.
    fn ask(&mut self, request: ureq::http::request::Builder, body: Option<&[u8]>) -> Result<Response, Error> {
        let request = request.body(()).map_err(|error| self.unreachable(&error))?;
        let response = self.send(&request, body)?;
        if response.status() != StatusCode::UNAUTHORIZED || self.authorization.is_some() {
            return Ok(response);
        }
        self.authorization = self.introduce(response.headers())?;
        self.send(&request, body)
    }

    fn send(&self, request: &Request<()>, body: Option<&[u8]>) -> Result<Response, Error> {
        let mut request = request.clone();
        // A registry may send an upload elsewhere; who asks is nobody's business there.
        let here = request.uri().to_string().starts_with(&format!("{}/", self.origin()));
        if let Some(value) = self.authorization.as_ref().filter(|_| here).and_then(|value| value.parse().ok())
        {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
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

    fn left(&self) -> Result<Duration, Error> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.slow()) } else { Ok(left) }
    }

    /// The value of `Authorization` that answers the challenge.
    fn introduce(&mut self, headers: &HeaderMap) -> Result<Option<String>, Error> {
        let challenges =
            headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenge = Challenge::of(challenges);
        self.asked_as = credentials::of(self.reference)?;
        match challenge {
            Some(Challenge::Bearer { realm, service }) => self.token(&realm, service.as_deref()).map(Some),
            _ => Ok(self.asked_as.as_ref().map(Credentials::basic)),
        }
    }

    /// A token for this repository, from where the registry says that there are some.
    fn token(&self, realm: &str, service: Option<&str>) -> Result<String, Error> {
        let mut request = self.agent.get(realm).query("scope", self.scope());
        if let Some(service) = service {
            request = request.query("service", service);
        }
        if let Some(credentials) = &self.asked_as {
            request = request.header(header::AUTHORIZATION, credentials.basic());
        }
        let request = request.config().timeout_global(Some(self.left()?)).build();
        let mut response = request.call().map_err(|error| self.failed(error))?;
        let what = format!("a token from {realm:?}");
        self.expect(&mut response, &[StatusCode::OK], &what)?;
        let bytes = self.read(&mut response, WORDS, &what)?;
        let token =
            serde_json::from_slice::<Token>(&bytes).ok().and_then(|token| token.token.or(token.access_token));
        token.map(|token| format!("Bearer {token}")).ok_or_else(|| self.tampered(&what))
    }

    fn scope(&self) -> String {
        let repository = self.reference.repository();
        format!("repository:{repository}:{}", self.actions)
    }

    /// An error unless the status is one of these.
    fn expect(&self, response: &mut Response, wanted: &[StatusCode], what: &str) -> Result<(), Error> {
        let status = response.status();
        if wanted.contains(&status) {
            return Ok(());
        }
        if status == StatusCode::UNAUTHORIZED || (status == StatusCode::FORBIDDEN && self.asked_as.is_none())
        {
            return Err(self.unauthorized());
        }
        let said = response.body_mut().with_config().limit(WORDS).read_to_vec().unwrap_or_default();
        let status =
            if status.is_redirection() { format!("{status}, a redirection") } else { status.to_string() };
        let (what, status) = (what.to_owned(), status.to_string());
        Err(Error::Refused { registry: self.registry(), what, status, said: said_in(&said) })
    }

    /// At most that many bytes.
    fn read(&self, response: &mut Response, limit: u64, what: &str) -> Result<Vec<u8>, Error> {
        response.body_mut().with_config().limit(limit).read_to_vec().map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => {
                Error::Endless { registry: self.registry(), what: what.to_owned(), limit }
            }
            error => self.failed(error),
        })
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

    fn unreachable(&self, reason: &dyn Display) -> Error {
        Error::Unreachable { registry: self.registry(), reason: reason.to_string() }
    }

    fn slow(&self) -> Error {
        Error::Slow { registry: self.registry(), limit: self.limit }
    }

    fn tampered(&self, what: &str) -> Error {
        Error::Tampered { registry: self.registry(), what: what.to_owned() }
    }

    fn unauthorized(&self) -> Error {
        let known = match &self.asked_as {
            Some(known) => {
                format!("does not take user {:?} with the password in {}", known.user, known.file.display())
            }
            None => "no docker configuration says".to_owned(),
        };
        Error::Unauthorized { registry: self.registry(), known }
    }

    fn registry(&self) -> String {
        self.reference.registry().to_owned()
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

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// A registry's own words, by the specification's form of errors, made fit for a line.
fn said_in(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Message>,
    }
    #[derive(Deserialize)]
    struct Message {
        code: String,
        #[serde(default)]
        message: String,
    }
    let errors = serde_json::from_slice::<Errors>(body).map(|errors| errors.errors).unwrap_or_default();
    errors.first().map_or_else(String::new, |first| {
        let words = format!("{}: {}", first.code, first.message);
        // Debug escapes what could hide or forge a line.
        format!(", {:?}", words.chars().take(QUOTE).collect::<String>())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_words_stay_on_their_line() {
        let body = r#"{"errors":[{"code":"DENIED","message":"no\nERROR root pwned\u202e"}]}"#;
        assert_eq!(said_in(body.as_bytes()), r#", "DENIED: no\nERROR root pwned\u{202e}""#);
        assert_eq!(said_in(b"<html>"), "");
        let long = format!(r#"{{"errors":[{{"code":"A","message":"{}"}}]}}"#, "b".repeat(10 * QUOTE));
        assert!(said_in(long.as_bytes()).len() < QUOTE + 10);
    }
}
