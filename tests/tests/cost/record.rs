//! The figures on record, `instructions.json`, one set for each architecture.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;

use crate::measure;

/// A name for each case, and how many instructions it takes.
pub(crate) type Figures = BTreeMap<&'static str, u64>;

type OnRecord = BTreeMap<String, BTreeMap<String, u64>>;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cost/instructions.json");

/// In per cent of what is on record, up or down. Runs of one build differ by 0.04 %, through the seeds of hash tables.
const TOLERANCE: u64 = 2;

const HINT: &str = "`make cost SYMBOLS=1` gives the functions their names for the commands above. If the change is \
    meant: `make cost RECORD=1`, and commit tests/tests/cost/instructions.json with the reason.";

/// Compares the figures with those on record, or puts them there if PODWIRE_RECORD is set.
pub(crate) fn keep(found: &Figures) {
    let all = read();
    if std::env::var_os("PODWIRE_RECORD").is_some_and(|value| !value.is_empty()) {
        return record(all, found);
    }
    let on_record = |case| all.get(std::env::consts::ARCH).and_then(|figures| figures.get(case)).copied();
    let complaint = |(&case, &count)| Some(explain(case, &compare(on_record(case), count).err()?));
    let complaints: Vec<String> = found.iter().filter_map(complaint).collect();
    assert!(complaints.is_empty(), "{}\n{HINT}", complaints.join("\n"));
}

fn explain(case: &str, why: &str) -> String {
    format!("{case}: {why}\n    callgrind_annotate {}", measure::annotated(case).display())
}

fn compare(on_record: Option<u64>, found: u64) -> Result<(), String> {
    let Some(known) = on_record else { return Err(format!("{found} instructions, and none on record")) };
    let (difference, allowed) = (found.abs_diff(known), known * TOLERANCE / 100);
    if difference <= allowed {
        return Ok(());
    }
    Err(if found > known {
        format!("{found} instructions, {difference} more than the {known} on record; {allowed} are tolerated")
    } else {
        format!("{found} instructions, {difference} less than the {known} on record: record the gain")
    })
}

fn record(mut all: OnRecord, found: &Figures) {
    let found = found.iter().map(|(&case, &count)| (case.to_owned(), count)).collect();
    all.insert(std::env::consts::ARCH.to_owned(), found);
    write(&all);
}

fn read() -> OnRecord {
    let text = fs::read(FILE).unwrap_or_else(|e| panic!("{FILE}: {e}"));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{FILE}: {e}"))
}

fn write(on_record: &OnRecord) {
    let mut text = serde_json::to_string_pretty(on_record).expect("numbers are JSON");
    text.push('\n');
    let written = File::create(FILE).and_then(|mut file| file.write_all(text.as_bytes()));
    written.unwrap_or_else(|e| panic!("{FILE}: {e}"));
}

#[test]
fn more_and_less_than_the_tolerance_are_noticed() {
    assert_eq!(compare(Some(100_000), 102_000), Ok(()));
    assert_eq!(compare(Some(100_000), 98_000), Ok(()));
    for (on_record, found, said) in [
        (Some(100_000), 102_001, "2001 more than the 100000 on record"),
        (Some(100_000), 97_999, "record the gain"),
        (None, 1, "none on record"),
    ] {
        assert!(compare(on_record, found).is_err_and(|why| why.contains(said)), "{on_record:?} {found}");
    }
}
