//! System calls that rustix lacks.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

/// What a process, and all that it waited for itself, cost (getrusage(2)).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// User and system time.
    pub(crate) cpu: Duration,
    /// The largest resident set of any one of them, in KiB.
    pub(crate) peak_kib: u64,
    /// Page faults, with and without reading from a disk.
    pub(crate) faults: u64,
}

/// A child that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    /// Its number.
    pub(crate) pid: u32,
    /// Its exit status; none after a signal.
    pub(crate) exit: Option<i32>,
    /// What it cost.
    pub(crate) usage: Usage,
}

/// Waits for the end of any child.
pub(crate) fn wait_for_any() -> io::Result<Ended> {
    let mut status = 0;
    let mut usage = MaybeUninit::zeroed();
    // SAFETY: both pointers are to memory of this frame that wait4(2) may write to.
    let pid = unsafe { libc::wait4(-1, &raw mut status, 0, usage.as_mut_ptr()) };
    let pid = u32::try_from(pid).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has filled it; before, it was zeros, which are a rusage too.
    let usage = unsafe { usage.assume_init() };
    let exit = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
    Ok(Ended { pid, exit, usage: Usage::from(usage) })
}

impl From<libc::rusage> for Usage {
    fn from(usage: libc::rusage) -> Self {
        let time = |time: libc::timeval| {
            Duration::from_secs(time.tv_sec.unsigned_abs())
                + Duration::from_micros(time.tv_usec.unsigned_abs())
        };
        Self {
            cpu: time(usage.ru_utime) + time(usage.ru_stime),
            peak_kib: usage.ru_maxrss.unsigned_abs(),
            faults: usage.ru_minflt.unsigned_abs() + usage.ru_majflt.unsigned_abs(),
        }
    }
}

/// User and system time of all threads of a process so far, also of those that ended: /proc has it in hundredths of a
/// second only.
pub(crate) fn cpu_of(pid: u32) -> io::Result<Duration> {
    let (mut clock, mut time) = (0, MaybeUninit::zeroed());
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: the pointer is to memory of this frame that clock_getcpuclockid(3) may write to.
    let error = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    // SAFETY: as above, of clock_gettime(2).
    if unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has filled it; before, it was zeros, which are a timespec too.
    let time: libc::timespec = unsafe { time.assume_init() };
    Ok(Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_nanos(time.tv_nsec.unsigned_abs()))
}

/// Makes the calling process, and all that it starts, go before every other on the machine.
pub(crate) fn become_real_time() -> io::Result<()> {
    // SAFETY: the structure holds numbers only, for which zero is a value; musl's has more of them than glibc's.
    let mut parameter: libc::sched_param = unsafe { std::mem::zeroed() };
    parameter.sched_priority = 1;
    // SAFETY: the pointer is to a sched_param, which sched_setscheduler(2) only reads.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
