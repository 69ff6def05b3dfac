//! A registry's HTTP interface (OCI distribution specification), as far as policies need it.
//!
//! Owns what is asked and who asks. What the bytes mean, others know.

use serde::Deserialize;
use ureq::ResponseExt as _;
use ureq::http::{HeaderMap, Request, StatusCode, header};

use super::artifact::{ACCEPTED, Descriptor, MANIFEST, MANIFEST_BYTES};
use super::challenge::Challenge;
use super::connection::{Connection, Response};
use super::credentials::{self, Credentials};
use super::{Error, Options, Reference, Version, digest};

/// Bytes of an error that a registry sends, or of a token.
const WORDS: u64 = 64 << 10;

/// What of a registry's own words gets into an error.
const QUOTE: usize = 200;

/// One repository of a registry.
pub(super) struct Client<'a> {
    connection: Connection<'a>,
    reference: &'a Reference,
    /// What for, in the words of a token's scope.
    actions: &'static str,
    authorization: Option<String>,
    asked_as: Option<Credentials>,
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
        let connection = Connection::new(reference, options);
        Self { connection, reference, actions, authorization: None, asked_as: None }
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
        let bytes = self.connection.read(&mut response, MANIFEST_BYTES, &what)?;
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
        let bytes = self.connection.read(&mut response, descriptor.size, &what)?;
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
        let location = match location.unwrap_or_default() {
            path if path.starts_with('/') => self.connection.url(path),
            url => url.to_owned(),
        };
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
        let what = format!("the manifest of {reference}");
        self.expect(&mut done, &[StatusCode::CREATED, StatusCode::OK], &what)
    }

    fn url(&self, path: &str) -> String {
        self.connection.url(&format!("/v2/{}/{path}", self.reference.repository()))
    }

    /// Asks, and once more if the registry wants to know who asks, or has forgotten it since.
    fn ask(&mut self, request: ureq::http::request::Builder, body: Option<&[u8]>) -> Result<Response, Error> {
        let request = request.body(()).map_err(|error| self.connection.unreachable(&error))?;
        let response = self.send(&request, body)?;
        // Wherever a registry sends us, nobody else may ask for its password.
        let is_asked = self.connection.is_its_own(&response.get_uri().to_string());
        if response.status() != StatusCode::UNAUTHORIZED || !is_asked {
            return Ok(response);
        }
        self.authorization = self.introduce(response.headers())?;
        self.send(&request, body)
    }

    fn send(&self, request: &Request<()>, body: Option<&[u8]>) -> Result<Response, Error> {
        let mut request = request.clone();
        // A registry may send an upload elsewhere.
        let here = self.connection.is_its_own(&request.uri().to_string());
        let authorization = self.authorization.as_ref().filter(|_| here);
        if let Some(value) = authorization.and_then(|value| value.parse().ok()) {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        self.connection.send(request, body)
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
        let scope = format!("repository:{}:{}", self.reference.repository(), self.actions);
        let mut query = vec![("scope", scope.as_str())];
        query.extend(service.map(|service| ("service", service)));
        let authorization = self.asked_as.as_ref().map(Credentials::basic);
        let mut response = self.connection.get(realm, &query, authorization)?;
        let what = format!("a token from {realm:?}");
        self.expect(&mut response, &[StatusCode::OK], &what)?;
        let bytes = self.connection.read(&mut response, WORDS, &what)?;
        let token =
            serde_json::from_slice::<Token>(&bytes).ok().and_then(|token| token.token.or(token.access_token));
        token.map(|token| format!("Bearer {token}")).ok_or_else(|| self.tampered(&what))
    }

    /// An error unless the status is one of these.
    fn expect(&self, response: &mut Response, wanted: &[StatusCode], what: &str) -> Result<(), Error> {
        let status = response.status();
        if wanted.contains(&status) {
            return Ok(());
        }
        let anonymous = self.asked_as.is_none();
        if status == StatusCode::UNAUTHORIZED || (status == StatusCode::FORBIDDEN && anonymous) {
            return Err(self.unauthorized());
        }
        let said = self.connection.read(response, WORDS, what).unwrap_or_default();
        let (what, status) = (what.to_owned(), status.to_string());
        Err(Error::Refused { registry: self.connection.registry(), what, status, said: said_in(&said) })
    }

    fn tampered(&self, what: &str) -> Error {
        Error::Tampered { registry: self.connection.registry(), what: what.to_owned() }
    }

    fn unauthorized(&self) -> Error {
        let known = match &self.asked_as {
            Some(known) => {
                format!("does not take user {:?} with the password in {}", known.user, known.file.display())
            }
            None => "no docker configuration says".to_owned(),
        };
        Error::Unauthorized { registry: self.connection.registry(), known }
    }
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
