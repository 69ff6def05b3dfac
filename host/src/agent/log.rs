//! What the agent says while it runs: one line an event, on standard error, for whoever started it.
#![allow(clippy::print_stderr)]

use std::fmt::Display;
use std::sync::OnceLock;

/// How much an event matters, in syslog(3)'s numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Somebody should look.
    Warning = 4,
    /// For the record.
    Info = 6,
}

/// systemd's journal takes the number before a line for its level (sd-daemon(3)), and adds time and process itself.
fn is_journal() -> bool {
    static JOURNAL: OnceLock<bool> = OnceLock::new();
    *JOURNAL.get_or_init(|| std::env::var_os("JOURNAL_STREAM").is_some())
}

/// Says it.
pub(super) fn say(level: Level, what: impl Display) {
    let line = what.to_string().replace('\n', " ");
    if is_journal() {
        eprintln!("<{}>{line}", level as u8);
    } else {
        eprintln!("{} {line}", crate::journal::Time::now());
    }
}
