//! JSON in and out: values that know where they stood, so that an error names the place; and the form in
//! which documents are printed.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::shorten;
use super::{Code, Error};
use crate::names::InvalidName;

/// How much of a value an error shows, in bytes.
const MAX_EXCERPT: usize = 100;

/// A value and its place, such as `pools[1]`.
#[derive(Debug, Clone)]
pub(super) struct Value<'a> {
    path: String,
    raw: &'a RawValue,
}

impl<'a> Value<'a> {
    /// Another value that stands for it, at the same place.
    pub(super) fn rewritten<'b>(&self, raw: &'b RawValue) -> Value<'b> {
        Value { path: self.path.clone(), raw }
    }

    /// Where it stood, such as `pools[1]`.
    pub(super) fn place(&self) -> &str {
        &self.path
    }

    /// The value's own text.
    pub(super) fn text(&self) -> &'a str {
        self.raw.get()
    }

    /// The beginning of the value's text, for messages.
    pub(super) fn excerpt(&self) -> String {
        shorten(self.text(), MAX_EXCERPT)
    }

    /// An error that names place and value and goes on with what is wrong.
    pub(super) fn invalid(&self, what: &str) -> Error {
        Error::new(Code::INVALID_CONFIG, format!("{} {} {what}", self.path, self.excerpt()))
    }

    /// As any type; `wanted` says in words what that is.
    pub(super) fn read<T: Deserialize<'a>>(&self, wanted: &str) -> Result<T, Error> {
        serde_json::from_str(self.text())
            .map_err(|error| self.invalid(&format!("is not {wanted}")).with_details(error.to_string()))
    }

    /// As a string of a certain form.
    pub(super) fn parse<T: FromStr>(&self, wanted: &str) -> Result<T, Error> {
        let text: String = self.read(wanted)?;
        text.parse().map_err(|_| self.invalid(&format!("is not {wanted}")))
    }

    /// As a checked name.
    pub(super) fn name<T: FromStr<Err = InvalidName>>(&self) -> Result<T, Error> {
        let text: String = self.read("a string")?;
        let wrong = |error: InvalidName| Error::new(Code::INVALID_CONFIG, format!("{}: {error}", self.path));
        text.parse().map_err(wrong)
    }

    /// Its elements.
    pub(super) fn list(&self) -> Result<Vec<Self>, Error> {
        let elements: Vec<&'a RawValue> = self.read("a list")?;
        let place = |(i, raw)| Self { path: format!("{}[{i}]", self.path), raw };
        Ok(elements.into_iter().enumerate().map(place).collect())
    }

    /// Its members.
    pub(super) fn object(&self) -> Result<Object<'a>, Error> {
        Ok(Object { path: self.path.clone(), members: self.read("an object")? })
    }

    /// Whether it says nothing: null, false, zero, or made of such values only. Runtimes send them for
    /// capabilities that a pod does not use.
    pub(super) fn is_empty(&self) -> bool {
        serde_json::from_str(self.text()).is_ok_and(|value| is_empty(&value))
    }
}

fn is_empty(value: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Bool, Null, Number, Object, String};
    match value {
        Null => true,
        Bool(yes) => !yes,
        Number(number) => number.as_f64() == Some(0.0),
        String(text) => text.is_empty(),
        Array(elements) => elements.iter().all(is_empty),
        Object(members) => members.values().all(is_empty),
    }
}

/// An object and its place.
#[derive(Debug, Clone)]
pub(super) struct Object<'a> {
    path: String,
    members: BTreeMap<String, &'a RawValue>,
}

impl<'a> Object<'a> {
    /// A document's outermost object.
    pub(super) fn outermost(text: &'a str) -> serde_json::Result<Self> {
        Ok(Self { path: String::new(), members: serde_json::from_str(text)? })
    }

    /// The same object with keys that begin in lower case: runtimes written in Go send the fields of a type by their
    /// own names, such as `HostPort`, unless somebody thought of giving them others, and the reference plugins
    /// take both.
    pub(super) fn uncapitalised(self) -> Self {
        let lower = |(mut key, raw): (String, &'a RawValue)| {
            key.get_mut(..1).map(str::make_ascii_lowercase);
            (key, raw)
        };
        Self { members: self.members.into_iter().map(lower).collect(), ..self }
    }

    /// A member that is there and not null. (Runtimes written in Go say null for an empty list.)
    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        self.get_or_null(key).filter(|value| value.text() != "null")
    }

    /// A member that is there.
    pub(super) fn get_or_null(&self, key: &str) -> Option<Value<'a>> {
        self.members.get(key).map(|raw| Value { path: self.place(key), raw })
    }

    /// The elements of a list, each read in the same way; none if the list is not there.
    pub(super) fn each<T>(
        &self,
        key: &str,
        read: impl Fn(&Value<'a>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let Some(list) = self.get(key) else { return Ok(Vec::new()) };
        list.list()?.iter().map(read).collect()
    }

    /// Every member.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, Value<'a>)> {
        self.members.iter().map(|(key, raw)| (key.as_str(), Value { path: self.place(key), raw }))
    }

    fn place(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// A document as runtimes and people read it: indented by four spaces, as the reference plugins do.
pub(super) fn print(document: &impl Serialize) -> String {
    let mut text = Vec::with_capacity(1024);
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    document.serialize(&mut serializer).expect("keys are strings, and memory takes every byte");
    text.push(b'\n');
    String::from_utf8(text).expect("serde_json writes UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outermost(text: &str) -> Object<'_> {
        Object::outermost(text).expect("an object")
    }

    #[test]
    fn errors_name_the_place_and_the_value() {
        let object = outermost(r#"{"a": {"b": [1, "x"]}, "n": null}"#);
        let a = object.get("a").expect("there").object().expect("an object");
        let elements = a.get("b").expect("there").list().expect("a list");
        let error = elements[1].read::<u32>("a number").expect_err("a string");
        assert_eq!((error.code(), error.msg()), (Code::INVALID_CONFIG, r#"a.b[1] "x" is not a number"#));
        assert!(object.get("n").is_none() && object.get_or_null("n").is_some());
    }

    #[test]
    fn a_key_as_it_should_be_comes_before_a_capital_one() {
        let object =
            outermost(r#"{"HostPort": 1, "hostPort": 2, "HostIP": 3, "": 4, "É": 5}"#).uncapitalised();
        let number = |key| object.get(key).map(|value| value.text().to_owned());
        assert_eq!([number("hostPort"), number("hostIP")], [Some("2".to_owned()), Some("3".to_owned())]);
        assert!(number("HostPort").is_none() && number("É").is_some());
    }

    #[test]
    fn values_that_say_nothing() {
        let empty = r#"{"a": null, "b": [], "c": {}, "d": "", "e": [{"f": 0, "g": false}], "h": 0.0}"#;
        assert!(outermost(empty).members().all(|(_, value)| value.is_empty()));
        let full = r#"{"a": 1, "b": [[1]], "c": {"d": "x"}, "e": true}"#;
        assert!(!outermost(full).members().any(|(_, value)| value.is_empty()));
    }
}
