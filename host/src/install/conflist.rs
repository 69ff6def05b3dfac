//! The network configuration that has a runtime call podwire.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Error, Places, file};

/// Its name in the runtime's directory.
const NAME: &str = "10-podwire.conflist";
/// What it says if the operator has no own.
const TEMPLATE: &str = include_str!("../../../deploy/10-podwire.conflist");
/// What libcni takes for a configuration.
const ENDINGS: [&str; 3] = ["conf", "conflist", "json"];

/// Where it belongs on the node.
pub(super) fn path(places: &Places) -> PathBuf {
    places.conf.join(NAME)
}

/// The operator's, if it calls podwire, or the default.
pub(super) fn content(named: Option<&Path>) -> Result<Vec<u8>, Error> {
    let Some(path) = named else { return Ok(TEMPLATE.into()) };
    let wrong = |problem: String| Error::Conflist { path: path.to_owned(), problem };
    let bytes = fs::read(path).map_err(Error::io(path, "read"))?;
    let document: Value = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    if document["name"].as_str().is_none_or(str::is_empty) {
        return Err(wrong("`name` is missing: a network configuration list needs one".to_owned()));
    }
    if !calls_podwire(&document) {
        return Err(wrong(
            "no entry of `plugins` has the type \"podwire\", so podwire would never be called".into(),
        ));
    }
    Ok(bytes)
}

/// The configuration that the agent keeps, as its settings say, as a path on the node: nobody else writes it.
pub(super) fn kept_by_agent(settings: &Path) -> Result<Option<PathBuf>, Error> {
    let Some(bytes) = file::read(settings)? else { return Ok(None) };
    // The agent says what is wrong with its settings.
    let document: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(document["conflist"].as_str().map(PathBuf::from))
}

/// The configurations in the directory that a runtime which takes the first would take before this one.
pub(super) fn before(places: &Places, own: &Path) -> Result<Vec<PathBuf>, Error> {
    let all = all(places)?;
    Ok(all.into_iter().filter(|path| path.file_name() < own.file_name()).collect())
}

/// Those beside podwire's own that call it too.
pub(super) fn others_that_call_podwire(places: &Places, own: &[&Path]) -> Result<Vec<PathBuf>, Error> {
    let mut others = all(places)?;
    others.retain(|path| {
        let document = file::read(&places.at(path)).ok().flatten();
        let document = document.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        !own.contains(&path.as_path()) && document.is_some_and(|document| calls_podwire(&document))
    });
    Ok(others)
}

/// By name, as libcni orders them.
fn all(places: &Places) -> Result<Vec<PathBuf>, Error> {
    let directory = places.at(&places.conf);
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(&directory, "read")(error)),
    };
    let mut all = Vec::new();
    for entry in entries {
        let name = PathBuf::from(entry.map_err(Error::io(&directory, "read"))?.file_name());
        if name.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)) {
            all.push(places.conf.join(name));
        }
    }
    all.sort();
    Ok(all)
}

/// A list, or the single plugin of a `.conf`.
fn calls_podwire(document: &Value) -> bool {
    let is_podwire = |plugin: &Value| plugin["type"] == "podwire";
    is_podwire(document)
        || document["plugins"].as_array().is_some_and(|plugins| plugins.iter().any(is_podwire))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_configuration_has_to_call_podwire() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("own.conflist");
        for (text, problem) in [
            (TEMPLATE, None),
            ("{", Some("EOF")),
            (r#"{"plugins":[{"type":"podwire"}]}"#, Some("`name` is missing")),
            (r#"{"name":"pods","plugins":[{"type":"bridge"}]}"#, Some("never be called")),
        ] {
            crate::state::write_atomically(&path, text.as_bytes()).unwrap();
            match (content(Some(&path)), problem) {
                (Ok(bytes), None) => assert_eq!(bytes, text.as_bytes()),
                (Err(error), Some(problem)) => assert!(error.to_string().contains(problem), "{error}"),
                (other, _) => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_agents_configuration_is_the_one_that_its_settings_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.json");
        assert_eq!(kept_by_agent(&path).unwrap(), None);
        crate::state::write_atomically(&path, br#"{"conflist":"/etc/cni/net.d/05-own.conflist"}"#).unwrap();
        assert_eq!(kept_by_agent(&path).unwrap(), Some("/etc/cni/net.d/05-own.conflist".into()));
    }
}
