//! What is wrong with a configuration, in a sentence: where, which value, what it should be.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt::{self, Display};

use serde::de::{self, Expected, Unexpected};

/// So many characters of a value are quoted.
const QUOTED: usize = 40;

/// What is wrong. Behind a pointer, because each step of reading hands it on, and copies take code.
#[derive(Debug)]
pub(super) struct Error(Box<Complaint>);

#[derive(Debug)]
struct Complaint {
    /// The way to the value, such as `routes[2].via`; empty for the whole.
    place: String,
    /// What is wrong with it.
    text: String,
}

impl Error {
    /// The value is not what was asked for.
    pub(super) fn expected(what: &dyn Expected) -> Self {
        de::Error::custom(format_args!("expected {what}"))
    }

    /// The error of a part, as an error of the whole.
    pub(super) fn at(mut self, part: &str, value: &str) -> Self {
        let Complaint { place, text } = &mut *self.0;
        if place.is_empty() {
            *text = format!("{}: {text}", quote(value));
        } else if !place.starts_with('[') {
            place.insert(0, '.');
        }
        place.insert_str(0, part);
        self
    }

    fn unknown(what: &str, name: &str, known: &[&str]) -> Self {
        let Some(nearest) = known.iter().min_by_key(|known| distance(name, known)) else {
            return de::Error::custom(format_args!("unknown {what} `{name}`: there are none"));
        };
        let known = known.join("`, `");
        de::Error::custom(format_args!(
            "unknown {what} `{name}`: did you mean `{nearest}`? There are `{known}`"
        ))
    }
}

fn quote(value: &str) -> String {
    match value.char_indices().nth(QUOTED) {
        Some((at, _)) => format!("{}…", value.get(..at).unwrap_or_default()),
        None => value.to_string(),
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Complaint { place, text } = &*self.0;
        if !place.is_empty() {
            write!(f, "{place} is ")?;
        }
        f.write_str(text)
    }
}

impl core::error::Error for Error {}

// serde's own sentences say what was found; ours quote it, and need no code to write numbers with.
impl de::Error for Error {
    fn custom<T: Display>(complaint: T) -> Self {
        Self(Box::new(Complaint { place: String::new(), text: complaint.to_string() }))
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(expected)
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(expected)
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self::unknown("key", name, known)
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        Self::unknown("value", name, known)
    }
}

/// How many bytes must be put in, taken out or replaced to make one text of the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = core::mem::replace(&mut row[0], i + 1);
        for (j, b) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (from, to, edits) in [("", "abc", 3), ("mtu", "mtu", 0), ("brigde", "bridge", 2), ("ab", "b", 1)]
        {
            assert_eq!(distance(from, to), edits, "{from} {to}");
        }
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(quote(&"ä".repeat(40)), "ä".repeat(40));
        assert_eq!(quote(&"ä".repeat(41)), "ä".repeat(40) + "…");
    }
}
