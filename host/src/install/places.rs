//! Where things belong on a node: the CNI directories, which its container runtime names, and podwire's own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::Error;
use crate::state::{self, State};

/// Where containerd and the kubelet look if nobody says otherwise.
const DEFAULT_BIN: &str = "/opt/cni/bin";
const DEFAULT_CONF: &str = "/etc/cni/net.d";

/// A runtime's configuration, and the keys in it under which the directories stand: a string, or a list whose first
/// counts. Of several the first that is there.
struct Runtime {
    file: &'static str,
    bin: &'static [&'static str],
    conf: &'static [&'static str],
}

const RUNTIMES: [Runtime; 3] = [
    // Its third version, its second, and the first.
    Runtime {
        file: "/etc/containerd/config.toml",
        bin: &[
            "plugins/io.containerd.cri.v1.runtime/cni/bin_dirs",
            "plugins/io.containerd.cri.v1.runtime/cni/bin_dir",
            "plugins/io.containerd.grpc.v1.cri/cni/bin_dir",
            "plugins/cri/cni/bin_dir",
        ],
        conf: &[
            "plugins/io.containerd.cri.v1.runtime/cni/conf_dir",
            "plugins/io.containerd.grpc.v1.cri/cni/conf_dir",
            "plugins/cri/cni/conf_dir",
        ],
    },
    Runtime {
        file: "/etc/crio/crio.conf",
        bin: &["crio/network/plugin_dirs", "crio/network/plugin_dir"],
        conf: &["crio/network/network_dir"],
    },
    Runtime {
        file: "/etc/containers/containers.conf",
        bin: &["network/cni_plugin_dirs"],
        conf: &["network/network_config_dir"],
    },
];

/// What the operator says of a node's directories.
#[derive(Debug, Clone, Default)]
pub struct Named {
    /// Where the node's file system is, if not at `/`.
    pub host_root: Option<PathBuf>,
    /// The runtime's directory of plugins, as it is on the node.
    pub bin: Option<PathBuf>,
    /// The runtime's directory of network configurations, as it is on the node.
    pub conf: Option<PathBuf>,
}

/// The directories of one node, as they are called there. What is read or written is [`Places::at`] that path.
#[derive(Debug, Clone)]
pub struct Places {
    host_root: Option<PathBuf>,
    /// Of plugins.
    pub bin: PathBuf,
    /// Of network configurations.
    pub conf: PathBuf,
    /// podwire's own.
    pub state: State,
    /// Who says where the first two are.
    pub said_by: String,
}

impl Places {
    /// As the operator says; else as the first runtime says whose configuration is there; else where all look.
    pub fn find(named: Named, state: &State) -> Result<Self, Error> {
        let mut places = Self {
            host_root: named.host_root,
            bin: DEFAULT_BIN.into(),
            conf: DEFAULT_CONF.into(),
            state: state.clone(),
            said_by: "by default".to_owned(),
        };
        if let (Some(bin), Some(conf)) = (&named.bin, &named.conf) {
            (places.bin, places.conf) = (bin.clone(), conf.clone());
            places.said_by = "as asked".to_owned();
        } else {
            for runtime in &RUNTIMES {
                if places.take_from(runtime)? {
                    break;
                }
            }
            places.bin = named.bin.unwrap_or(places.bin);
            places.conf = named.conf.unwrap_or(places.conf);
        }
        places.check_root()?;
        Ok(places)
    }

    /// Where something of the node's is for us.
    pub fn at(&self, path: &Path) -> PathBuf {
        match &self.host_root {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_owned(),
        }
    }

    /// podwire's directories, where they are for us.
    pub fn reachable_state(&self) -> State {
        let State { run, lib, etc } = &self.state;
        State { run: self.at(run), lib: self.at(lib), etc: self.at(etc) }
    }

    fn take_from(&mut self, runtime: &Runtime) -> Result<bool, Error> {
        let path = self.at(Path::new(runtime.file));
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::io(&path, "read")(error)),
        };
        let unclear = |error: toml::de::Error| Error::Runtime { path, problem: error.message().to_owned() };
        let table: Table = text.parse().map_err(unclear)?;
        let (bin, conf) = (directory(&table, runtime.bin), directory(&table, runtime.conf));
        let says = bin.is_some() || conf.is_some();
        if says {
            self.said_by = format!("as {} says", runtime.file);
            self.bin = bin.unwrap_or_else(|| DEFAULT_BIN.into());
            self.conf = conf.unwrap_or_else(|| DEFAULT_CONF.into());
        }
        Ok(says)
    }

    /// An absolute link of the node's would be followed in our own file system.
    fn check_root(&self) -> Result<(), Error> {
        let Some(root) = &self.host_root else { return Ok(()) };
        let found = fs::canonicalize(root).map_err(Error::io(root, "find"))?;
        let State { run, lib, etc } = &self.state;
        for path in [&self.bin, &self.conf, run, lib, etc].map(|path| self.at(path)) {
            let there = path.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(root);
            let to = fs::canonicalize(there).map_err(state::Error::io(there, "follow"))?;
            if !to.starts_with(&found) {
                return Err(Error::LeadsOut { path, to, root: root.clone() });
            }
        }
        Ok(())
    }
}

fn directory(table: &Table, keys: &[&str]) -> Option<PathBuf> {
    keys.iter()
        .find_map(|key| match value(table, key)? {
            Value::String(path) => Some(path.as_str()),
            Value::Array(paths) => paths.first()?.as_str(),
            _ => None,
        })
        .filter(|path| path.starts_with('/'))
        .map(|path| PathBuf::from(path).components().collect())
}

fn value<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    let (key, rest) = path.split_once('/').map_or((path, None), |(key, rest)| (key, Some(rest)));
    let found = table.get(key)?;
    rest.map_or(Some(found), |rest| value(found.as_table()?, rest))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn state() -> State {
        State { run: "/run/podwire".into(), lib: "/var/lib/podwire".into(), etc: "/etc/podwire".into() }
    }

    /// The directories of a node whose runtime has this configuration.
    fn found(file: &str, text: &str) -> Result<(PathBuf, PathBuf), Error> {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(file.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        crate::state::write_atomically(&path, text.as_bytes()).unwrap();
        let named = Named { host_root: Some(root.path().to_owned()), ..Named::default() };
        Places::find(named, &state()).map(|places| (places.bin, places.conf))
    }

    #[test]
    fn every_runtime_is_asked_in_its_own_words() {
        let own = || (PathBuf::from("/own/bin"), PathBuf::from("/own/conf"));
        for (file, text) in [
            (
                RUNTIMES[0].file,
                "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = \"/own/bin\"\nconf_dir = \"/own/conf\"",
            ),
            (
                RUNTIMES[0].file,
                "version = 3\n[plugins.\"io.containerd.cri.v1.runtime\".cni]\nbin_dirs = [\"/own/bin\", \"/other\"]\nconf_dir = \"/own/conf/\"",
            ),
            (RUNTIMES[0].file, "[plugins.cri.cni]\nbin_dir = \"/own/bin\"\nconf_dir = \"/own/conf\""),
            (RUNTIMES[1].file, "[crio.network]\nplugin_dirs = [\"/own/bin\"]\nnetwork_dir = \"/own/conf\""),
            (
                RUNTIMES[2].file,
                "[network]\ncni_plugin_dirs = [\"/own/bin\"]\nnetwork_config_dir = \"/own/conf\"",
            ),
        ] {
            assert_eq!(found(file, text).unwrap(), own(), "{text}");
        }
    }

    #[test]
    fn what_nobody_says_is_where_all_look() {
        let default = || (PathBuf::from(DEFAULT_BIN), PathBuf::from(DEFAULT_CONF));
        assert_eq!(found("/etc/other", "").unwrap(), default());
        assert_eq!(found(RUNTIMES[0].file, "version = 2").unwrap(), default());
        let half = "[plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = \"/usr/lib/cni\"";
        assert_eq!(found(RUNTIMES[0].file, half).unwrap(), ("/usr/lib/cni".into(), DEFAULT_CONF.into()));
    }

    #[test]
    fn what_cannot_be_read_is_not_guessed() {
        let error = found(RUNTIMES[0].file, "bin_dir = ").unwrap_err().to_string();
        assert!(error.contains("config.toml: ") && error.contains("--cni-bin-dir"), "{error}");
    }

    #[test]
    fn no_link_leads_out_of_the_nodes_files() {
        let root = tempfile::tempdir().unwrap();
        let named = || Named { host_root: Some(root.path().to_owned()), ..Named::default() };
        fs::create_dir(root.path().join("opt")).unwrap();
        symlink("/etc", root.path().join("opt/cni")).unwrap();
        let error = Places::find(named(), &state()).unwrap_err().to_string();
        assert!(error.contains("opt/cni/bin leads to /etc"), "{error}");
        fs::remove_file(root.path().join("opt/cni")).unwrap();
        symlink("../usr", root.path().join("opt/cni")).unwrap();
        fs::create_dir(root.path().join("usr")).unwrap();
        assert!(Places::find(named(), &state()).is_ok());
    }
}
