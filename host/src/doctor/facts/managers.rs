//! Programs that manage interfaces and routes of their own accord, and whether they were told to leave podwire's alone.

use std::fs;
use std::path::Path;

/// One that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::doctor) struct Manager {
    pub(in crate::doctor) kind: Kind,
    /// Whether its configuration says that podwire's are not its own.
    pub(in crate::doctor) restrained: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::doctor) enum Kind {
    Networkd,
    NetworkManager,
}

impl Kind {
    /// Where it keeps what it knows while it runs.
    const fn state(self) -> &'static str {
        match self {
            Self::Networkd => "/run/systemd/netif",
            Self::NetworkManager => "/run/NetworkManager",
        }
    }

    /// Its configuration, and the folders of parts of it.
    const fn configuration(self) -> [&'static str; 4] {
        match self {
            Self::Networkd => [
                "/etc/systemd/networkd.conf",
                "/etc/systemd/networkd.conf.d",
                "/run/systemd/networkd.conf.d",
                "/usr/lib/systemd/networkd.conf.d",
            ],
            Self::NetworkManager => [
                "/etc/NetworkManager/NetworkManager.conf",
                "/etc/NetworkManager/conf.d",
                "/run/NetworkManager/conf.d",
                "/usr/lib/NetworkManager/conf.d",
            ],
        }
    }

    fn is_restrained_by(self, line: &str) -> bool {
        let line = line.split_whitespace().collect::<String>();
        match self {
            Self::Networkd => ["no", "false", "off", "0"]
                .iter()
                .any(|no| line.eq_ignore_ascii_case(&format!("ManageForeignRoutes={no}"))),
            Self::NetworkManager => line.starts_with("unmanaged-devices"),
        }
    }
}

pub(super) fn running() -> Vec<Manager> {
    let all = [Kind::Networkd, Kind::NetworkManager].into_iter();
    let running = all.filter(|kind| Path::new(kind.state()).is_dir());
    running.map(|kind| Manager { kind, restrained: is_restrained(kind) }).collect()
}

fn is_restrained(kind: Kind) -> bool {
    let texts = kind.configuration().into_iter().flat_map(|path| texts(Path::new(path)));
    texts.into_iter().any(|text| text.lines().any(|line| kind.is_restrained_by(line)))
}

/// The text of a file, or of all in a folder.
fn texts(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = std::iter::once(path.to_owned()).chain(entries);
    files.filter_map(|file| fs::read_to_string(file).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_counts() {
        let says = |kind: Kind, line: &str| kind.is_restrained_by(line);
        assert!(says(Kind::Networkd, "ManageForeignRoutes = no"));
        assert!(!says(Kind::Networkd, "#ManageForeignRoutes=no"));
        assert!(!says(Kind::Networkd, "ManageForeignRoutes=yes"));
        assert!(says(Kind::NetworkManager, "unmanaged-devices=interface-name:cni*"));
        assert!(!says(Kind::NetworkManager, "# unmanaged-devices=interface-name:cni*"));
    }
}
