//! What an ADD and a DEL of podwire cost, beside the kernel's own work and the reference plugins: the marks of
//! the project, each with this machine's figures.
//!
//! A figure says something beside the others of its run only. So the variants are called in turn, in an order
//! that is shuffled round by round, and their medians are compared. Every answer is verified. A failed call or a
//! wrong outcome is a failure of the whole; a mark that is missed is not: machines differ.
//!
//! | module | owns | must not know |
//! | --- | --- | --- |
//! | [`rows`] | what each row of the table measures | processes |
//! | [`lab`] | one run: who is called when, and whether what came of it is right | rows |
//! | [`variant`] | what is compared: configurations, calls, records | times |
//! | [`spawner`] | making calls and taking their times | what they do |
//! | [`table`] | figures, marks, and how they read | measuring |
//! | [`statistics`] | arithmetic | everything else |

mod lab;
mod rows;
mod spawner;
mod statistics;
mod sys;
mod table;
mod variant;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use podwire_tests::Node;

use lab::Lab;
use rows::{Row, Scale};
use variant::Programs;

/// One cause often has many failures.
const SHOWN_FAILURES: usize = 10;

#[derive(Debug, Parser)]
#[command(about = "Measures podwire beside the kernel's own work and the reference plugins")]
struct Arguments {
    /// Calls of each variant [default: 60, with --quick 8]
    #[arg(long)]
    calls: Option<usize>,
    /// Only show that everything works: smaller, and its figures mean little
    #[arg(long)]
    quick: bool,
    /// The plugin that is measured, beside its podwire-compile [default: target/bench-plugin/podwire]
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// The command whose agent is measured [default: podwire, beside this program]
    #[arg(long, value_name = "FILE")]
    command: Option<PathBuf>,
    /// Only these rows
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    only: Vec<Row>,
    /// Print the table as Markdown
    #[arg(long)]
    markdown: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What this program does in processes of its own.
#[derive(Debug, Subcommand)]
#[command(hide = true)]
enum Part {
    #[command(name = spawner::ARGUMENT, hide = true)]
    Spawn,
    #[command(name = rows::share::ARGUMENT, hide = true)]
    Share { root: PathBuf },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.part {
        Some(Part::Spawn) => spawner::main().map(|()| true),
        Some(Part::Share { root }) => rows::share::main(root).map(|()| true),
        None => bench(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // If standard error is closed, nobody is there to be told.
            let _ = writeln!(std::io::stderr(), "podwire-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every call did what it should.
fn bench(arguments: &Arguments) -> Result<bool> {
    let target = target()?;
    let plugin = arguments.plugin.clone().unwrap_or_else(|| target.join("bench-plugin/podwire"));
    let podwire = plugin.canonicalize().with_context(|| {
        format!("{}: build it with: make plugin DIR=target/bench-plugin", plugin.display())
    })?;
    let node = Node::enter().context("nothing was measured")?;
    let command = command(arguments)?;
    let programs = Programs { podwire, command, floor: build_floor(&target)? };
    let mut lab = Lab::new(node, programs);
    let scale = match arguments.quick {
        true => Scale::quick(arguments.calls.unwrap_or(8)),
        false => Scale::whole(arguments.calls.unwrap_or(60)),
    };
    let wanted = |row| arguments.only.is_empty() || arguments.only.contains(&row);
    let lines = rows::measure(&mut lab, wanted, &scale)?;
    print(&table::render(&lines, arguments.markdown), &lab, &scale)?;
    Ok(lab.failures().is_empty())
}

fn print(table: &str, lab: &Lab, scale: &Scale) -> Result<()> {
    let mut output = std::io::stdout().lock();
    let cores = std::thread::available_parallelism()?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load = load.split_ascii_whitespace().next().unwrap_or_default();
    let kernel = rustix::system::uname();
    let kernel = kernel.release().to_string_lossy();
    writeln!(output, "Medians of {} calls; kernel {kernel}, {cores} cores, load {load}.\n", scale.calls)?;
    write!(output, "{table}")?;
    if !rows::has_incumbent() {
        writeln!(
            output,
            "\nbridge and host-local are not there: apt-get install containernetworking-plugins"
        )?;
    }
    let (shown, more) = lab.failures().split_at(lab.failures().len().min(SHOWN_FAILURES));
    for failure in shown {
        writeln!(output, "\nFAILED: {failure}")?;
    }
    if !more.is_empty() {
        writeln!(output, "\nFAILED: {} more", more.len())?;
    }
    Ok(())
}

/// The build's folder: this program lies in one of its profiles.
fn target() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.ancestors().nth(2).context("cargo puts programs into target/PROFILE")?.to_owned())
}

fn command(arguments: &Arguments) -> Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("podwire");
    let command = arguments.command.clone().unwrap_or(beside);
    command.canonicalize().with_context(|| format!("{}: build it with: make build", command.display()))
}

/// Static, so that it starts as quickly as a C program can.
fn build_floor(target: &Path) -> Result<PathBuf> {
    let floor = target.join("podwire-bench-floor");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/floor.c");
    let built = Command::new("cc").args(["-O2", "-static", "-o"]).arg(&floor).arg(source).status();
    ensure!(built.context("cc: scripts/setup bench installs it")?.success(), "{source} does not compile");
    Ok(floor)
}
