//! Versions of the specification that podwire speaks, and what differs between them.

use std::str::FromStr;

use super::{Code, Command, Error};

/// A version of the CNI specification. A configuration's `cniVersion` must be exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The first: one address of each family, and nothing of interfaces.
    V0_1_0,
    /// As 0.1.0.
    V0_2_0,
    /// Brought `interfaces`, `ips` and chaining.
    V0_3_0,
    /// As 0.3.0, with a typing error mended.
    V0_3_1,
    /// Brought CHECK, and `prevResult` on DEL.
    V0_4_0,
    /// Took `ips[].version` away.
    V1_0_0,
    /// Brought GC and STATUS, the MTU of interfaces and more fields of routes.
    V1_1_0,
}

impl Version {
    /// Every version, the oldest first.
    pub const ALL: [Self; 7] =
        [Self::V0_1_0, Self::V0_2_0, Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// What podwire answers with where no configuration says otherwise.
    pub const NEWEST: Self = Self::V1_1_0;

    /// As in `cniVersion`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// Whether a result has `interfaces` and `ips`, not one address of each family.
    pub fn has_interfaces(self) -> bool {
        self >= Self::V0_3_0
    }

    /// Whether each of a result's `ips` says "4" or "6".
    pub(super) fn has_address_version(self) -> bool {
        self < Self::V1_0_0
    }

    /// Whether interfaces have an `mtu`, and routes more than `dst` and `gw`.
    pub(super) fn has_mtu(self) -> bool {
        self >= Self::V1_1_0
    }

    /// Refuses a command that this version does not have yet.
    pub(super) fn allow(self, command: Command) -> Result<(), Error> {
        let since = match command {
            Command::Check => Self::V0_4_0,
            Command::Gc | Command::Status => Self::V1_1_0,
            Command::Add | Command::Del | Command::Version => Self::V0_1_0,
        };
        if self >= since {
            return Ok(());
        }
        let msg = format!("config version does not allow {}", command.as_str());
        let details = format!("cniVersion is {}: set it to {} or later", self.as_str(), since.as_str());
        Err(Error::new(Code::INCOMPATIBLE_VERSION, msg).with_details(details))
    }
}

impl FromStr for Version {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|version| version.as_str() == text).ok_or_else(|| {
            let details = format!("config is {text:?}, plugin supports {:?}", Self::ALL.map(Self::as_str));
            Error::new(Code::INCOMPATIBLE_VERSION, "incompatible CNI versions").with_details(details)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_listed_versions_are_spoken() {
        for version in Version::ALL {
            assert_eq!(version.as_str().parse::<Version>(), Ok(version));
        }
        for text in ["", "0.0.1", "1.1", "1.1.0 ", "v1.1.0", "01.1.0", "1.2.0", "2.0.0"] {
            let error = text.parse::<Version>().expect_err(text);
            assert_eq!(error.code(), Code::INCOMPATIBLE_VERSION);
            assert!(
                error
                    .details()
                    .contains(r#"["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]"#),
                "{error}"
            );
        }
    }

    #[test]
    fn commands_begin_with_a_version() {
        use Command::{Add, Check, Del, Gc, Status};
        let allowed = |version: Version| [Add, Del, Check, Gc, Status].map(|c| version.allow(c).is_ok());
        assert_eq!(allowed(Version::V0_3_0), [true, true, false, false, false]);
        assert_eq!(allowed(Version::V0_3_1), [true, true, false, false, false]);
        assert_eq!(allowed(Version::V0_4_0), [true, true, true, false, false]);
        assert_eq!(allowed(Version::V1_0_0), [true, true, true, false, false]);
        assert_eq!(allowed(Version::V1_1_0), [true; 5]);
        let error = Version::V1_0_0.allow(Gc).expect_err("not yet");
        assert_eq!((error.code(), error.msg()), (Code(1), "config version does not allow GC"));
    }
}
