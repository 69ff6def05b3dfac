//! What a policy ought not to do.

#![allow(unsafe_code, reason = "answers that no safe program can give")]

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::hint::black_box;
use core::ptr;

use podwire_sdk::raw::types::{IpAddress, IpPrefix, NextHop, NodeRoute, Route};
use podwire_sdk::raw::{AddPlan, NodePlan, leases, log};

use crate::config::Deed;

/// Spends what the host gives: some of these return, if the host lets them.
pub(crate) fn commit(deed: Deed, count: u32, pool: Option<&IpPrefix>) {
    match deed {
        Deed::Loop => run_for_ever(),
        Deed::Memory => eat(),
        Deed::Recurse => _ = descend(0),
        Deed::Trap => trap(),
        Deed::Panic => panic!("the configuration says so"),
        Deed::Leases => (0..count).for_each(|_| _ = leases::holder_of(IpAddress::Ipv4((10, 244, 0, 0)))),
        Deed::Walk => (0..count).for_each(|_| _ = pool.map(|pool| leases::taken(*pool))),
        Deed::Log => (0..count).for_each(|_| log::log(log::Level::Info, "once more")),
        Deed::LogLine => log::log(log::Level::Info, &text(count)),
        Deed::Refuse | Deed::Routes | Deed::Text | Deed::BadUtf8 | Deed::BadPointer => {}
    }
}

/// Makes an answer to ADD too large, or no value at all.
pub(crate) fn spoil(plan: &mut AddPlan, deed: Option<Deed>, count: u32) {
    let route = Route {
        destination: everywhere(),
        via: None,
        mtu: None,
        metric: None,
        advmss: None,
        table: None,
        scope: None,
    };
    match deed {
        Some(Deed::Routes) => plan.routes = vec![route; count as usize],
        Some(Deed::Text) => plan.host_interface = Some(text(count)),
        Some(Deed::BadUtf8) => plan.host_interface = Some(not_text()),
        Some(Deed::BadPointer) => plan.host_interface = Some(nowhere()),
        _ => {}
    }
}

/// The same of an answer about the node.
pub(crate) fn spoil_node(plan: &mut NodePlan, deed: Option<Deed>, count: u32) {
    let route = NodeRoute { destination: everywhere(), next_hop: NextHop::Blackhole, metric: None };
    match deed {
        Some(Deed::Routes) => plan.routes = vec![route; count as usize],
        Some(Deed::Text) => plan.extra.push((text(count), String::new())),
        Some(Deed::BadUtf8) => plan.extra.push((not_text(), String::new())),
        Some(Deed::BadPointer) => plan.extra.push((nowhere(), String::new())),
        _ => {}
    }
}

fn run_for_ever() -> ! {
    loop {
        black_box(());
    }
}

/// A MiB after the other, until there is no more.
fn eat() {
    loop {
        black_box(Vec::<u8>::with_capacity(1 << 20));
    }
}

/// Deeper and deeper, with something on the stack of each call.
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    if frame[0] == u64::MAX { 0 } else { descend(depth + 1) + frame[1] }
}

fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    unreachable!();
}

fn everywhere() -> IpPrefix {
    IpPrefix { address: IpAddress::Ipv4((0, 0, 0, 0)), length: 0 }
}

fn text(length: u32) -> String {
    "x".repeat(length as usize)
}

fn not_text() -> String {
    // SAFETY: nothing here reads it as text: it goes to the host, which must see that it is none.
    unsafe { String::from_utf8_unchecked(vec![0x65, 0xff, 0xfe]) }
}

/// Text near the end of the address space, which the host must see is not there.
fn nowhere() -> String {
    let beyond = ptr::without_provenance_mut(usize::MAX & !0xffff);
    // SAFETY: nothing here reads it, and the SDK's allocator frees nothing: it only goes to the host.
    unsafe { String::from_raw_parts(beyond, 1_000, 1_000) }
}
