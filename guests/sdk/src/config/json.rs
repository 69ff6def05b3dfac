//! JSON text as serde's data. Knows nothing of policies.
//!
//! The host hands over text that it has read as JSON already, so what is left to do is to take it apart
//! by the types that are asked for. That costs a policy a few kilobytes, where a general reader, with the
//! arithmetic of floating-point numbers, would be more than half of it. Text that is no JSON gives an
//! error or some value, and never harms.

use alloc::format;
use alloc::string::String;
use core::mem;
use core::str::FromStr;

use serde::de::value::StringDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::error::Error;

/// Reads a value that is all of the text.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let mut rest = text;
    let value = value(&mut rest)?;
    if !rest.trim_ascii().is_empty() {
        return Err(not_json("something follows the object"));
    }
    T::deserialize(Value(value))
}

fn not_json(why: &str) -> Error {
    Error::custom(format_args!("not JSON: {why}"))
}

/// Splits the next token off: a string, one of `{}[]:,`, or a number or word; nothing at the end.
fn token<'a>(rest: &mut &'a str) -> &'a str {
    let text = rest.trim_ascii_start();
    let is_end_of_word = |byte: &u8| b" \t\r\n{}[]:,\"".contains(byte);
    let length = match text.as_bytes() {
        [] => 0,
        [b'"', inside @ ..] => 1 + up_to_quote(inside),
        [b'{' | b'}' | b'[' | b']' | b':' | b',', ..] => 1,
        word => word.iter().position(is_end_of_word).unwrap_or(word.len()),
    };
    let (token, after) = text.split_at_checked(length).unwrap_or((text, ""));
    *rest = after;
    token
}

/// How many bytes of a string there are, its closing quote included.
fn up_to_quote(inside: &[u8]) -> usize {
    let mut escaped = false;
    let quote = inside.iter().position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    });
    quote.map_or(inside.len(), |at| at + 1)
}

/// Splits the next value off, with all that is in it.
fn value<'a>(rest: &mut &'a str) -> Result<&'a str, Error> {
    let text = rest.trim_ascii_start();
    let mut depth = 0_u32;
    loop {
        depth = match token(rest) {
            "" => return Err(not_json("it ends too early")),
            "{" | "[" => depth + 1,
            "}" | "]" => depth.checked_sub(1).ok_or_else(|| not_json("a value is missing"))?,
            _ => depth,
        };
        if depth == 0 {
            return Ok(text.get(..text.len() - rest.len()).unwrap_or(text));
        }
    }
}

/// What a string, quoted as JSON does, stands for.
fn unquoted(text: &str) -> Option<String> {
    let mut rest = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut plain = String::with_capacity(rest.len());
    while let Some((before, escape)) = rest.split_once('\\') {
        let (character, after) = unescaped(escape)?;
        plain.push_str(before);
        plain.push(character);
        rest = after;
    }
    plain.push_str(rest);
    Some(plain)
}

/// The character that stands after a backslash, and what follows it.
fn unescaped(escape: &str) -> Option<(char, &str)> {
    let mut characters = escape.chars();
    let character = match characters.next()? {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => return utf16(characters.as_str()),
        other => other,
    };
    Some((character, characters.as_str()))
}

/// A character beyond U+FFFF is a pair of escapes, its halves in UTF-16 (RFC 8259, section 7).
fn utf16(digits: &str) -> Option<(char, &str)> {
    let (first, rest) = hexadecimal(digits)?;
    if let Some(character) = char::from_u32(first.into()) {
        return Some((character, rest));
    }
    let (second, rest) = hexadecimal(rest.strip_prefix("\\u")?)?;
    let character = char::decode_utf16([first, second]).next()?.ok()?;
    Some((character, rest))
}

fn hexadecimal(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    Some((u16::from_str_radix(digits, 16).ok()?, rest))
}

/// The text of one value.
#[derive(Clone, Copy)]
struct Value<'a>(&'a str);

impl<'a> Value<'a> {
    fn number<T: FromStr>(self) -> Option<T> {
        self.0.parse().ok()
    }

    /// The inside of a list or an object.
    fn parts(self, open: char, expected: &dyn Expected) -> Result<Parts<'a>, Error> {
        let rest = self.0.strip_prefix(open).ok_or_else(|| Error::expected(expected))?;
        Ok(Parts { rest, key: String::new(), count: 0 })
    }
}

/// Numbers without a fraction, of whichever width.
macro_rules! integers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match (self.number(), self.number()) {
                (Some(number), _) => visitor.visit_u64(number),
                (_, Some(number)) => visitor.visit_i64(number),
                _ => Err(Error::expected(&visitor)),
            }
        }
    )*};
}

/// By the type that is asked for, so that a policy holds no code for what its configuration has not.
impl<'de> Deserializer<'de> for Value<'de> {
    type Error = Error;

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let number = self.number().ok_or_else(|| Error::expected(&visitor))?;
        visitor.visit_f64(number)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(Error::expected(&visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let text = unquoted(self.0).ok_or_else(|| Error::expected(&visitor))?;
        visitor.visit_string(text)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0 != "null" {
            return Err(Error::expected(&visitor));
        }
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0 == "null" { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut parts = self.parts('[', &visitor)?;
        let value = visitor.visit_seq(&mut parts)?;
        parts.end("]").map(|()| value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let parts = self.parts('{', &visitor)?;
        visitor.visit_map(parts)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    /// `"variant"` or `{"variant": what it holds}`.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if let Some(variant) = unquoted(self.0) {
            return visitor.visit_enum(StringDeserializer::new(variant));
        }
        let mut parts = self.parts('{', &visitor)?;
        let value = visitor.visit_enum(&mut parts)?;
        parts.end("}").map(|()| value)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.as_bytes() {
            [b'"', ..] => self.deserialize_string(visitor),
            [b'{', ..] => self.deserialize_map(visitor),
            [b'[', ..] => self.deserialize_seq(visitor),
            b"null" => visitor.visit_unit(),
            b"true" | b"false" => self.deserialize_bool(visitor),
            number if number.iter().any(|byte| b".eE".contains(byte)) => self.deserialize_f64(visitor),
            _ => self.deserialize_i64(visitor),
        }
    }

    forward_to_deserialize_any! { i128 u128 bytes byte_buf unit_struct tuple_struct }
}

/// What stands in a list or an object, in turn.
struct Parts<'a> {
    rest: &'a str,
    /// Of the entry whose value comes next.
    key: String,
    count: usize,
}

impl<'a> Parts<'a> {
    /// Goes to the next part, past the comma before it; false at the end.
    fn next(&mut self, close: &str) -> Result<bool, Error> {
        let mut after = self.rest;
        let found = token(&mut after);
        if found == close {
            return Ok(false);
        }
        if self.count > 0 {
            if found != "," {
                return Err(not_json("a comma is missing"));
            }
            self.rest = after;
        }
        self.count += 1;
        Ok(true)
    }

    /// Nobody asked for what comes now.
    fn end(&mut self, close: &str) -> Result<(), Error> {
        if self.next(close)? { Err(Error::custom("it holds too much")) } else { Ok(()) }
    }

    fn key(&mut self) -> Result<String, Error> {
        let key = unquoted(token(&mut self.rest)).ok_or_else(|| not_json("a key is missing"))?;
        if token(&mut self.rest) != ":" {
            return Err(not_json("a colon is missing"));
        }
        Ok(key)
    }

    fn value<'de, S: DeserializeSeed<'de>>(&mut self, seed: S, place: &str) -> Result<S::Value, Error>
    where
        'a: 'de,
    {
        let text = value(&mut self.rest)?;
        seed.deserialize(Value(text)).map_err(|error| error.at(place, text))
    }
}

impl<'de> SeqAccess<'de> for Parts<'de> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        if !self.next("]")? {
            return Ok(None);
        }
        let place = format!("[{}]", self.count - 1);
        self.value(seed, &place).map(Some)
    }
}

impl<'de> MapAccess<'de> for Parts<'de> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        if !self.next("}")? {
            return Ok(None);
        }
        self.key = self.key()?;
        seed.deserialize(StringDeserializer::new(self.key.clone())).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let key = mem::take(&mut self.key);
        self.value(seed, &key)
    }
}

impl<'de> EnumAccess<'de> for &mut Parts<'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        match self.next_key_seed(seed)? {
            Some(variant) => Ok((variant, self)),
            None => Err(Error::custom("the object names no variant")),
        }
    }
}

impl<'de> VariantAccess<'de> for &mut Parts<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        self.next_value()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        self.next_value_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        Value(value(&mut self.rest)?).deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        Value(value(&mut self.rest)?).deserialize_map(visitor)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;
    use core::fmt::Debug;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Everything {
        text: Option<String>,
        letter: char,
        list: Vec<(u8, i64)>,
        table: BTreeMap<String, Everything>,
        shape: Vec<Shape>,
        share: f64,
        yes: bool,
        nothing: (),
        tagged: Option<Tagged>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Shape {
        Unit,
        Newtype(i16),
        Tuple(bool, String),
        Struct { side: u32 },
    }

    /// serde reads these by looking first.
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "kind", rename_all = "kebab-case")]
    enum Tagged {
        A { n: i64, x: f64, list: Vec<Option<bool>> },
    }

    fn agrees<T: DeserializeOwned + Debug + PartialEq>(text: &str) {
        let (ours, theirs) = (read::<T>(text).ok(), serde_json::from_str::<T>(text).ok());
        assert_eq!(ours, theirs, "{text}");
    }

    #[test]
    fn what_is_good_is_read_as_serde_json_does() {
        for text in [
            r"{}",
            " { } ",
            r#"{"text": null, "yes": true, "nothing": null, "share": -1.5e3}"#,
            r#"{"text":"a \"b\" \\ \/ \b\f\n\r\t \u00e4 \ud83d\ude00 ä 😀 {[,:]}", "letter": "\\"}"#,
            "{\"list\" :\t[ [ 1 , -9223372036854775808 ] ,\r\n[255,0]]}",
            r#"{"table": {"a": {"table": {"b\"": {}}}, "": {"yes": true}}}"#,
            r#"{"shape": ["unit", {"newtype": -3}, {"tuple": [true, "x"]}, {"struct": {"side": 4}}, {"unit": null}]}"#,
            r#"{"tagged": {"n": 3, "x": 2.5, "kind": "a", "list": [null, true, false]}}"#,
        ] {
            assert!(read::<Everything>(text).is_ok(), "{text}");
            agrees::<Everything>(text);
        }
    }

    #[test]
    fn what_is_bad_is_refused_as_serde_json_does() {
        for text in [
            "",
            "{",
            "}",
            "[",
            "{]",
            "{,}",
            "{} {}",
            r#"{"yes"}"#,
            r#"{"yes" true}"#,
            r#"{"yes": }"#,
            r#"{"yes": true,}"#,
            r#"{"yes": true "share": 1}"#,
            r#"{yes: true}"#,
            r#"{"yes": truely}"#,
            r#"{"yes": 1}"#,
            r#"{"yes": true, "yes": true}"#,
            r#"{"text": "a}"#,
            r#"{"text": "\u12"}"#,
            r#"{"text": "\ud83d"}"#,
            r#"{"text": "\ud83dx"}"#,
            r#"{"text": "\ude00\ud83d"}"#,
            r#"{"text": "\"#,
            r#"{"text": 3}"#,
            r#"{"letter": "ab"}"#,
            r#"{"list": [[256, 0]]}"#,
            r#"{"list": [[1, 2, 3]]}"#,
            r#"{"list": [[1]]}"#,
            r#"{"list": [[1.5, 0]]}"#,
            r#"{"list": {}}"#,
            r#"{"list": [,]}"#,
            r#"{"list": [[1, 9223372036854775808]]}"#,
            r#"{"nothing": 0}"#,
            r#"{"share": "1"}"#,
            r#"{"shape": ["none"]}"#,
            r#"{"shape": [{}]}"#,
            r#"{"shape": [{"newtype": "x"}]}"#,
            r#"{"shape": [{"unit": null, "newtype": 3}]}"#,
            r#"{"shape": [3]}"#,
            r#"{"table": []}"#,
            r#"{"tagged": {"kind": "b"}}"#,
            r#"{"unknown": 3}"#,
        ] {
            assert!(read::<Everything>(text).is_err(), "{text}");
            agrees::<Everything>(text);
        }
    }
}
