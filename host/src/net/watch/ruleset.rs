//! Changes of nftables' rules.

use super::Expected;
use crate::net::frame::Frame;
use crate::net::netfilter::GENERIC_HEADER;
use crate::net::rules::{Event, event};

/// What was heard of podwire's tables in one go. Elements of sets come and go with pods, and are nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ruleset {
    /// The node's own chain, or some of its rules, went, and did not come back: podwire makes it whole, or not at all.
    incomplete: bool,
    /// Something else that podwire counts on went, or another rule stands in the node's own chain.
    spoilt: bool,
}

impl Ruleset {
    pub(super) fn hear(&mut self, frame: &Frame<'_>, expected: &Expected) {
        let body = frame.body.get(GENERIC_HEADER..).unwrap_or_default();
        let Some(event) = event(frame.kind, body) else { return };
        let own = |chain: &str| expected.masquerade().filter(|marks| marks.chain == chain);
        match event {
            Event::TableOrSetRemoved => self.spoilt = true,
            Event::ChainAdded { chain } if own(&chain).is_some() => self.incomplete = false,
            Event::ChainRemoved { chain } | Event::RuleRemoved { chain } => {
                self.incomplete |= own(&chain).is_some();
            }
            Event::RuleAdded { chain, user_data } => {
                self.spoilt |= own(&chain).is_some_and(|marks| !marks.rules.contains(&user_data));
            }
            Event::ChainAdded { .. } => (),
        }
    }

    pub(super) fn is_contradicted(self) -> bool {
        self.incomplete || self.spoilt
    }
}
