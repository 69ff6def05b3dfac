//! What an operator does with installed versions: put one into use, try one out, go back, take one away.

use std::path::Path;

use super::compiled::lock;
use super::moves::place;
use super::rollout::{Scope, Standing, Trial, Version};
use super::{Error, Installed, Registry, builtin, hex};
use crate::journal::{Change, Time, What};
use crate::names::{Digest, PolicyName};
use crate::state;

/// Of a digest, in hexadecimal digits, to name a version.
const SHORTEST_PREFIX: usize = 6;

/// The questions that a version stood last, by their digest, in its directory.
const PASSED: &str = "passed";

/// A version of a policy as people name it: `NAME`, or `NAME@DIGEST`, where the digest may be cut short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The name.
    pub name: PolicyName,
    /// The digest's first hexadecimal digits.
    pub prefix: Option<String>,
}

impl std::str::FromStr for Named {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let prefix = digest.map(|digest| digest.strip_prefix("sha256:").unwrap_or(digest));
        let is_prefix = |hex: &str| {
            (SHORTEST_PREFIX..=64).contains(&hex.len()) && hex.bytes().all(|b| b.is_ascii_hexdigit())
        };
        if let Some(prefix) = prefix.filter(|prefix| !is_prefix(prefix)) {
            return Err(format!(
                "{prefix:?} is no digest: it takes {SHORTEST_PREFIX} to 64 hexadecimal digits"
            ));
        }
        let name = name.parse().map_err(|error: crate::names::InvalidName| error.to_string())?;
        Ok(Self { name, prefix: prefix.map(str::to_ascii_lowercase) })
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.prefix {
            Some(prefix) => write!(f, "{}@{prefix}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

impl Registry {
    /// The version that is meant: without a digest, the one that was installed last.
    pub fn find(&self, Named { name, prefix }: &Named) -> Result<Installed, Error> {
        let standing = self.standing(name)?;
        let builtin = builtin::named(name);
        let Some(prefix) = prefix else {
            let last = standing.installed.last().map(|version| version.digest);
            let digest = last.or(builtin).ok_or_else(|| Error::NotInstalled { name: name.clone() })?;
            return self.installed(name, digest);
        };
        let mut all: Vec<Digest> = standing.installed.iter().map(|version| version.digest).collect();
        all.extend(builtin.filter(|builtin| !all.contains(builtin)));
        let meant: Vec<Digest> = all.into_iter().filter(|digest| hex(digest).starts_with(prefix)).collect();
        match meant.as_slice() {
            [digest] => self.installed(name, *digest),
            [] => Err(Error::NoVersion { name: name.clone(), prefix: prefix.clone() }),
            several => Err(Error::SeveralVersions {
                name: name.clone(),
                prefix: prefix.clone(),
                several: several.iter().map(Digest::to_string).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// Makes the version decide. Whether it can, the caller has found out.
    pub fn activate(&self, version: &Installed, scope: Scope<'_>, by: &str) -> Result<Change, Error> {
        self.put_into_use(version, scope, by, |standing, now| {
            Ok(standing.activate(&version.name, scope, now))
        })
    }

    /// Makes the version decide for some pods, or asks it without effect.
    pub fn try_out(
        &self,
        version: &Installed,
        scope: Scope<'_>,
        trial: Trial,
        by: &str,
    ) -> Result<Change, Error> {
        self.put_into_use(version, scope, by, |standing, now| {
            let active = standing.active(&version.name, scope);
            match active {
                None => Err(Error::NotActive { name: version.name.clone() }),
                Some(active) if active == version.digest => {
                    Err(Error::IsActive { name: version.name.clone(), digest: active })
                }
                Some(_) => Ok(standing.try_out(scope, now, trial)),
            }
        })
    }

    fn put_into_use(
        &self,
        version: &Installed,
        scope: Scope<'_>,
        by: &str,
        alter: impl FnOnce(&mut Standing, Version) -> Result<What, Error>,
    ) -> Result<Change, Error> {
        let now = Version { digest: version.digest, at: Time::now(), by: by.to_owned() };
        let change = self.change(&version.name, scope, by, |standing| {
            // Somebody may have removed it meanwhile, and what has another name too is still there, but not kept for
            // this one.
            if !standing.has(&version.digest) && !version.is_builtin() {
                return Err(Error::Gone { name: version.name.clone(), digest: version.digest });
            }
            version.exists()?;
            let what = alter(standing, now)?;
            version.forgive()?;
            Ok(Some(what))
        })?;
        change.ok_or_else(|| Error::NotInstalled { name: version.name.clone() })
    }

    /// Withdraws the version that is tried; if there is none, goes back to the one that decided before.
    pub fn roll_back(&self, name: &PolicyName, scope: Scope<'_>, by: &str) -> Result<Change, Error> {
        let change = self.change(name, scope, by, |standing| {
            let what = standing.roll_back(name, scope)?;
            if let What::RolledBack { to, .. } = &what {
                let to = self.version(name, *to);
                to.exists()?;
                to.forgive()?;
            }
            Ok(Some(what))
        })?;
        change.ok_or_else(|| Error::NothingBefore { name: name.clone(), place: place(scope) })
    }

    /// Takes one version away, which must not be in use.
    pub fn remove_version(&self, version: &Installed, by: &str) -> Result<Change, Error> {
        let Installed { name, digest, .. } = version;
        let change = self.change(name, None, by, |standing| {
            if !standing.has(digest) {
                return Err(Error::Builtin { name: name.clone() });
            }
            if standing.uses(digest) {
                return Err(Error::InUse { name: name.clone(), digest: *digest });
            }
            standing.forget(digest);
            Ok(Some(What::Removed { digest: *digest }))
        })?;
        self.clean_up([*digest])?;
        change.ok_or_else(|| Error::NotInstalled { name: name.clone() })
    }

    /// Takes the name away, and the versions that it stood for.
    pub fn remove(&self, name: &PolicyName, by: &str) -> Result<Vec<Change>, Error> {
        let standing = self.take_away(name)?;
        self.clean_up(standing.installed.iter().map(|version| version.digest))?;
        let removed = |version: &Version| {
            let (policy, digest) = (name.clone(), version.digest);
            let what = What::Removed { digest };
            self.recorded(Change { at: Time::now(), by: by.to_owned(), policy, network: None, what })
        };
        standing.installed.iter().map(removed).collect()
    }

    fn take_away(&self, name: &PolicyName) -> Result<Standing, Error> {
        if !self.policies.exists() {
            return Err(absent(name));
        }
        let _lock = lock(&self.policies)?;
        let standing = self.read(name)?.ok_or_else(|| absent(name))?;
        let path = self.file(name);
        std::fs::remove_file(&path).map_err(state::Error::io(&path, "remove"))?;
        Ok(standing)
    }

    /// Deletes the files of versions that no name has any more.
    fn clean_up(&self, versions: impl IntoIterator<Item = Digest>) -> Result<(), Error> {
        let _lock = lock(&self.policies)?;
        let names = self.names()?;
        let standings = names.iter().map(|name| self.standing(name)).collect::<Result<Vec<_>, _>>()?;
        for digest in versions {
            if !standings.iter().any(|standing| standing.has(&digest)) {
                remove_directory(&self.policies.join(hex(&digest)))?;
            }
        }
        Ok(())
    }
}

impl Installed {
    /// Whether it stood these questions before.
    pub fn has_passed(&self, questions: &Digest) -> Result<bool, Error> {
        let passed = state::read_trusted(&self.dir.join(PASSED))?;
        Ok(passed.is_some_and(|passed| passed == questions.to_string().as_bytes()))
    }

    /// Notes that it stood them.
    pub fn pass(&self, questions: &Digest) -> Result<(), Error> {
        Ok(state::write_atomically(&self.dir.join(PASSED), questions.to_string().as_bytes())?)
    }
}

fn absent(name: &PolicyName) -> Error {
    let name = name.clone();
    if builtin::named(&name).is_some() { Error::Builtin { name } } else { Error::NotInstalled { name } }
}

fn remove_directory(path: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(state::Error::io(path, "remove")(error).into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_named_as_people_copy_them() {
        let named = |text: &str| text.parse::<Named>();
        assert_eq!(named("web").unwrap().prefix, None);
        assert_eq!(named("web@sha256:ABCDEF0").unwrap().prefix.unwrap(), "abcdef0");
        assert_eq!(named("web@abcdef").unwrap().to_string(), "web@abcdef");
        for wrong in ["web@abcde", "web@", "web@latest1", "Web@abcdef", "@abcdef"] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
        assert!(named(&format!("web@{}", "a".repeat(65))).is_err());
    }
}
