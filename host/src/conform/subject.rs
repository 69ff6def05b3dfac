//! The plugin under test, the configuration list in which it stands, and the versions that it speaks.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};

use super::Options;
use super::call::Call;

/// Every version of the specification with a result format of its own, the oldest first.
pub(super) const KNOWN: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// What is checked.
#[derive(Debug)]
pub(super) struct Subject {
    /// Its executable.
    pub(super) path: PathBuf,
    /// The name of the network.
    pub(super) name: String,
    /// The list's plugins, in order.
    pub(super) plugins: Vec<Plugin>,
    /// The place of the plugin under test.
    pub(super) place: usize,
    /// CNI_PATH.
    pub(super) cni_path: String,
    /// What it says to VERSION.
    pub(super) supported: Vec<String>,
    /// What the suite speaks where a check does not say otherwise: the newest that all of the list speak.
    pub(super) version: &'static str,
    root: Option<PathBuf>,
    patience: Duration,
}

/// A plugin of the list.
#[derive(Debug)]
pub(super) struct Plugin {
    pub(super) program: PathBuf,
    pub(super) configuration: Map<String, Value>,
}

impl Subject {
    /// Reads the list, finds its plugins, and asks them for their versions.
    pub(super) fn look_at(options: &Options) -> Result<Self> {
        // A link stays one: its name says which of its target's plugins is meant.
        let path = std::path::absolute(&options.plugin)?;
        if !path.is_file() {
            bail!("{} is not there; what lies below /run cannot be seen by the suite", path.display());
        }
        let (name, list) = read(&options.list)?;
        let place = place_of(&path, &list)
            .with_context(|| format!("{} does not fit {}", options.list.display(), path.display()))?;
        let folders = folders(&path);
        let mut plugins =
            list.into_iter().map(|it| Plugin::find(it, &folders)).collect::<Result<Vec<_>>>()?;
        plugins[place].program.clone_from(&path);
        let cni_path = env::join_paths(&folders)?.to_string_lossy().into_owned();
        let (supported, version) = (Vec::new(), KNOWN[0]);
        let (root, patience) = (options.root.clone(), options.patience);
        let mut subject = Self { path, name, plugins, place, cni_path, supported, version, root, patience };
        subject.ask_for_versions()?;
        Ok(subject)
    }

    fn ask_for_versions(&mut self) -> Result<()> {
        let spoken = (0..self.plugins.len()).map(|place| self.versions(place)).collect::<Result<Vec<_>>>()?;
        let common = |version: &&&str| spoken.iter().all(|spoken| spoken.iter().any(|it| it == **version));
        let newest = KNOWN.iter().rev().find(common);
        // A plugin that does not say it properly fails its own check; the others still want a version.
        self.version = newest.copied().unwrap_or("1.0.0");
        self.supported.clone_from(&spoken[self.place]);
        Ok(())
    }

    fn versions(&self, place: usize) -> Result<Vec<String>> {
        let call = self.call(place, "1.0.0").env("CNI_COMMAND", "VERSION");
        let answer: Value = serde_json::from_slice(&call.run()?.stdout).unwrap_or_default();
        let versions = answer["supportedVersions"].as_array().cloned().unwrap_or_default();
        Ok(versions.iter().filter_map(|version| version.as_str().map(str::to_owned)).collect())
    }

    /// A call of the plugin at that place, with the configuration that a runtime derives from the list
    /// (specification, section 3): `runtimeConfig` has nothing in it, so it is left out.
    pub(super) fn call(&self, place: usize, version: &str) -> Call {
        let plugin = &self.plugins[place];
        let mut configuration = plugin.configuration.clone();
        configuration.remove("capabilities");
        configuration.insert("name".to_owned(), self.name.as_str().into());
        configuration.insert("cniVersion".to_owned(), version.into());
        let call = Call::new(plugin.program.clone(), configuration, self.patience)
            .env("CNI_PATH", self.cni_path.as_str());
        match &self.root {
            Some(root) => call.env(crate::state::ROOT_VARIABLE, root.to_string_lossy()),
            None => call,
        }
    }

    /// Whether the plugin under test says that it has this capability.
    pub(super) fn has_capability(&self, name: &str) -> bool {
        let capabilities = self.plugins[self.place].configuration.get("capabilities");
        capabilities.is_some_and(|capabilities| capabilities[name] == true)
    }

    /// Whether it speaks this version.
    pub(super) fn speaks(&self, version: &str) -> bool {
        self.supported.iter().any(|supported| supported == version)
    }
}

/// Name and plugins of a configuration list.
fn read(path: &Path) -> Result<(String, Vec<Map<String, Value>>)> {
    let text = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let list: Value =
        serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", path.display()))?;
    let name = list["name"].as_str().with_context(|| format!("{} has no name", path.display()))?;
    let Some(plugins) = list["plugins"].as_array() else {
        bail!("{} has no list of plugins: write {{\"name\": …, \"plugins\": [ … ]}}", path.display());
    };
    let objects = plugins.iter().map(|plugin| plugin.as_object().cloned()).collect::<Option<Vec<_>>>();
    Ok((name.to_owned(), objects.with_context(|| format!("{}: every plugin is an object", path.display()))?))
}

/// A plugin's `type` is the name of its file.
fn place_of(plugin: &Path, list: &[Map<String, Value>]) -> Result<usize> {
    let own = plugin.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let place = list.iter().position(|configuration| configuration.get("type") == Some(&own.as_str().into()));
    place.with_context(|| format!("it has no plugin of the type {own:?}, which is the name of the file"))
}

/// Where plugins are looked for: beside the one under test, and where the caller's CNI_PATH says.
fn folders(plugin: &Path) -> Vec<PathBuf> {
    let path = env::var_os("CNI_PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = plugin.parent().map(Path::to_owned).into_iter().collect();
    for folder in env::split_paths(&path).filter(|folder| !folder.as_os_str().is_empty()) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

impl Plugin {
    fn find(configuration: Map<String, Value>, folders: &[PathBuf]) -> Result<Self> {
        let kind =
            configuration.get("type").and_then(Value::as_str).context("a plugin of the list has no type")?;
        let found = folders.iter().map(|folder| folder.join(kind)).find(|path| path.is_file());
        let missing = || format!("no plugin {kind} in {folders:?}: name its folder in CNI_PATH");
        Ok(Self { program: found.with_context(missing)?, configuration })
    }
}
