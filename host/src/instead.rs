//! What the linker takes instead of musl's functions of these names, in each program that has this module. On other
//! processors, musl's are written for them; and without optimisation, the compiler may call these in the middle of
//! themselves.
#![cfg(all(target_arch = "x86_64", target_env = "musl", not(debug_assertions)))]
#![allow(unsafe_code)]

use std::cmp::Ordering;

use podwire::memory::bytes::{compare, copy};

/// # Safety
///
/// C's own rules, here and below.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
    // SAFETY: promised by the caller.
    unsafe { copy(to, from, size) };
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
    // SAFETY: promised by the caller.
    unsafe { copy(to, from, size) };
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, size: usize) -> libc::c_int {
    // SAFETY: promised by the caller.
    libc::c_int::from(unsafe { compare(a, b, size) } as i8)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, size: usize) -> libc::c_int {
    // SAFETY: promised by the caller.
    libc::c_int::from(unsafe { compare(a, b, size) } != Ordering::Equal)
}
