use alloc::collections::BTreeMap;
use alloc::string::ToString as _;
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

#[test]
fn errors_say_where_and_which_value() {
    for (text, said) in [
        (r#"{"yes": 1}"#, "yes is 1: expected a boolean"),
        (r#"{"table": {"a": {"list": [[1, 2], [300, 0]]}}}"#, "table.a.list[1][0] is 300: expected u8"),
        (r#"{"shape": ["unti"]}"#, "shape[0] is \"unti\": unknown value `unti`: did you mean `unit`? "),
        (r#"{"shape": [{"struct": {}}]}"#, "shape[0] is {\"struct\": {}}: key `side` is missing"),
        (
            r#"{"table": {"a": {"yse": 1}}}"#,
            "table.a is {\"yse\": 1}: unknown key `yse`: did you mean `yes`? ",
        ),
    ] {
        let error = read::<Everything>(text).expect_err(text).to_string();
        assert!(error.starts_with(said), "{error}");
    }
}
