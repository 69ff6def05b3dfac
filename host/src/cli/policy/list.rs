//! `podwire policy list`.

use std::process::ExitCode;

use anyhow::Result;

use crate::registry::Registry;

pub(super) fn run(registry: &Registry) -> Result<ExitCode> {
    for installed in registry.list()? {
        let origin = if installed.is_builtin() { "built in" } else { "installed" };
        println!("{:<20} {} {origin}", installed.name.as_str(), installed.digest);
    }
    Ok(ExitCode::SUCCESS)
}
