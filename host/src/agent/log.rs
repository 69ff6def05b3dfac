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

/// In one line that does nothing to a terminal: members' names, and policies' words, may be anything.
pub(super) fn line(what: impl Display) -> String {
    what.to_string().chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Says it.
pub(super) fn say(level: Level, what: impl Display) {
    let line = line(what);
    if is_journal() {
        eprintln!("<{}>{line}", level as u8);
    } else {
        eprintln!("{} {line}", crate::journal::Time::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_ends_a_line_or_moves_the_cursor() {
        assert_eq!(line("peer a\r\n\u{1b}[2J\u{9b}5mé"), "peer a   [2J 5mé");
    }
}
