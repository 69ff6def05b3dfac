//! The policy's configuration: JSON text, read by serde, with sentences about what is wrong with it.

mod error;
mod json;

use alloc::format;

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
    json::read(text).map_err(|error| Refusal::invalid_config(format!("config: {error}")))
}

/// Checks that a value of the configuration can name a Linux interface.
///
/// # Errors
/// An `invalid-config` refusal that names the key.
pub fn check_interface_name(key: &str, name: &str) -> Result<(), Refusal> {
    let foreign = |c: char| matches!(c, '/' | ':' | '%') || c.is_whitespace() || c.is_control();
    let fits = (1..=MAX_INTERFACE_NAME).contains(&name.len());
    if fits && !name.contains(foreign) && name != "." && name != ".." {
        return Ok(());
    }
    Err(Refusal::invalid_config(format!(
        "config: {key} is `{name}`, which cannot name an interface: use 1 to {MAX_INTERFACE_NAME} bytes without '/', \
         ':', '%' and white space"
    )))
}

/// Checks that a value of the configuration can be the MTU of an interface, in bytes; with none all is well.
///
/// # Errors
/// An `invalid-config` refusal that names the key.
pub fn check_mtu(key: &str, mtu: Option<u32>) -> Result<(), Refusal> {
    match mtu {
        Some(..68 | 65_536..) => Err(Refusal::invalid_config(format!(
            "config: {key} is {}: use 68 to 65535 bytes, with IPv6 1280 at least",
            mtu.unwrap_or_default()
        ))),
        _ => Ok(()),
    }
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
            "config: unknown key `brigde`: did you mean `bridge`? There are `bridge`, `max-pods`"
        );
        assert!(complaint(r#"{"maxPods": 3}"#).contains("did you mean `max-pods`?"));
    }

    #[test]
    fn where_no_key_is_known_none_is_near() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        let refusal = read::<Nothing>(r#"{"a": 1}"#).expect_err("it was read");
        assert_eq!(refusal.message, "config: unknown key `a`: there are none");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "[]", "null", r#"["cni0", 3]"#, "{", r#"{"bridge": 3}"#, "{} {}"] {
            assert!(complaint(text).starts_with("config: "), "{text}");
        }
    }

    #[test]
    fn an_mtu_has_its_bounds() {
        for (mtu, good) in
            [(None, true), (Some(67), false), (Some(68), true), (Some(65_535), true), (Some(65_536), false)]
        {
            assert_eq!(check_mtu("mtu", mtu).is_ok(), good, "{mtu:?}");
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
}
