//! Who asks: user and password for a registry, as `docker login` and `podman login` leave them.
//!
//! | file | of |
//! | --- | --- |
//! | `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json` | docker |
//! | `$REGISTRY_AUTH_FILE`, else `$XDG_RUNTIME_DIR/containers/auth.json`, else `/run/containers/UID/auth.json` | podman |
//!
//! The first that knows the registry counts. No program is run for them: see [`Error::Helper`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::{Error, Reference};

/// User and password. Nothing prints them.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    /// Where they come from.
    pub(super) file: PathBuf,
    pub(super) user: String,
    password: String,
}

impl Credentials {
    /// The value of the header `Authorization`, by RFC 7617.
    pub(super) fn basic(&self) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }
}

/// A configuration of docker's or podman's, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: String,
}

#[derive(Deserialize)]
struct Auth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    identitytoken: String,
}

/// What this user's configuration says for the artifact's registry.
pub(super) fn of(reference: &Reference) -> Result<Option<Credentials>, Error> {
    for file in files(|name| std::env::var_os(name).filter(|value| !value.is_empty())) {
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unusable(&file, reference, &error)),
        };
        if let Some(credentials) = in_config(&file, &text, reference)? {
            return Ok(Some(credentials));
        }
    }
    Ok(None)
}

fn files(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let below = |name: &str, path: &str| variable(name).map(|folder| Path::new(&folder).join(path));
    let docker = below("DOCKER_CONFIG", "config.json").or_else(|| below("HOME", ".docker/config.json"));
    let podman = variable("REGISTRY_AUTH_FILE").map(PathBuf::from);
    let podman = podman.or_else(|| below("XDG_RUNTIME_DIR", "containers/auth.json"));
    let without_session =
        || format!("/run/containers/{}/auth.json", rustix::process::getuid().as_raw()).into();
    [docker, Some(podman.unwrap_or_else(without_session))].into_iter().flatten().collect()
}

fn in_config(file: &Path, text: &str, reference: &Reference) -> Result<Option<Credentials>, Error> {
    // serde_json's own words would quote what is in the file.
    let config: Config = serde_json::from_str(text).map_err(|error| {
        unusable(file, reference, &format!("line {} is not as docker writes it", error.line()))
    })?;
    let known = most_specific(&config.auths, reference);
    if let Some(auth) = known.filter(|auth| !auth.auth.is_empty()) {
        return decode(file, auth, reference).map(Some);
    }
    let store = Some(&config.creds_store).filter(|store| known.is_some() && !store.is_empty());
    match most_specific(&config.cred_helpers, reference).or(store) {
        Some(helper) => Err(Error::Helper {
            file: file.to_owned(),
            registry: reference.registry().to_owned(),
            helper: helper.clone(),
        }),
        None => Ok(None),
    }
}

/// The entry for the repository, else for a folder above it (podman has both), else for the registry.
fn most_specific<'a, T>(entries: &'a BTreeMap<String, T>, reference: &Reference) -> Option<&'a T> {
    let wanted = format!("{}/{}", reference.registry(), reference.repository());
    let covers =
        |key: &str| wanted.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let entries = entries.iter().map(|(key, entry)| (plain(key), entry));
    entries.filter(|(key, _)| covers(key)).max_by_key(|(key, _)| key.len()).map(|(_, entry)| entry)
}

/// docker also writes `https://HOST/v1/`, and that for its own registry.
fn plain(key: &str) -> &str {
    let key = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let key = key.trim_end_matches("/v1").trim_end_matches("/v2");
    if key == "index.docker.io" { "docker.io" } else { key }
}

fn decode(file: &Path, auth: &Auth, reference: &Reference) -> Result<Credentials, Error> {
    if !auth.identitytoken.is_empty() {
        let reason = "it holds an identity token, which podwire cannot exchange: log in with a password or an \
                      access token";
        return Err(unusable(file, reference, &reason));
    }
    let wrong = || unusable(file, reference, &"its `auth` is not USER:PASSWORD in base64: log in again");
    let bytes = BASE64_STANDARD.decode(&auth.auth).map_err(|_| wrong())?;
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    let (user, password) = text.trim_end_matches('\0').split_once(':').ok_or_else(wrong)?;
    Ok(Credentials { file: file.to_owned(), user: user.to_owned(), password: password.to_owned() })
}

fn unusable(file: &Path, reference: &Reference, reason: &dyn std::fmt::Display) -> Error {
    let registry = reference.registry().to_owned();
    Error::Credentials { file: file.to_owned(), registry, reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const FILE: &str = "/home/user/.docker/config.json";

    fn auth(text: &str) -> Value {
        json!({ "auth": BASE64_STANDARD.encode(text) })
    }

    fn asked(config: &Value, reference: &str) -> Result<Option<String>, String> {
        let found = in_config(Path::new(FILE), &config.to_string(), &reference.parse().unwrap());
        let found = found.map_err(|error| error.to_string())?;
        Ok(found.map(|found| format!("{}:{}", found.user, found.password)))
    }

    #[test]
    fn the_most_specific_entry_counts() {
        let config = json!({ "auths": {
            "r.test": auth("all:1"), "r.test/team": auth("team:2"), "r.test/team/a": auth("a:3"),
            "https://v1.test/v1/": auth("old:4"), "https://index.docker.io/v1/": auth("hub:5:6"),
            "r.test:5000": auth("port:7"),
        }});
        for (reference, expected) in [
            ("oci://r.test/x", Some("all:1")),
            ("oci://r.test/team/x", Some("team:2")),
            ("oci://r.test/team/a", Some("a:3")),
            ("oci://r.test/team-b/x", Some("all:1")),
            ("oci://r.test:5000/x", Some("port:7")),
            ("oci://v1.test/x", Some("old:4")),
            ("oci://docker.io/library/x", Some("hub:5:6")),
            ("oci://other.test/x", None),
        ] {
            assert_eq!(asked(&config, reference).unwrap().as_deref(), expected, "{reference}");
        }
    }

    #[test]
    fn helpers_are_named_and_not_run() {
        let config = json!({
            "credHelpers": { "ecr.test": "ecr-login" }, "credsStore": "desktop",
            "auths": { "stored.test": {}, "plain.test": auth("a:b") },
        });
        assert!(asked(&config, "oci://ecr.test/x").unwrap_err().contains("docker-credential-ecr-login"));
        assert!(asked(&config, "oci://stored.test/x").unwrap_err().contains("docker-credential-desktop"));
        assert_eq!(asked(&config, "oci://plain.test/x").unwrap().as_deref(), Some("a:b"));
        // docker would ask its store for every registry; that it has nothing for one is most likely.
        assert_eq!(asked(&config, "oci://public.test/x"), Ok(None));
    }

    #[test]
    fn what_cannot_be_used_is_named_and_not_shown() {
        let token = json!({ "auth": "c2VjcmV0OnNlY3JldA==", "identitytoken": "secret" });
        for (entry, reason) in [
            (token, "identity token"),
            (json!({ "auth": "secret!" }), "USER:PASSWORD"),
            (auth("secret"), "USER:PASSWORD"),
            (json!("secret"), "line 1"),
        ] {
            let error = asked(&json!({ "auths": { "r.test": entry } }), "oci://r.test/x").unwrap_err();
            assert!(error.contains(reason) && error.contains(FILE) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn files_are_where_docker_and_podman_have_them() {
        let found = |set: &[(&str, &str)]| {
            let variable =
                |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            files(variable).iter().map(|file| file.display().to_string()).collect::<Vec<_>>()
        };
        let user = [("HOME", "/home/u"), ("XDG_RUNTIME_DIR", "/run/user/1")];
        assert_eq!(found(&user), ["/home/u/.docker/config.json", "/run/user/1/containers/auth.json"]);
        let chosen = [("DOCKER_CONFIG", "/d"), ("HOME", "/home/u"), ("REGISTRY_AUTH_FILE", "/p.json")];
        assert_eq!(found(&chosen), ["/d/config.json", "/p.json"]);
        let uid = rustix::process::getuid().as_raw();
        assert_eq!(found(&[]), [format!("/run/containers/{uid}/auth.json")]);
    }
}
