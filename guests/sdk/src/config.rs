//! The policy's configuration: JSON text, read by serde, with sentences about what is wrong with it.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use serde::de::DeserializeOwned;

use crate::Refusal;

/// The longest interface name in bytes: `IFNAMSIZ` of linux/if.h without the closing NUL.
const MAX_INTERFACE_NAME: usize = 15;

/// Reads a configuration into a struct, which should be `#[serde(deny_unknown_fields)]`, so that a key
/// that is misspelt is not passed over.
///
/// # Errors
/// An `invalid-config` refusal: for text that is not a JSON object, for a value of the wrong kind, and for
/// an unknown key, with the known key that is nearest to it.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    // serde would also take a list, as the fields in turn.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Refusal::invalid_config(
            "config: not a JSON object: write {} if there is nothing to say",
        ));
    }
    serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        let remedy = match nearest_key(&message) {
            Some(key) => format!("; did you mean `{key}`?"),
            None => "".to_string(),
        };
        Refusal::invalid_config(format!("config: {message}{remedy}"))
    })
}

/// The known key that is nearest to an unknown one. serde's message quotes the unknown one, and then all
/// that are known.
fn nearest_key(message: &str) -> Option<&str> {
    let mut quoted = message.strip_prefix("unknown field `")?.split('`').step_by(2);
    let unknown = quoted.next()?;
    quoted.filter(|known| !known.is_empty()).min_by_key(|known| distance(unknown, known))
}

/// Checks that a value of the configuration can name a Linux interface.
///
/// # Errors
/// An `invalid-config` refusal that names the key.
pub fn check_interface_name(key: &str, name: &str) -> Result<(), Refusal> {
    let foreign = |c: char| "/:%".contains(c) || c.is_whitespace() || c.is_control();
    let fits = (1..=MAX_INTERFACE_NAME).contains(&name.len());
    if fits && !name.contains(foreign) && name != "." && name != ".." {
        return Ok(());
    }
    Err(Refusal::invalid_config(format!(
        "config: {key} {name:?} cannot name an interface: use 1 to {MAX_INTERFACE_NAME} bytes without '/', \
         ':', '%' and white space"
    )))
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
    use alloc::string::String;

    use serde::Deserialize;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
    struct Config {
        bridge: String,
        max_pods: Option<u32>,
    }

    fn complaint(text: &str) -> String {
        read::<Config>(text).expect_err("it was read").message
    }

    #[test]
    fn what_is_missing_has_its_default() {
        assert_eq!(read(" {}"), Ok(Config::default()));
        assert_eq!(read(r#"{"max-pods": 3}"#), Ok(Config { max_pods: Some(3), ..Config::default() }));
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_nearest() {
        assert_eq!(
            complaint(r#"{"brigde": "cni0"}"#),
            "config: unknown field `brigde`, expected `bridge` or `max-pods` at line 1 column 9; \
             did you mean `bridge`?"
        );
        assert!(complaint(r#"{"maxPods": 3}"#).ends_with("did you mean `max-pods`?"));
    }

    #[test]
    fn where_no_key_is_known_none_is_near() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        let refusal = read::<Nothing>(r#"{"a": 1}"#).expect_err("it was read");
        assert_eq!(refusal.message, "config: unknown field `a`, there are no fields at line 1 column 4");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "[]", "null", r#"["cni0", 3]"#, "{", r#"{"bridge": 3}"#, "{} {}"] {
            assert!(complaint(text).starts_with("config: "), "{text}");
        }
    }

    #[test]
    fn interface_names_are_the_kernels() {
        for good in ["cni0", "a", "fifteen-bytes-x"] {
            assert_eq!(check_interface_name("bridge", good), Ok(()), "{good}");
        }
        for bad in ["", "sixteen-bytes-xx", "a/b", "a:b", "a b", "eth%d", ".", "..", "a\0"] {
            assert!(check_interface_name("bridge", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn distance_counts_edits() {
        for (from, to, edits) in [("", "abc", 3), ("mtu", "mtu", 0), ("brigde", "bridge", 2), ("ab", "b", 1)]
        {
            assert_eq!(distance(from, to), edits, "{from} {to}");
        }
    }
}
