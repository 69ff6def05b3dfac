//! `podwire policy rollback`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::who;
use crate::names::{NetworkName, PolicyName};
use crate::registry::Registry;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// Its name.
    name: PolicyName,
    /// In this network only.
    #[arg(long, value_name = "NAME")]
    network: Option<NetworkName>,
}

pub(super) fn run(registry: &Registry, Arguments { name, network }: &Arguments) -> Result<ExitCode> {
    println!("{}", registry.roll_back(name, network.as_ref(), &who())?);
    Ok(ExitCode::SUCCESS)
}
