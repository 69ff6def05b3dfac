//! `podwire policy new`: the example of a language, from guests/, as a project of its own.
//!
//! The files are those that this repository builds and tests; only names and paths are put in.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::names::PolicyName;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The policy's name: a letter, then letters, digits and '-'.
    name: PolicyName,
    /// What it is written in.
    #[arg(long)]
    lang: Language,
    /// The folder for the project, new or empty; the name if it is left out.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Language {
    Rust,
    Js,
    Python,
    C,
}

type File = (&'static str, &'static [u8]);

macro_rules! example {
    ($folder:literal: $($file:literal),* $(,)?) => {
        &[$(($file, include_bytes!(concat!("../../../../guests/", $folder, "/", $file)))),*]
    };
}

const RUST: &[File] = example!("by-namespace": "Cargo.toml", "Cargo.lock", "README.md", "src/lib.rs");
const JS: &[File] = example!(
    "js": ".gitignore", "README.md", "package.json", "build.mjs", "component.js", "policy.js", "policy.test.js",
);
const PYTHON: &[File] = example!(
    "python": ".gitignore", "README.md", "Makefile", "requirements.txt", "component.py", "policy.py", "test_policy.py",
);
const C: &[File] = example!(
    "c": ".gitignore", "README.md", "Makefile", "policy.c", "config.c", "config.h", "test.c", "bindings/policy.c",
    "bindings/policy.h", "bindings/policy_component_type.o", "libc/libc.c", "libc/stdlib.h", "libc/string.h",
);

/// Of every language.
const COMMON: &[File] = example!("by-namespace": "pods.conflist", "cases/halves.toml");
const WIT: &[u8] = include_bytes!("../../../../wit/policy.wit");

/// What the example in Rust finds around it in this repository.
const SDK: &[File] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));
const LINKER: &[u8] = include_bytes!("../../../../guests/.cargo/config.toml");
const WORKSPACE: &str = include_str!("../../../../guests/Cargo.toml");

pub(super) fn run(Arguments { name, lang, folder }: &Arguments) -> Result<ExitCode> {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.as_str().starts_with(|c: char| c.is_ascii_lowercase()) || !name.as_str().chars().all(is_word) {
        bail!("{name} cannot be a project's name: take a lower-case letter, then letters, digits and '-'");
    }
    let folder = folder.clone().unwrap_or_else(|| PathBuf::from(name.as_str()));
    if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} is not empty: name another folder", folder.display());
    }
    for (path, content) in files(*lang, name.as_str()) {
        write(&folder.join(&path), &content)
            .with_context(|| format!("{} cannot be written", folder.join(&path).display()))?;
    }
    println!("{} is written: its README.md has the command that builds it", folder.display());
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::File::create_new(path)?.write_all(content)
}

fn files(lang: Language, name: &str) -> Vec<(String, Vec<u8>)> {
    let own = match lang {
        Language::Rust => RUST,
        Language::Js => JS,
        Language::Python => PYTHON,
        Language::C => C,
    };
    let example = own.iter().chain(COMMON).map(|(path, content)| ((*path).to_owned(), named(content, name)));
    let mut files: Vec<_> = example.chain([("wit/policy.wit".to_owned(), WIT.to_vec())]).collect();
    if matches!(lang, Language::Rust) {
        files.iter_mut().filter(|(path, _)| path == "Cargo.toml").for_each(|(_, it)| make_workspace(it));
        files.push((".gitignore".to_owned(), b"target/\n".to_vec()));
        files.push((".cargo/config.toml".to_owned(), LINKER.to_vec()));
        files.extend(
            SDK.iter().map(|(path, it)| (format!("sdk/{path}"), replace(it, &[("../../wit", "../wit")]))),
        );
    }
    files
}

/// The example's name becomes the project's, and what lies beside the example is inside of the project.
fn named(content: &[u8], name: &str) -> Vec<u8> {
    let crate_name = name.replace('-', "_");
    replace(
        content,
        &[
            ("../by-namespace/", ""),
            ("../../wit", "wit"),
            ("../sdk", "sdk"),
            ("by-namespace", name),
            ("by_namespace", &crate_name),
        ],
    )
}

fn replace(content: &[u8], words: &[(&str, &str)]) -> Vec<u8> {
    match str::from_utf8(content) {
        Ok(text) => {
            words.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to)).into_bytes()
        }
        Err(_) => content.to_vec(),
    }
}

/// The SDK takes its version, dependencies and lints from the workspace that it is in.
fn make_workspace(manifest: &mut Vec<u8>) {
    let shared = WORKSPACE.find("[workspace.package]").and_then(|at| WORKSPACE.get(at..));
    // The example has a profile of its own; above the workspace's stands why it is so.
    let shared = shared.and_then(|text| text.split("[profile.release]").next());
    let shared = shared.and_then(|text| text.rsplit_once("\n\n")).map_or("", |(shared, _)| shared);
    let members = format!("[workspace]\nmembers = [\"sdk\"]\n\n{shared}\n");
    *manifest = replace(manifest, &[("[workspace]\n", &members)]);
}
