//! In what two plans differ, field by field.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// A field that has another value in one than in the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Such as `addresses[0].prefix`.
    pub field: String,
    /// What it was; none: the field was not there.
    pub was: Option<String>,
    /// What it is now.
    pub now: Option<String>,
}

impl fmt::Display for Difference {
    /// A line for what was, beginning with `-`, and one for what is now, with `+`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = [('-', &self.was), ('+', &self.now)];
        let lines = lines.into_iter().filter_map(|(sign, value)| Some((sign, value.as_ref()?)));
        for (number, (sign, value)) in lines.enumerate() {
            let end = if number == 0 { "" } else { "\n" };
            write!(f, "{end}{sign} {}: {value}", self.field)?;
        }
        Ok(())
    }
}

/// By every field that the two have, as they are written down: none can be forgotten here.
pub fn differences(was: &impl Serialize, now: &impl Serialize) -> Vec<Difference> {
    let (was, now) = (fields(was), fields(now));
    let names: std::collections::BTreeSet<&String> = was.keys().chain(now.keys()).collect();
    let difference = |field: &String| Difference {
        field: field.clone(),
        was: was.get(field).cloned(),
        now: now.get(field).cloned(),
    };
    names.into_iter().map(difference).filter(|difference| difference.was != difference.now).collect()
}

fn fields(value: &impl Serialize) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    // Whatever is compared here was, or will be, written as JSON.
    gather(&mut fields, String::new(), serde_json::to_value(value).unwrap_or_default());
    fields
}

fn gather(fields: &mut BTreeMap<String, String>, path: String, value: Value) {
    match value {
        Value::Object(object) => {
            let dot = if path.is_empty() { "" } else { "." };
            for (key, value) in object {
                gather(fields, format!("{path}{dot}{key}"), value);
            }
        }
        Value::Array(values) => {
            for (index, value) in values.into_iter().enumerate() {
                gather(fields, format!("{path}[{index}]"), value);
            }
        }
        Value::Null => {}
        Value::String(text) => _ = fields.insert(path, text),
        other => _ = fields.insert(path, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_told() {
        let was = json!({ "a": 1, "list": [{ "x": "1" }, { "x": "2" }], "gone": true, "none": null });
        let now = json!({ "a": 1, "list": [{ "x": "1" }, { "x": "3" }], "new": { "y": 5 } });
        let told: Vec<String> = differences(&was, &now).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["- gone: true", "- list[1].x: 2\n+ list[1].x: 3", "+ new.y: 5"]);
        assert_eq!(differences(&was, &was), []);
    }
}
