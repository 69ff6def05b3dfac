//! WASI for the languages whose toolchains cannot do without: interfaces of `wasi:` that are served by nothing
//! of this machine.
//!
//! Owns what a component that imports them gets: no files, no network, no environment, a clock that stands
//! still, randomness that follows from the request, and a log in the place of its standard output and error.
//! Everything is deterministic, and counted against the policy's limits like the contract's own functions.
//! What has no stand-in is linked too, and ends the call: interpreters import far more than they use.
//!
//! Interfaces are found by name, in any version of the line 0.2, whose functions never change. Resources are
//! known by their names as well: interfaces hand them on under the same one.

mod clocks;
#[cfg(feature = "compiler")]
mod gets;
mod io;
mod random;
mod streams;
#[cfg(test)]
#[cfg(feature = "compiler")]
mod tests;

#[cfg(feature = "compiler")]
pub(super) use gets::gets;
pub(super) use random::Seed;

use wasmtime::StoreContextMut;
use wasmtime::component::types::{ComponentInstance, ComponentItem};
use wasmtime::component::{Component, ComponentNamedList, Lift, Linker, LinkerInstance, Lower, ResourceType};

use super::fault::Fault;
use super::host::Host;
use streams::Lines;

/// What the stand-ins remember during a call.
pub(super) struct StandIns {
    random: random::Random,
    out: Lines,
    err: Lines,
}

impl StandIns {
    pub(super) fn new(seed: Seed) -> Self {
        Self { random: random::Random::new(seed), out: Lines::default(), err: Lines::default() }
    }
}

/// Where componentize-qjs has JavaScript look for modules while it builds. The interpreter keeps the import.
const MODULE_LOADER: &str = "local:init/module-loader";

/// The name of a WASI interface without its version, or [`MODULE_LOADER`]; none if nothing stands in for it.
fn interface(import: &str) -> Option<&str> {
    if import == MODULE_LOADER {
        return Some(import);
    }
    let (interface, version) = import.strip_prefix("wasi:").and(import.split_once('@'))?;
    version.starts_with("0.2.").then_some(interface)
}

/// Whether the component imports WASI. Asked before each start of a policy, the answer of most is no.
pub(super) fn wanted(code: &Component) -> bool {
    let component = code.component_type();
    component.imports(code.engine()).any(|(name, _)| interface(name).is_some())
}

/// Adds what the component imports of WASI.
pub(super) fn link(linker: &mut Linker<Host>, code: &Component) -> wasmtime::Result<()> {
    for (name, import) in code.component_type().imports(code.engine()) {
        if let (Some(interface), ComponentItem::ComponentInstance(ty)) = (interface(name), &import.ty) {
            link_interface(&mut linker.instance(name)?, interface, ty, code.engine())?;
        }
    }
    Ok(())
}

type Linked<'a> = LinkerInstance<'a, Host>;

fn link_interface(
    linked: &mut Linked<'_>,
    interface: &str,
    ty: &ComponentInstance,
    engine: &wasmtime::Engine,
) -> wasmtime::Result<()> {
    for (name, export) in ty.exports(engine) {
        match export.ty {
            // Handles lead to nothing that would have to be given back.
            ComponentItem::Resource(_) => linked.resource(name, resource(name), |_, _| Ok(()))?,
            ComponentItem::ComponentFunc(_) => link_function(linked, interface, name)?,
            _ => {}
        }
    }
    Ok(())
}

fn link_function(linked: &mut Linked<'_>, interface: &str, name: &str) -> wasmtime::Result<()> {
    let found = match interface {
        "wasi:cli/environment" => io::environment(linked, name)?,
        "wasi:cli/stdin" | "wasi:cli/stdout" | "wasi:cli/stderr" => io::standard(linked, name)?,
        "wasi:cli/terminal-stdin" | "wasi:cli/terminal-stdout" | "wasi:cli/terminal-stderr" => {
            io::terminal(linked, name)?
        }
        "wasi:filesystem/preopens" => io::preopens(linked, name)?,
        "wasi:clocks/monotonic-clock" => clocks::monotonic(linked, name)?,
        "wasi:clocks/wall-clock" => clocks::wall(linked, name)?,
        "wasi:io/poll" => clocks::poll(linked, name)?,
        "wasi:io/streams" => streams::streams(linked, name)?,
        "wasi:random/random" | "wasi:random/insecure" | "wasi:random/insecure-seed" => {
            random::random(linked, name)?
        }
        _ => false,
    };
    if !found {
        let called = format!("{name} of {interface}");
        linked.func_new(name, move |mut store, _, _, _| {
            Err(store.data_mut().stop(Fault::NoStandIn(called.clone())))
        })?;
    }
    Ok(())
}

/// An end of input.
enum Input {}
/// Standard output, or standard error.
enum Output {}
/// Something that need not be waited for.
enum Pollable {}
/// A resource that nobody is ever given.
enum Absent {}

fn resource(name: &str) -> ResourceType {
    match name {
        "input-stream" => ResourceType::host::<Input>(),
        "output-stream" => ResourceType::host::<Output>(),
        "pollable" => ResourceType::host::<Pollable>(),
        _ => ResourceType::host::<Absent>(),
    }
}

/// A function that gives the same whatever is asked.
fn constant<P, R>(
    linked: &mut Linked<'_>,
    name: &str,
    give: impl Fn(P) -> R + Send + Sync + 'static,
) -> wasmtime::Result<bool>
where
    P: ComponentNamedList + Lift + 'static,
    (R,): ComponentNamedList + Lower + 'static,
{
    linked.func_wrap(name, move |mut store, asked: P| {
        store.data_mut().count_call()?;
        Ok((give(asked),))
    })?;
    Ok(true)
}

/// Work that a policy has the host do, in units of its fuel: what it asks for grows with no code of its own.
fn charge(store: &mut StoreContextMut<'_, Host>, units: u64) -> wasmtime::Result<()> {
    store.data_mut().count_call()?;
    match store.get_fuel()?.checked_sub(units) {
        Some(left) => store.set_fuel(left),
        None => Err(store.data_mut().stop(Fault::OutOfFuel)),
    }
}
