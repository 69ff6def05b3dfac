//! VERSION.

use super::super::{Bench, Check, Verdict, ensure, failed};
use super::{convention, must};

pub(super) const CHECKS: &[Check] = &[
    must("S2-13.1", "VERSION", "VERSION lists the supported versions", lists),
    must("S2-13.2", "VERSION", "VERSION says in which version it answers", names_its_own),
    convention("C1.1", "VERSION", "VERSION needs no standard input and no other variable", needs_nothing),
    convention("C1.2", "VERSION", "without CNI_COMMAND the plugin ends, and prints no result", no_command),
];

fn lists(bench: Bench<'_>) -> Verdict {
    let answer = bench.run(bench.call("VERSION"))?.result("VERSION")?;
    let expected = "supportedVersions is a list of versions such as \"1.0.0\"";
    let Some(versions) = answer["supportedVersions"].as_array().filter(|versions| !versions.is_empty())
    else {
        return failed(expected, answer.to_string());
    };
    let is_version =
        |text: &str| text.split('.').count() == 3 && text.split('.').all(|part| part.parse::<u32>().is_ok());
    ensure(
        versions.iter().all(|version| version.as_str().is_some_and(is_version)),
        expected,
        answer.to_string(),
    )
}

/// The specification wants the version of the question back; the reference library answers in its newest.
fn names_its_own(bench: Bench<'_>) -> Verdict {
    let answer = bench.run(bench.call("VERSION"))?.result("VERSION")?;
    let version = answer["cniVersion"].as_str().unwrap_or_default();
    let expected = format!("cniVersion is {}, as asked, or one of supportedVersions", bench.version);
    ensure(version == bench.version || bench.subject.speaks(version), expected, answer.to_string())
}

fn needs_nothing(bench: Bench<'_>) -> Verdict {
    let usual = bench.run(bench.call("VERSION"))?.result("VERSION")?;
    for text in ["", "{", "no JSON", r#"{"cniVersion":"99.0.0"}"#] {
        let bare = bench.call("VERSION").with_text(text).without("CNI_PATH");
        let answer = bench.run(bare)?.result(&format!("VERSION with {text:?} on standard input"))?;
        ensure(
            answer["supportedVersions"] == usual["supportedVersions"],
            usual.to_string(),
            answer.to_string(),
        )?;
    }
    Ok(())
}

fn no_command(bench: Bench<'_>) -> Verdict {
    let reply = bench.run(bench.call("").without("CNI_COMMAND").with_text(""))?;
    if reply.succeeded() {
        return ensure(
            reply.stdout.is_empty(),
            "no result on standard output",
            String::from_utf8_lossy(&reply.stdout),
        );
    }
    match reply.stdout.trim_ascii() {
        // What to do is told on standard error, to people.
        b"" => ensure(reply.exit.is_some(), "it ends by itself", "a signal, or patience, ended it"),
        _ => reply.error_of("a call without CNI_COMMAND", &[4]).map(drop),
    }
}
