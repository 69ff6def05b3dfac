//! What a policy's process may do: compute, and use its wire. No file, no network, no other process, no new code; and no
//! memory that others see.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::path::PathBuf;

use rustix::process::{DumpableBehavior, Gid, Pid, Signal, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// `nobody`, to whom nothing belongs.
const NOBODY: u32 = 65534;

/// Runs this in a child process, which ends with it, and when podwire's thread ends.
pub(super) fn fork(work: impl FnOnce() -> io::Result<()>) -> io::Result<Pid> {
    // SAFETY: the plugin has one thread, and the C library of the command for people keeps its allocator usable in the
    // child of a process with many. The child returns to nobody's frame.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // A panic that went on would come out in the parent's code.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            // SAFETY: nothing of this process has to be put in order; that is the parent's.
            unsafe { libc::_exit(0) }
        }
        child => Pid::from_raw(child).ok_or_else(|| io::ErrorKind::Other.into()),
    }
}

/// No way back. Of the files, only the wire stays, and that from which the policy's code is mapped: its memory is, too.
pub(super) fn enter(wire: BorrowedFd<'_>) -> io::Result<()> {
    let mapped = share_nothing()?;
    close_all_but(wire.as_raw_fd(), &mapped)?;
    become_nobody()?;
    // The kernel undoes both where a process changes its user.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    filter(wire.as_raw_fd())
}

/// The leases are mapped from a file that could be written to. The files of what stays, as the kernel names them.
fn share_nothing() -> io::Result<Vec<PathBuf>> {
    let mut private = Vec::new();
    for line in std::fs::read_to_string("/proc/self/maps")?.lines() {
        let mut words = line.splitn(6, ' ');
        let (range, permissions) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let number = |text| usize::from_str_radix(text, 16).map_err(io::Error::other);
        if let (true, Some((first, end))) = (permissions.ends_with('s'), range.split_once('-')) {
            let (first, end) = (number(first)?, number(end)?);
            // SAFETY: nothing of this process that uses shared memory is used in it any more: it serves a policy.
            unsafe { libc::munmap(first as *mut libc::c_void, end - first) };
        } else {
            private.extend(words.nth(3).map(|name| name.trim_start().into()));
        }
    }
    Ok(private)
}

fn close_all_but(wire: RawFd, mapped: &[PathBuf]) -> io::Result<()> {
    let kept = |number: RawFd, target: io::Result<PathBuf>| {
        number == wire || target.is_ok_and(|target| mapped.contains(&target))
    };
    let mut others = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        others.extend(number.filter(|number| !kept(*number, std::fs::read_link(entry.path()))));
    }
    for number in others {
        // SAFETY: whatever owned the file is never used in this process, nor dropped.
        unsafe { libc::close(number) };
    }
    Ok(())
}

/// In a user namespace without such a user, what counts is that there are no capabilities.
fn become_nobody() -> io::Result<()> {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    let _ = rustix::thread::set_thread_groups(&[]);
    let _ = rustix::thread::set_thread_res_gid(group, group, group);
    let _ = rustix::thread::set_thread_res_uid(user, user, user);
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, none)?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Any other system call ends the process.
fn filter(wire: RawFd) -> io::Result<()> {
    let filter = rules(wire).and_then(|rules| {
        let allowed = SeccompAction::Allow;
        SeccompFilter::new(rules, SeccompAction::KillProcess, allowed, std::env::consts::ARCH.try_into()?)
    });
    let program = filter.and_then(BpfProgram::try_from).map_err(io::Error::other)?;
    seccompiler::apply_filter(&program).map_err(io::Error::other)
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn rules(wire: RawFd) -> Result<Rules, seccompiler::BackendError> {
    let is =
        |argument, operator, value| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value);
    let without = |argument, flag: libc::c_int| is(argument, SeccompCmpOp::MaskedEq(flag as u64), 0);
    let on_wire = || SeccompRule::new(vec![is(0, SeccompCmpOp::Eq, wire as u64)?]);
    let no_code = || without(2, libc::PROT_EXEC);
    let private = SeccompRule::new(vec![no_code()?, without(3, libc::MAP_SHARED)?])?;
    let mut rules = Rules::new();
    for call in [libc::SYS_read, libc::SYS_write, libc::SYS_recvfrom, libc::SYS_sendto] {
        rules.insert(call, vec![on_wire()?]);
    }
    rules.insert(libc::SYS_mmap, vec![private]);
    rules.insert(libc::SYS_mprotect, vec![SeccompRule::new(vec![no_code()?])?]);
    // A debug build looks at a file before it closes it.
    rules.insert(
        libc::SYS_fcntl,
        vec![SeccompRule::new(vec![is(1, SeccompCmpOp::Eq, libc::F_GETFD as u64)?])?],
    );
    rules.extend(HARMLESS.map(|call| (call, Vec::new())));
    Ok(rules)
}

/// Memory of its own, traps of the policy's code, locks within the process, the end.
const HARMLESS: [i64; 14] = [
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
];

/// For tests: what the process must not have.
#[cfg(test)]
#[cfg(feature = "compiler")]
pub(super) fn map(protection: libc::c_int, flags: libc::c_int) {
    // SAFETY: the kernel chooses a place that nothing else is at.
    unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
}
