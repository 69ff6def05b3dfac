//! The README's tutorial, followed word for word.
//!
//! Reads it from the README itself, so that what stands there is what works.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[test]
fn the_policy_that_it_shows_is_the_one_that_it_copies() {
    let policy =
        fs::read_to_string(repository().join("guests/by-namespace/src/lib.rs")).expect("it is there");
    let shown = blocks("rust");
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert!(policy.contains(&shown[0]), "the README shows another policy than guests/by-namespace");
}

#[test]
fn it_can_be_followed_to_its_end() {
    let lacks = |what: &str| {
        // The test framework hides what passing tests print.
        writeln!(std::io::stderr(), "skipped, because the tutorial needs {what}").expect("it is open");
    };
    if !works("rustup", "--version") {
        return lacks("rustup");
    }
    // Processes of its own: so its lab is the only one, and ends with it.
    if !works("unshare", "--pid") {
        return lacks("root");
    }
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tutorial");
    // One that was left by a test that was killed.
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).expect("it can be made");
    let said = follow(&blocks("sh").concat(), &place);
    for (pod, address) in [("postgres", 129), ("web", 1), ("redis", 2), ("mysql", 130)] {
        let added = format!("ADD {pod} → 10.244.1.{address}/32");
        assert!(said.contains(&added), "{added} is not in\n{said}");
        assert!(
            section().contains(&format!("`10.244.1.{address}`")),
            "the README promises another than {address}"
        );
    }
    assert!(said.contains("some pods would be treated differently"), "{said}");
    fs::remove_dir_all(place).expect("it is ours");
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a folder of the repository")
}

fn section() -> String {
    let readme = fs::read_to_string(repository().join("README.md")).expect("it is there");
    let mut sections = readme.split("\n## ").filter(|section| section.starts_with("Write your own policy"));
    sections.next().expect("the README has a tutorial").to_owned()
}

/// What stands between fences of a language.
fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let section = section();
    let opened = section.split(&fence).skip(1);
    opened.map(|text| text.split("```").next().unwrap_or_default().to_owned()).collect()
}

fn works(program: &str, argument: &str) -> bool {
    let quiet = Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    quiet.is_ok_and(|status| status.success())
}

/// Runs the commands, which end with their lab, and returns what they print.
fn follow(commands: &str, place: &Path) -> String {
    let mut shell = Command::new("unshare");
    shell.args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-eux", "-c", commands]);
    shell.current_dir(place).env("PATH", path_with_podwire());
    // What cargo and make tell the tests is no newcomer's; he has the toolchain of the folder he is in.
    let settings = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS"];
    for variable in settings.into_iter().chain(["RUSTUP_TOOLCHAIN"]) {
        shell.env_remove(variable);
    }
    // He waits for the compiler once, not for each test.
    shell.env("CARGO_BUILD_BUILD_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("tutorial-build"));
    let output = shell.output().expect("there is a shell");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// As after `make build`.
fn path_with_podwire() -> String {
    let test = std::env::current_exe().expect("a test knows its own file");
    let profile = test.ancestors().nth(2).expect("cargo puts tests into target/PROFILE/deps");
    assert!(profile.join("podwire").is_file(), "build it first: cargo build --package podwire --bins");
    format!("{}:{}", profile.display(), std::env::var("PATH").expect("cargo was found by it"))
}
