//! What a runtime is told when something failed: one JSON object, with a code.

use std::fmt;

use serde::Serialize;

use super::{Version, json};

/// The longest message, and the longest details, in bytes. Runtimes write both into events and logs, and
/// values of others stand in them.
const MAX_TEXT: usize = 4096;

/// The code of an error. Those below 100 are the specification's (section 5, "Error"), the others podwire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Code(pub u32);

impl Code {
    /// `cniVersion` is not one that podwire speaks, or the command needs a later one.
    pub const INCOMPATIBLE_VERSION: Self = Self(1);
    /// A key of the configuration that podwire does not serve; the message has its name and value.
    pub const UNSUPPORTED_FIELD: Self = Self(2);
    /// A variable of the environment is missing or wrong; the message has its name.
    pub const INVALID_ENVIRONMENT: Self = Self(4);
    /// Reading or writing failed.
    pub const IO: Self = Self(5);
    /// Standard input is not a JSON object.
    pub const UNDECODABLE: Self = Self(6);
    /// A value of the configuration is wrong or missing; the message has its place.
    pub const INVALID_CONFIG: Self = Self(7);
    /// It may go well later: no address is free, or the policy asks to try again.
    pub const TRY_AGAIN: Self = Self(11);
    /// STATUS: an ADD would fail now.
    pub const NOT_AVAILABLE: Self = Self(50);
    /// STATUS: an ADD would fail now, and containers that are attached may be cut off.
    pub const NOT_AVAILABLE_LIMITED: Self = Self(51);

    /// The policy refused.
    pub const REFUSED: Self = Self(100);
    /// The policy's plan broke a rule; nothing was changed.
    pub const PLAN_BROKE_RULE: Self = Self(101);
    /// The policy failed, or passed a limit; nothing was changed.
    pub const POLICY_FAILED: Self = Self(102);
    /// The policy is not installed, or cannot be loaded.
    pub const POLICY_UNUSABLE: Self = Self(103);
    /// The container has this attachment already: DEL comes before another ADD.
    pub const ATTACHMENT_EXISTS: Self = Self(104);
    /// An interface of that name exists already.
    pub const INTERFACE_EXISTS: Self = Self(105);
    /// The kernel refused a step; what was done before it has been undone.
    pub const KERNEL_REFUSED: Self = Self(106);
    /// CHECK found something that is not as ADD left it.
    pub const CHECK_DIFFERS: Self = Self(107);
    /// The lease database cannot be read or written.
    pub const LEASES_UNUSABLE: Self = Self(108);
    /// GC could not remove everything that it should.
    pub const GC_INCOMPLETE: Self = Self(109);
    /// The plugin that `ipam` names could not be run, or said nothing of use. Its own errors have its own codes.
    pub const DELEGATE_FAILED: Self = Self(110);
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A failed call: a code, a sentence, and more for those who ask. The texts are fit for a log, whatever
/// they were made of: of bounded length and without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    code: Code,
    msg: String,
    details: String,
    version: Option<Version>,
}

impl Error {
    /// An error without details.
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        Self { code, msg: fit(msg.into()), details: String::new(), version: None }
    }

    /// An error of code 4.
    pub(super) fn environment(msg: impl Into<String>) -> Self {
        Self::new(Code::INVALID_ENVIRONMENT, msg)
    }

    /// With what is too long for a message.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = fit(details.into());
        self
    }

    /// Says in which version to answer, unless that is known already.
    #[must_use]
    pub fn in_version(mut self, version: Version) -> Self {
        self.version.get_or_insert(version);
        self
    }

    /// Its code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Its message.
    pub fn msg(&self) -> &str {
        &self.msg
    }

    /// Its details; may be empty.
    pub fn details(&self) -> &str {
        &self.details
    }

    /// The version to answer in: the configuration's if that is known, else the newest.
    pub fn version(&self) -> Version {
        self.version.unwrap_or(Version::NEWEST)
    }

    /// What goes to standard output. (The specification's overview says standard error; runtimes read
    /// standard output.)
    pub fn to_json(&self) -> String {
        json::print(&Document {
            version: self.version().as_str(),
            code: self.code,
            msg: &self.msg,
            details: &self.details,
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if self.details.is_empty() { Ok(()) } else { write!(f, " ({})", self.details) }
    }
}

impl std::error::Error for Error {}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "cniVersion")]
    version: &'static str,
    code: Code,
    msg: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    details: &'a str,
}

fn fit(text: String) -> String {
    if text.len() <= MAX_TEXT && !text.contains(char::is_control) {
        return text;
    }
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    shorten(&clean, MAX_TEXT)
}

/// At most so many bytes of a text, ending in "…" if there was more.
pub(super) fn shorten(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(longest.saturating_sub('…'.len_utf8()));
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_the_specifications() {
        let error = Error::new(Code::INVALID_CONFIG, "missing network name");
        let newest =
            "{\n    \"cniVersion\": \"1.1.0\",\n    \"code\": 7,\n    \"msg\": \"missing network name\"\n}\n";
        assert_eq!(error.to_json(), newest);
        let error = error.in_version(Version::V0_4_0).in_version(Version::V1_0_0).with_details("more");
        let document: serde_json::Value = serde_json::from_str(&error.to_json()).expect("JSON");
        let expected = serde_json::json!({
            "cniVersion": "0.4.0", "code": 7, "msg": "missing network name", "details": "more"
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn texts_are_fit_for_a_log() {
        let error = Error::new(Code::IO, "a\nb\u{1b}[31m\u{7f}\u{9b}ä").with_details("ö".repeat(MAX_TEXT));
        assert_eq!(error.msg(), "a b [31m  ä");
        assert!(error.details().len() <= MAX_TEXT && error.details().len() > MAX_TEXT - 8);
        assert!(error.details().ends_with('…'));
        let whole = "x".repeat(MAX_TEXT);
        assert_eq!(Error::new(Code::IO, whole.clone()).msg(), whole);
    }
}
