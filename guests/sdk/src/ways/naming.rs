//! Peers that are named to the operator: so many that nobody overlooks them, and not all of thousands.

use alloc::format;
use alloc::string::String;

use crate::log;

/// The host ends a call that writes thousands of notes, and drops those beyond 16 KiB.
const MOST: u32 = 32;

/// The notes of one call.
#[derive(Debug, Default)]
pub(crate) struct Naming {
    count: u32,
}

impl Naming {
    pub(crate) fn warn(&mut self, note: impl FnOnce() -> String) {
        self.count += 1;
        if self.count <= MOST {
            log::warn(&note());
        }
    }

    pub(crate) fn end(self) {
        if let more @ 1.. = self.count.saturating_sub(MOST) {
            log::warn(&format!("and {more} more like these"));
        }
    }
}
