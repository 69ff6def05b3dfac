//! `podwire topology`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use crate::state::{State, write_atomically};
use crate::topology::{Topology, dot, lab, live, svg, text};

#[derive(Args)]
pub(super) struct Arguments {
    /// How it is drawn.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write it into a file.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A tree, for a terminal.
    Text,
    /// A picture, for a browser.
    Svg,
    /// For Graphviz.
    Dot,
}

impl Format {
    fn render(self, topology: &Topology) -> String {
        match self {
            Self::Text => text::render(topology),
            Self::Svg => svg::render(topology),
            Self::Dot => dot::render(topology),
        }
    }
}

impl Arguments {
    /// The same file, whatever the working directory becomes.
    pub(super) fn absolute(self) -> Result<Self> {
        let output = self.output.map(std::path::absolute).transpose()?;
        Ok(Self { output, ..self })
    }

    /// Draws it as they say, where they say.
    pub(super) fn draw(&self, topology: &Topology) -> Result<ExitCode> {
        let drawn = self.format.render(topology);
        match &self.output {
            None => print!("{drawn}"),
            Some(file) => write_atomically(file, drawn.as_bytes())
                .with_context(|| format!("{} cannot be written", file.display()))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

pub(super) fn run(state: &State, arguments: &Arguments) -> Result<ExitCode> {
    let topology = match lab::around(state) {
        Some(lab) => Topology::from(&lab),
        None => live::gather(state)?,
    };
    arguments.draw(&topology)
}
