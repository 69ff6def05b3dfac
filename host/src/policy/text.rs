//! Text that a policy wrote, or that is written about it, made fit for an operator's log.

/// What may hide or forge a line of a log: control characters, line and paragraph separators, and marks
/// that turn the direction of writing.
fn misleads(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// At most `most` bytes of the text on one line, with a replacement character for each that could mislead.
pub(super) fn clean(text: &str, most: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(most));
    for c in text.chars() {
        let c = match c {
            '\n' | '\r' | '\t' => ' ',
            c if misleads(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        };
        if clean.len() + c.len_utf8() > most {
            break;
        }
        clean.push(c);
    }
    clean
}

/// A number in groups of three digits: 50,000,000.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_passes_that_forges_a_line() {
        assert_eq!(clean("ok\n\u{1b}[31mroot: \u{202e}fine", 100), "ok \u{fffd}[31mroot: \u{fffd}fine");
        assert_eq!(clean("größer", 100), "größer");
    }

    #[test]
    fn cuts_between_characters() {
        assert_eq!(clean("aä", 2), "a");
        assert_eq!(clean("aä", 3), "aä");
    }

    #[test]
    fn groups_digits() {
        for (number, text) in [(0, "0"), (999, "999"), (4_096, "4,096"), (50_000_000, "50,000,000")] {
            assert_eq!(grouped(number), text);
        }
    }
}
