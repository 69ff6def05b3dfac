//! `podwire policy bench`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;

use super::component::Component;
use super::test::object;
use crate::policy::{Engine, grouped};
use crate::registry::Registry;
use crate::trial::Setting;
use crate::trial::bench::{self, Measured, Rate};

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// A file, or an installed policy: NAME, for the version installed last, or NAME@DIGEST.
    component: String,
    /// The policy's configuration, a JSON object.
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = object)]
    config: String,
    /// For how long it is asked, 1 to 60.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Print what was measured as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(registry: &Registry, arguments: &Arguments) -> Result<ExitCode> {
    let component = Component::find(registry, &arguments.component)?;
    let setting = Setting::of(&arguments.config);
    let time = Duration::from_secs(arguments.seconds);
    let measured = Engine::new()
        .and_then(|engine| bench::bench(&engine, (&component.bytes, &component.label), &setting, time))
        .with_context(|| format!("{} cannot be measured", component.label))?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&measured)?);
    } else {
        print!("{}", told(&measured));
    }
    Ok(ExitCode::SUCCESS)
}

fn told(measured: &Measured) -> String {
    let Measured { component, code, compile, load, instantiate, warm, fresh, cost, answer } = measured;
    let bytes = |bytes: usize| format!("{} bytes", grouped(bytes as u64));
    let ms = |seconds: f64| format!("{:.3} ms", seconds * 1_000.0);
    let rate = |rate: &Rate| {
        format!("{} a second, {} each", grouped(rate.per_second() as u64), ms(1.0 / rate.per_second()))
    };
    let answer = match answer {
        Ok(()) => "a plan that keeps every rule".to_owned(),
        Err(why) => format!("no plan: {why}"),
    };
    [
        ("component", bytes(*component)),
        ("machine code", bytes(*code)),
        ("compile", ms(*compile)),
        ("load", ms(*load)),
        ("instantiate", ms(*instantiate)),
        ("decide, one instance", rate(warm)),
        ("decide, fresh instances", rate(fresh)),
        ("fuel", format!("{} of {}", grouped(cost.fuel.most), grouped(cost.fuel.limit))),
        ("memory", format!("{} of {}", bytes(cost.memory.most as usize), grouped(cost.memory.limit))),
        ("calls of the host", format!("{} of {}", cost.host_calls.most, grouped(cost.host_calls.limit))),
        ("answer", answer),
    ]
    .map(|(what, value)| format!("{what:<24} {value}\n"))
    .concat()
}
