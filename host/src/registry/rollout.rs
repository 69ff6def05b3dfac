//! What a policy's name stands for, and how that may change. Plain data: no files here.
//!
//! Kept small: every ADD of an installed policy reads it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::builtin;
use crate::journal::{Time, What};
use crate::names::{Digest, NetworkName, PolicyName};

/// What a name stands for: the contents of `names/NAME.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// In every network that has none of its own.
    pub everywhere: Rollout,
    /// In some networks.
    pub networks: BTreeMap<NetworkName, Rollout>,
    /// Versions that were installed under the name, the last one last.
    pub installed: Vec<Version>,
}

/// Which versions decide.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Rollout {
    /// Decides. None: what decides everywhere; there, what is built in.
    pub active: Option<Version>,
    /// What decided before, the newest first. None that failed too often is among them.
    pub previous: Vec<Version>,
    /// Is tried beside it.
    pub candidate: Option<Candidate>,
    /// A fall back that nobody has answered by activating something.
    pub fell_back: Option<FellBack>,
}

/// A version, and since when by whom it is what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Of the component.
    pub digest: Digest,
    /// Since when.
    pub at: Time,
    /// By whom.
    pub by: String,
}

/// A version that is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The version.
    pub version: Version,
    /// How it is tried.
    pub trial: Trial,
}

/// How a version is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trial {
    /// It decides for so many of a hundred pods.
    Canary(u8),
    /// It is asked for all pods, and decides for none.
    Shadow,
}

/// A version was taken out of use because it failed too often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FellBack {
    /// The version that failed.
    pub from: Digest,
    /// What decides instead.
    pub to: Digest,
    /// When.
    pub at: Time,
    /// How often it failed.
    pub faults: u32,
}

/// Where a change holds: in one network, or in all that have nothing of their own.
pub type Scope<'a> = Option<&'a NetworkName>;

impl Standing {
    /// What a name stands for that has no file.
    pub(super) const NOTHING: Self = Self {
        everywhere: Rollout { active: None, previous: Vec::new(), candidate: None, fell_back: None },
        networks: BTreeMap::new(),
        installed: Vec::new(),
    };

    /// The rollout of that scope, empty if there is none yet.
    pub(super) fn rollout_mut(&mut self, scope: Scope<'_>) -> &mut Rollout {
        match scope {
            Some(network) => self.networks.entry(network.clone()).or_default(),
            None => &mut self.everywhere,
        }
    }

    /// The same, to be looked at.
    pub fn rollout(&self, scope: Scope<'_>) -> Option<&Rollout> {
        scope.map_or(Some(&self.everywhere), |network| self.networks.get(network))
    }

    /// Which version decides in a network, or where a network has none of its own.
    pub(super) fn active(&self, name: &PolicyName, scope: Scope<'_>) -> Option<Digest> {
        let own = self.rollout(scope).and_then(|rollout| rollout.active.as_ref());
        let version = own.or(self.everywhere.active.as_ref()).map(|version| version.digest);
        version.or_else(|| builtin::named(name))
    }

    /// Which version is tried there. A network that has a version of its own has nothing to do with what is tried
    /// elsewhere.
    pub(super) fn candidate(&self, scope: Scope<'_>) -> Option<&Candidate> {
        let own = self.rollout(scope);
        let is_on_its_own = own.is_some_and(|own| own.active.is_some());
        let elsewhere = self.everywhere.candidate.as_ref().filter(|_| !is_on_its_own);
        own.and_then(|own| own.candidate.as_ref()).or(elsewhere)
    }

    /// Where it comes from that a version decides, or is tried, in a network.
    pub(super) fn scope_of<'a>(&self, digest: &Digest, network: &'a NetworkName) -> Scope<'a> {
        let own = self.networks.get(network).filter(|own| own.uses(digest));
        own.map(|_| network)
    }

    /// Every rollout, that of everywhere first.
    pub fn rollouts(&self) -> impl Iterator<Item = (Scope<'_>, &Rollout)> {
        let networks = self.networks.iter().map(|(network, rollout)| (Some(network), rollout));
        std::iter::once((None, &self.everywhere)).chain(networks)
    }

    /// Whether the version decides, or is tried, anywhere.
    pub fn uses(&self, digest: &Digest) -> bool {
        self.rollouts().any(|(_, rollout)| rollout.uses(digest))
    }

    /// Whether the version is kept under this name.
    pub fn has(&self, digest: &Digest) -> bool {
        self.installed.iter().any(|version| version.digest == *digest)
    }

    /// Takes a version out of use that failed so often. None if it is not in use any more, or nothing could be used
    /// instead.
    pub(super) fn fall_back(
        &mut self,
        name: &PolicyName,
        scope: Scope<'_>,
        failed: &Digest,
        faults: u32,
    ) -> Option<What> {
        let rollout = self.rollout_mut(scope);
        let is_tried = |candidate: &mut Candidate| candidate.version.digest == *failed;
        let (from, to) = if rollout.candidate.take_if(is_tried).is_some() {
            (*failed, self.active(name, scope)?)
        } else if rollout.active.as_ref().is_some_and(|active| active.digest == *failed) {
            self.step_back(name, scope)?
        } else {
            return None;
        };
        self.rollout_mut(scope).fell_back = Some(FellBack { from, to, at: Time::now(), faults });
        Some(What::FellBack { from, to, faults })
    }

    /// Withdraws what is tried where it decides by now: beside itself there is nothing to see, and nothing to fall
    /// back to.
    pub(super) fn end_trials(&mut self, name: &PolicyName) {
        let everywhere = self.active(name, None);
        for rollout in self.networks.values_mut().chain([&mut self.everywhere]) {
            let active = rollout.active.as_ref().map(|version| version.digest).or(everywhere);
            rollout.candidate.take_if(|candidate| Some(candidate.version.digest) == active);
        }
    }

    /// From the active version to the one before. What a network had before its first version is what everywhere has.
    pub(super) fn step_back(&mut self, name: &PolicyName, scope: Scope<'_>) -> Option<(Digest, Digest)> {
        let rollout = self.rollout_mut(scope);
        let from = rollout.active.take()?;
        let has_previous = !rollout.previous.is_empty();
        rollout.active = has_previous.then(|| rollout.previous.remove(0));
        let to = self.active(name, scope).filter(|to| *to != from.digest);
        if to.is_none() {
            self.rollout_mut(scope).active = Some(from);
            return None;
        }
        Some((from.digest, to?))
    }
}

impl Rollout {
    /// Whether the version decides, or is tried.
    pub fn uses(&self, digest: &Digest) -> bool {
        let tried = self.candidate.as_ref().map(|candidate| &candidate.version);
        self.active.iter().chain(tried).any(|version| version.digest == *digest)
    }
}
