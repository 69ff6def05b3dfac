//! What was changed, when and by whom: for the node's files, and for whoever asks later.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::names::{Digest, NetworkName, PolicyName};

/// A point in time: seconds since 1970, in UTC, as everything that lies on disk has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment(pub u64);

impl Moment {
    /// By the node's clock.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self(since.map_or(0, |since| since.as_secs()))
    }
}

/// As RFC 3339 writes it: `2026-11-23T08:30:00Z`.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0 / 86_400, self.0 % 86_400);
        let (year, month, day) = date(days);
        let [hour, minute, second] = [second / 3_600, second / 60 % 60, second % 60];
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Year, month and day of a day since 1970. Years are counted from March, so that the leap day is their last.
fn date(days: u64) -> (u64, u64, u64) {
    /// Days of 400 years, after which the calendar repeats itself.
    const ERA: u64 = 146_097;
    /// Days from the March of the year 0 to 1970.
    const EPOCH: u64 = 719_468;
    let shifted = days + EPOCH;
    let (era, day) = (shifted / ERA, shifted % ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (first, name) = ((153 * month + 2) / 5, if month < 10 { month + 3 } else { month - 9 });
    (era * 400 + year + u64::from(name <= 2), name, day - first + 1)
}

/// One change of what a policy's name stands for, or of the versions that are kept under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: Moment,
    /// Who: the name of a user, or `podwire` itself.
    pub by: String,
    /// The policy.
    pub policy: PolicyName,
    /// Of one network; none: everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkName>,
    /// What.
    pub what: What,
}

/// What was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum What {
    /// A version was stored. It decides nothing yet.
    Installed {
        /// The version.
        digest: Digest,
    },
    /// A version decides from now on.
    Activated {
        /// The version.
        digest: Digest,
        /// The one that did before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Digest>,
    },
    /// A version decides for some pods.
    Canary {
        /// The version.
        digest: Digest,
        /// Of a hundred pods.
        percent: u8,
    },
    /// A version is asked beside the one that decides.
    Shadow {
        /// The version.
        digest: Digest,
    },
    /// A canary or a shadow is asked no longer.
    Withdrawn {
        /// The version.
        digest: Digest,
    },
    /// Somebody went back to the version before.
    RolledBack {
        /// The one that decided.
        from: Digest,
        /// The one that decides again.
        to: Digest,
    },
    /// A version failed too often.
    FellBack {
        /// The one that failed.
        from: Digest,
        /// The one that decides instead.
        to: Digest,
        /// How often it failed.
        faults: u32,
    },
    /// A version is not kept any more.
    Removed {
        /// The version.
        digest: Digest,
    },
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installed { digest } => write!(f, "installed {digest}"),
            Self::Activated { digest, before: None } => write!(f, "activated {digest}"),
            Self::Activated { digest, before: Some(before) } => {
                write!(f, "activated {digest} in the place of {before}")
            }
            Self::Canary { digest, percent } => write!(f, "{digest} decides for {percent} % of the pods"),
            Self::Shadow { digest } => write!(f, "{digest} is asked without effect"),
            Self::Withdrawn { digest } => write!(f, "withdrew {digest}"),
            Self::RolledBack { from, to } => write!(f, "rolled back from {from} to {to}"),
            Self::FellBack { from, to, faults } => {
                write!(f, "fell back from {from}, which failed {faults} times, to {to}")
            }
            Self::Removed { digest } => write!(f, "removed {digest}"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: policy {}", self.at, self.by, self.policy)?;
        if let Some(network) = &self.network {
            write!(f, " in network {network}")?;
        }
        write!(f, ": {}", self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_rfc_3339_does() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_795_422_600, "2026-11-23T08:30:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Moment(seconds).to_string(), text);
        }
    }

    #[test]
    fn a_change_reads_back() {
        let change = Change {
            at: Moment(7),
            by: "root".to_owned(),
            policy: PolicyName::default(),
            network: None,
            what: What::FellBack { from: Digest([1; 32]), to: Digest([2; 32]), faults: 3 },
        };
        let text = serde_json::to_string(&change).unwrap();
        assert!(text.contains(r#""what":{"fell-back":{"from":"sha256:01"#), "{text}");
        assert_eq!(serde_json::from_str::<Change>(&text).unwrap(), change);
    }
}
