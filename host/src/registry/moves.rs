//! How people change what a name stands for. Plain data: no files here.

use super::rollout::{Candidate, Scope, Standing, Trial, Version};
use super::{Error, builtin};
use crate::journal::What;
use crate::names::{Digest, PolicyName};

/// How many earlier versions a name remembers.
const PREVIOUS: usize = 16;

impl Standing {
    /// Puts a version behind all others.
    pub(super) fn install(&mut self, version: Version) {
        self.installed.retain(|other| other.digest != version.digest);
        self.installed.push(version);
    }

    /// Forgets a version.
    pub(super) fn forget(&mut self, digest: &Digest) {
        self.installed.retain(|version| version.digest != *digest);
        for rollout in self.networks.values_mut().chain([&mut self.everywhere]) {
            rollout.previous.retain(|version| version.digest != *digest);
        }
    }

    /// A version decides from now on; what was tried is withdrawn.
    pub(super) fn activate(&mut self, name: &PolicyName, scope: Scope<'_>, version: Version) -> What {
        let (digest, before) = (version.digest, self.active(name, scope));
        let is_default = scope.is_none() && builtin::named(name) == Some(digest);
        let rollout = self.rollout_mut(scope);
        if let Some(before) = rollout.active.take().filter(|before| before.digest != digest) {
            rollout.previous.insert(0, before);
        }
        rollout.previous.retain(|version| version.digest != digest);
        rollout.previous.truncate(PREVIOUS);
        if is_default {
            // Another podwire brings another one along, so no name remembers which: whoever goes back to it begins
            // anew.
            rollout.previous.clear();
        }
        rollout.active = (!is_default).then_some(version);
        rollout.candidate = None;
        rollout.fell_back = None;
        What::Activated { digest, before: before.filter(|before| *before != digest) }
    }

    /// A version is tried from now on, in the place of another.
    pub(super) fn try_out(&mut self, scope: Scope<'_>, version: Version, trial: Trial) -> What {
        let digest = version.digest;
        let rollout = self.rollout_mut(scope);
        rollout.candidate = Some(Candidate { version, trial });
        rollout.fell_back = None;
        match trial {
            Trial::Canary(percent) => What::Canary { digest, percent },
            Trial::Shadow => What::Shadow { digest },
        }
    }

    /// Withdraws what is tried; if nothing is, goes back to the version before.
    pub(super) fn roll_back(&mut self, name: &PolicyName, scope: Scope<'_>) -> Result<What, Error> {
        let rollout = self.rollout_mut(scope);
        rollout.fell_back = None;
        if let Some(candidate) = rollout.candidate.take() {
            return Ok(What::Withdrawn { digest: candidate.version.digest });
        }
        let (from, to) = self
            .step_back(name, scope)
            .ok_or_else(|| Error::NothingBefore { name: name.clone(), place: place(scope) })?;
        Ok(What::RolledBack { from, to })
    }
}

/// In words: where a change holds.
pub(super) fn place(scope: Scope<'_>) -> String {
    scope.map_or_else(|| "everywhere".to_owned(), |network| format!("in network {network}"))
}
