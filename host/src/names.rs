//! Identities, checked when they are made, so that a wrong one cannot be passed on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest interface name in bytes: `IFNAMSIZ` of linux/if.h without the closing NUL.
pub const MAX_INTERFACE_NAME: usize = 15;

/// The longest container ID in bytes. The specification sets no bound; runtimes use 64 hexadecimal
/// digits; the lease database's keys hold 511 bytes.
pub const MAX_CONTAINER_ID: usize = 255;

/// What is wrong with a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} {problem}")]
pub struct InvalidName {
    what: &'static str,
    value: String,
    problem: String,
}

impl InvalidName {
    fn new(what: &'static str, value: &str, problem: impl Into<String>) -> Self {
        let value = value.chars().take(80).collect();
        Self { what, value, problem: problem.into() }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                $check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// CNI_CONTAINERID: an alphanumeric character, then alphanumerics, `_`, `.` and `-`
    /// (CNI specification, section 2).
    ContainerId, check_container_id
}

name! {
    /// The name of a network interface: 1 to 15 bytes without `/`, `:`, white space or control
    /// characters, not `.` or `..` (`dev_valid_name` in the kernel's net/core/dev.c). The kernel takes
    /// `%` as a pattern, so it is refused too.
    InterfaceName, check_interface_name
}

name! {
    /// `name` of a network configuration: an alphanumeric character, then alphanumerics, `_`, `.` and
    /// `-` (CNI specification, section 1).
    NetworkName, check_network_name
}

name! {
    /// The name under which a policy is installed: a lower-case letter or digit, then those and `-`, at
    /// most 63 bytes (a DNS label, as Kubernetes names things).
    PolicyName, check_policy_name
}

impl Default for PolicyName {
    /// The policy that podwire brings along.
    fn default() -> Self {
        Self("bridge".to_owned())
    }
}

fn check_container_id(text: &str) -> Result<(), InvalidName> {
    check_token("container ID", text, MAX_CONTAINER_ID)
}

fn check_network_name(text: &str) -> Result<(), InvalidName> {
    check_token("network name", text, 255)
}

/// What the specification allows for container IDs and network names.
fn check_token(what: &'static str, text: &str, longest: usize) -> Result<(), InvalidName> {
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(InvalidName::new(what, text, "must begin with a letter or digit"));
    }
    if let Some(bad) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !"_.-".contains(*c)) {
        return Err(InvalidName::new(what, text, format!("must not contain {bad:?}")));
    }
    if text.len() > longest {
        return Err(InvalidName::new(what, text, format!("is longer than {longest} bytes")));
    }
    Ok(())
}

fn check_interface_name(text: &str) -> Result<(), InvalidName> {
    let what = "interface name";
    if text.is_empty() || text == "." || text == ".." {
        return Err(InvalidName::new(what, text, "is not usable"));
    }
    if text.len() > MAX_INTERFACE_NAME {
        return Err(InvalidName::new(what, text, format!("is longer than {MAX_INTERFACE_NAME} bytes")));
    }
    let bad = |c: &char| "/:%".contains(*c) || c.is_whitespace() || c.is_control();
    match text.chars().find(bad) {
        Some(bad) => Err(InvalidName::new(what, text, format!("must not contain {bad:?}"))),
        None => Ok(()),
    }
}

fn check_policy_name(text: &str) -> Result<(), InvalidName> {
    let what = "policy name";
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !text.starts_with(plain) || !text.chars().all(|c| plain(c) || c == '-') || text.len() > 63 {
        let rule = "must be 1 to 63 lower-case letters, digits and '-', and not begin with '-'";
        return Err(InvalidName::new(what, text, rule));
    }
    Ok(())
}

/// A hardware address, written `0a:58:0a:f4:01:02`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Whether an interface can carry it: not multicast, and not all zeros.
    pub fn is_unicast(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl FromStr for MacAddress {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wrong = || InvalidName::new("hardware address", text, "is not of the form 0a:58:0a:f4:01:02");
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|p| p.len() == 2 && is_hex(p)).ok_or_else(wrong)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() { Err(wrong()) } else { Ok(Self(octets)) }
    }
}

impl TryFrom<String> for MacAddress {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> String {
        mac.to_string()
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b':'; 17];
        text.chunks_mut(3).zip(self.0).for_each(|(place, octet)| place[..2].copy_from_slice(&hex(octet)));
        f.write_str(ascii(&text))
    }
}

/// `from_str_radix` alone would take a sign.
fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Two digits. The formatter would take a hundred times as long, and an ADD writes some 200 such bytes.
pub(crate) fn hex(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]]
}

fn ascii(text: &[u8]) -> &str {
    std::str::from_utf8(text).expect("digits are text")
}

/// The SHA-256 of a policy's component, written `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl FromStr for Digest {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wrong = || InvalidName::new("digest", text, "is not sha256: and 64 hexadecimal digits");
        let hex = text.strip_prefix("sha256:").filter(|h| h.len() == 64 && is_hex(h)).ok_or_else(wrong)?;
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 64];
        text.chunks_mut(2).zip(self.0).for_each(|(place, byte)| place.copy_from_slice(&hex(byte)));
        f.write_str("sha256:")?;
        f.write_str(ascii(&text))
    }
}

/// What CNI calls an attachment: one interface of one container. No two on a node are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttachmentId {
    /// CNI_CONTAINERID.
    pub container_id: ContainerId,
    /// CNI_IFNAME.
    pub ifname: InterfaceName,
}

impl fmt::Display for AttachmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.container_id, self.ifname)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_are_the_kernels() {
        for good in ["eth0", "a", "pw0123456789abc", "net1.5", "ä"] {
            assert!(good.parse::<InterfaceName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a:b", "a b", "eth%d", "sixteen-bytes-xx", "a\u{0}"] {
            assert!(bad.parse::<InterfaceName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn container_ids_are_the_specifications() {
        assert!("0a-b_c.d".parse::<ContainerId>().is_ok());
        for bad in ["", "-a", "a/b", "a b", "ä", &"a".repeat(MAX_CONTAINER_ID + 1)] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn hardware_addresses_and_digests_read_back() {
        let mac: MacAddress = "0a:58:0A:f4:01:02".parse().expect("valid");
        assert_eq!(mac.to_string(), "0a:58:0a:f4:01:02");
        for bad in ["", "0a:58:0a:f4:01", "0a:58:0a:f4:01:02:03", "0a:58:0a:f4:01:2", "+a:58:0a:f4:01:+2"] {
            assert!(bad.parse::<MacAddress>().is_err(), "{bad}");
        }
        let digest = Digest([0xab; 32]);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!("sha256:zz".parse::<Digest>().is_err());
    }
}
