//! What came of the checks, for people, for programs, and for CI servers.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::subject::Subject;
use super::{Check, Finding, Level, Outcome};

/// In which form a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One object, with everything.
    Json,
    /// JUnit's XML, which CI servers show.
    Junit,
}

/// The report of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    plugin: String,
    version: String,
    supported: Vec<String>,
    checks: Vec<Row>,
    summary: Summary,
}

#[derive(Debug, Clone, Serialize)]
struct Row {
    id: &'static str,
    heading: &'static str,
    level: Level,
    title: &'static str,
    #[serde(flatten)]
    outcome: Outcome,
    seconds: f64,
}

/// How many ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Summary {
    passed: usize,
    must_failed: usize,
    should_failed: usize,
    convention_failed: usize,
    not_applicable: usize,
    broken: usize,
}

impl Summary {
    fn count(&mut self, level: Level, outcome: &Outcome) {
        *match (outcome, level) {
            (Outcome::Passed, _) => &mut self.passed,
            (Outcome::Failed(_), Level::Must) => &mut self.must_failed,
            (Outcome::Failed(_), Level::Should) => &mut self.should_failed,
            (Outcome::Failed(_), Level::Convention) => &mut self.convention_failed,
            (Outcome::NotApplicable { .. }, _) => &mut self.not_applicable,
            (Outcome::Broken { .. }, _) => &mut self.broken,
        } += 1;
    }
}

impl Report {
    pub(super) fn new(subject: &Subject) -> Self {
        Self {
            plugin: subject.path.display().to_string(),
            version: subject.version.to_owned(),
            supported: subject.supported.clone(),
            checks: Vec::new(),
            summary: Summary::default(),
        }
    }

    pub(super) fn add(&mut self, check: &'static Check, outcome: Outcome, took: Duration) {
        let Check { id, heading, level, title, .. } = *check;
        self.summary.count(level, &outcome);
        self.checks.push(Row { id, heading, level, title, outcome, seconds: took.as_secs_f64() });
    }

    /// Whether the plugin conforms: no requirement of the level "must" is broken; if `strict`, none at all.
    pub fn conforms(&self, strict: bool) -> bool {
        let Summary { must_failed, should_failed, convention_failed, broken, .. } = self.summary;
        must_failed + broken == 0 && (!strict || should_failed + convention_failed == 0)
    }

    /// In this form.
    pub fn write(&self, format: Format) -> Result<String, serde_json::Error> {
        match format {
            Format::Table => Ok(self.table()),
            Format::Json => Ok(serde_json::to_string_pretty(self)? + "\n"),
            Format::Junit => Ok(self.junit()),
        }
    }

    fn table(&self) -> String {
        let supported = self.supported.join(", ");
        let mut text = format!("{}, which speaks {supported}; asked in {}\n\n", self.plugin, self.version);
        for row in &self.checks {
            let outcome = match row.outcome {
                Outcome::Passed => "ok",
                Outcome::Failed(_) => "FAILED",
                Outcome::NotApplicable { .. } => "n/a",
                Outcome::Broken { .. } => "BROKEN",
            };
            text += &format!("{outcome:<7} {:<8} {:<10}  {}\n", row.id, row.level, row.title);
            for line in row.explanation().lines() {
                text += &format!("{:29}{line}\n", "");
            }
        }
        let Summary { passed, must_failed, should_failed, convention_failed, not_applicable, broken } =
            self.summary;
        let failed =
            format!("failed: {must_failed} must, {should_failed} should, {convention_failed} convention");
        text + &format!("\n{passed} passed; {failed}; {not_applicable} not applicable; {broken} broken\n")
    }

    fn junit(&self) -> String {
        let failed = |row: &&Row| matches!(row.outcome, Outcome::Failed(_));
        let Summary { not_applicable, broken, .. } = self.summary;
        let failures = self.checks.iter().filter(failed).count();
        let seconds: f64 = self.checks.iter().map(|row| row.seconds).sum();
        let tests = self.checks.len();
        let counts = format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{broken}\"");
        let counts = format!("{counts} skipped=\"{not_applicable}\" time=\"{seconds:.3}\"");
        let name = escaped(&format!("CNI conformance of {}", self.plugin));
        let cases: String = self.checks.iter().map(Row::junit).collect();
        let suite = format!("<testsuite name=\"{name}\" {counts}>\n{cases}</testsuite>");
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n{suite}\n</testsuites>\n")
    }
}

impl Row {
    /// Why it did not pass.
    fn explanation(&self) -> String {
        match &self.outcome {
            Outcome::Passed => String::new(),
            Outcome::NotApplicable { reason } | Outcome::Broken { reason } => format!("because {reason}"),
            Outcome::Failed(Finding { expected, seen, call }) => {
                let call = call.as_ref().map(|call| format!("\nlast call: {call}")).unwrap_or_default();
                format!("expected: {expected}\nseen: {seen}{call}")
            }
        }
    }

    fn junit(&self) -> String {
        let (class, name) =
            (escaped(self.heading), escaped(&format!("{} {} ({})", self.id, self.title, self.level)));
        let why = escaped(&self.explanation());
        let inner = match self.outcome {
            Outcome::Passed => String::new(),
            Outcome::Failed(_) => format!("<failure message=\"{}\">{why}</failure>", escaped(self.title)),
            Outcome::NotApplicable { .. } => format!("<skipped message=\"{why}\"/>"),
            Outcome::Broken { .. } => format!("<error message=\"{why}\"/>"),
        };
        format!(
            "<testcase classname=\"{class}\" name=\"{name}\" time=\"{:.3}\">{inner}</testcase>\n",
            self.seconds
        )
    }
}

/// As XML text or an attribute's value. What XML 1.0 has no way to write is left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\n' | '\t' => {
                // Else an attribute's reader takes it for a blank. Writing to a string does not fail.
                let _ = write!(escaped, "&#{};", u32::from(c));
            }
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => (),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The checks, without running them.
pub fn list(checks: &[&Check], format: Format) -> Result<String, serde_json::Error> {
    if format == Format::Json {
        return Ok(serde_json::to_string_pretty(checks)? + "\n");
    }
    Ok(checks.iter().map(|check| format!("{:<8} {:<10}  {}\n", check.id, check.level, check.title)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: Check = Check {
        id: "S0-0.1",
        heading: "A & B",
        level: Level::Should,
        title: "it says \"<1>\"",
        run: |_| Ok(()),
    };

    fn report(level: Level, outcome: Outcome) -> Report {
        let check: &'static Check = Box::leak(Box::new(Check { level, ..CHECK }));
        let mut report = Report {
            plugin: "/bin/plugin".to_owned(),
            version: "1.0.0".to_owned(),
            supported: vec!["1.0.0".to_owned()],
            checks: Vec::new(),
            summary: Summary::default(),
        };
        report.add(check, outcome, Duration::from_millis(2));
        report
    }

    fn finding() -> Outcome {
        Outcome::Failed(Finding {
            expected: "<a>".into(),
            seen: "\u{1b}[1m\n'b'".into(),
            call: Some("c".into()),
        })
    }

    #[test]
    fn only_a_broken_must_is_no_conformance_unless_strict() {
        let na = || Outcome::NotApplicable { reason: "r".into() };
        let broken = || Outcome::Broken { reason: "r".into() };
        for (level, outcome, conforms, strictly) in [
            (Level::Must, Outcome::Passed, true, true),
            (Level::Must, finding(), false, false),
            (Level::Should, finding(), true, false),
            (Level::Convention, finding(), true, false),
            (Level::Must, na(), true, true),
            (Level::Should, broken(), false, false),
        ] {
            let report = report(level, outcome);
            assert_eq!((report.conforms(false), report.conforms(true)), (conforms, strictly), "{report:?}");
        }
    }

    #[test]
    fn xml_is_escaped() {
        let xml = report(Level::Should, finding()).junit();
        assert!(xml.contains("classname=\"A &amp; B\""), "{xml}");
        assert!(xml.contains("it says &quot;&lt;1&gt;&quot;"), "{xml}");
        assert!(xml.contains("seen: [1m&#10;'b'"), "{xml}");
        assert!(xml.contains("failures=\"1\" errors=\"0\" skipped=\"0\""), "{xml}");
    }

    #[test]
    fn reasons_are_told_in_every_form() {
        let reason = "the plugin does not speak 1.1.0";
        let report = report(Level::Must, Outcome::NotApplicable { reason: reason.into() });
        for format in [Format::Table, Format::Json, Format::Junit] {
            let text = report.write(format).expect("a report can be written");
            assert!(text.contains(reason) && text.contains("S0-0.1"), "{text}");
        }
    }
}
