//! Time, which does not pass, and waiting, which is over at once.

use wasmtime::component::{ComponentType, Lift, Lower, Resource};

use super::{Linked, Pollable, charge, constant};

/// Nanoseconds of the monotonic clock. Not 0: Go's runtime takes that for a clock that does not work.
const NOW: u64 = 1;

/// Units of fuel for each thing that is waited for at once: a list costs the policy nothing to hand over again.
const POLLED: u64 = 100;

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

pub(super) fn pollable() -> Resource<Pollable> {
    Resource::new_own(0)
}

pub(super) fn monotonic(linked: &mut Linked<'_>, name: &str) -> wasmtime::Result<bool> {
    match name {
        "now" => constant(linked, name, |()| NOW),
        "resolution" => constant(linked, name, |()| 1_u64),
        "subscribe-instant" | "subscribe-duration" => constant(linked, name, |(_,): (u64,)| pollable()),
        _ => Ok(false),
    }
}

pub(super) fn wall(linked: &mut Linked<'_>, name: &str) -> wasmtime::Result<bool> {
    match name {
        "now" => constant(linked, name, |()| Datetime { seconds: 0, nanoseconds: 0 }),
        "resolution" => constant(linked, name, |()| Datetime { seconds: 1, nanoseconds: 0 }),
        _ => Ok(false),
    }
}

pub(super) fn poll(linked: &mut Linked<'_>, name: &str) -> wasmtime::Result<bool> {
    match name {
        "[method]pollable.ready" => constant(linked, name, |(_,): (Resource<Pollable>,)| true),
        "[method]pollable.block" => {
            linked.func_wrap(name, |mut store, (_,): (Resource<Pollable>,)| charge(&mut store, 0))?;
            Ok(true)
        }
        "poll" => {
            linked.func_wrap(name, |mut store, (all,): (Vec<Resource<Pollable>>,)| {
                charge(&mut store, POLLED * all.len() as u64)?;
                Ok(((0_u32..).take(all.len()).collect::<Vec<_>>(),))
            })?;
            Ok(true)
        }
        _ => Ok(false),
    }
}
