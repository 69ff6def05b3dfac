//! What the checks judge, gathered once. Plain data: a test writes it down.

mod files;
mod managers;
mod programs;
mod settings;
mod switches;

use std::path::PathBuf;

use ipnet::IpNet;

use crate::net::firewall::{self, Finding as Obstacle};
use crate::net::route::Hop;
use crate::net::survey::{Interface, Survey};
use crate::net::sysctl::Families;
use crate::state::State;

pub(super) use files::Directory;
pub(super) use managers::{Kind, Manager};
pub(super) use programs::{Answer, Folder, NetworkFile};
pub(super) use settings::{Policy, Settings};
pub(super) use switches::{Switches, filter_of};

/// Where other programs' files are.
#[derive(Debug, Clone)]
pub struct Places {
    /// Where runtimes look for plugins.
    pub plugins: Vec<PathBuf>,
    /// Where runtimes look for network configurations.
    pub networks: PathBuf,
}

/// A node, as far as it matters to pods' packets.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// How podwire is called about this node.
    pub(super) podwire: String,
    pub(super) settings: Settings,
    pub(super) policy: Policy,
    /// The node's network, or why it cannot be looked at.
    pub(super) survey: Survey,
    pub(super) unseen: Option<String>,
    pub(super) switches: Switches,
    /// What firewalls drop on its way between pods.
    pub(super) dropped: Vec<Obstacle>,
    /// What firewalls keep from the node's end of tunnels.
    pub(super) closed: Vec<Obstacle>,
    /// UDP ports that programs have.
    pub(super) taken_ports: Vec<u16>,
    pub(super) directories: Vec<Directory>,
    pub(super) folders: Vec<Folder>,
    pub(super) networks: PathBuf,
    pub(super) network_files: Vec<NetworkFile>,
    pub(super) managers: Vec<Manager>,
}

impl Facts {
    /// Looks at the node on which this runs.
    pub fn gather(state: &State, places: &Places) -> Self {
        let settings = Settings::read(state);
        let (survey, unseen) = match Survey::make() {
            Ok(survey) => (survey, None),
            Err(error) => (Survey::default(), Some(error.to_string())),
        };
        let port = survey.interfaces.iter().find_map(|it| it.vxlan.filter(|_| it.ours)).map(|it| it.port);
        Self {
            podwire: podwire(state),
            policy: Policy::look_at(state, &settings),
            switches: Switches::read(&survey),
            dropped: firewall::dropped_forwarding(settings.cluster()),
            closed: port.map(firewall::closed_port).unwrap_or_default(),
            taken_ports: switches::taken_ports(),
            directories: files::directories(state),
            folders: programs::folders(&places.plugins),
            networks: places.networks.clone(),
            network_files: programs::network_files(&places.networks),
            managers: managers::running(),
            settings,
            survey,
            unseen,
        }
    }

    /// The families of pods' addresses.
    pub(super) fn families(&self) -> Families {
        Families::of(self.settings.cluster())
    }

    /// The interfaces into the network between nodes: those with the node's addresses, or else those by which it
    /// reaches the world.
    pub(super) fn uplinks(&self) -> Vec<&Interface> {
        let own = &self.settings.addresses;
        let named = |prefix: &IpNet| own.contains(&prefix.addr());
        let foreign = || self.survey.interfaces.iter().filter(|interface| !interface.ours);
        let named: Vec<_> = foreign().filter(|interface| interface.addresses.iter().any(named)).collect();
        if !named.is_empty() {
            return named;
        }
        let default = self.survey.routes.iter().filter(|route| route.destination.prefix_len() == 0);
        let indices: Vec<u32> = default.filter_map(|route| interface_of(route.hop?)).collect();
        foreign().filter(|interface| indices.contains(&interface.index)).collect()
    }
}

fn interface_of(hop: Hop) -> Option<u32> {
    match hop {
        Hop::Link { interface } => Some(interface),
        Hop::Via { interface, .. } => interface,
        Hop::Blackhole => None,
    }
}

/// A root that the environment names reaches what is started from it.
fn podwire(state: &State) -> String {
    let root = state.run.parent().filter(|_| *state != State::new(None));
    root.map_or_else(|| "podwire".to_owned(), |root| format!("podwire --root {}", quoted(root)))
}

/// A path as a word of a shell.
pub(super) fn quoted(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
