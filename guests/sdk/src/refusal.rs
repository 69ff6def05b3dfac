//! A policy's reasoned no.

use alloc::string::String;
use core::fmt;

/// Why a policy says no, for the code of the CNI error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// A configuration is wrong, the policy's own, the node's or a peer's: CNI code 7.
    InvalidConfig,
    /// This pod must not have this: CNI code 100.
    Denied,
    /// No address is left: CNI code 11, the runtime tries again.
    Exhausted,
    /// Something else that passes: CNI code 11.
    TryAgain,
}

/// A reasoned no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For the code of the CNI error.
    pub reason: RefusalReason,
    /// A sentence for the operator: what, where, which value, what to do.
    pub message: String,
}

impl Refusal {
    /// A configuration is wrong: the policy's own, the node's or a peer's.
    pub fn invalid_config(message: impl Into<String>) -> Self {
        Self { reason: RefusalReason::InvalidConfig, message: message.into() }
    }

    /// This pod must not have this.
    pub fn denied(message: impl Into<String>) -> Self {
        Self { reason: RefusalReason::Denied, message: message.into() }
    }

    /// No address is left.
    pub fn exhausted(message: impl Into<String>) -> Self {
        Self { reason: RefusalReason::Exhausted, message: message.into() }
    }

    /// Something else that passes.
    pub fn try_again(message: impl Into<String>) -> Self {
        Self { reason: RefusalReason::TryAgain, message: message.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for Refusal {}
