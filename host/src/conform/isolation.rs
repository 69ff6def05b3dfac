//! Where the plugin under test works: namespaces and mounts of its own, so that nothing touches the machine
//! or stays on it, whoever is killed when.
//!
//! | what | how it is kept apart |
//! | --- | --- |
//! | processes | a PID namespace: what a plugin leaves running ends with the suite, and that with its caller |
//! | network | one network namespace for each check |
//! | `/run`, `/var/lib/cni` | empty, in memory |
//! | `/etc`, `/var`, `/tmp`, PODWIRE_ROOT | as they are, installed policies too; writing goes to memory |
//! | every other file system | read-only |
//!
//! What no namespace parts stays the machine's: kernel modules, and switches outside of /proc/sys/net.

use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, StatVfsMountFlags, open, statvfs};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change, mount_remount};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::UnshareFlags;

use crate::lab::namespaces::unshare;

/// Written to in memory. `/var/lib` by itself because it may be a file system of its own.
const COPIED: [&str; 4] = ["/etc", "/var", "/var/lib", "/tmp"];
/// What is written to those.
const WRITTEN: &str = "/run/podwire-conform";
/// Where pods' network namespaces have their names.
pub(super) const NAMESPACES: &str = "/run/netns";

/// Runs this command once more, with this argument added, in a PID namespace of its own.
pub fn outside(argument: &str) -> Result<ExitCode> {
    if !rustix::process::geteuid().is_root() {
        bail!("a plugin makes links and namespaces: run this as root");
    }
    unshare(UnshareFlags::NEWPID).context("the kernel gives no PID namespace")?;
    let mut suite = Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .arg(argument)
        .stdin(Stdio::piped())
        .spawn()
        .context("the suite's process does not start")?;
    // Held open: its end is how the other side hears of this process's.
    let held = suite.stdin.take();
    let status = suite.wait()?;
    drop(held);
    let code = status.code().context("the suite's process was killed")?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Prepares the process that [`outside`] started.
pub fn inside() -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let held = std::io::stdin();
    // If the caller ended before it was asked for, the signal will not come; but then the pipe is shut.
    if poll(&mut [PollFd::new(&held, PollFlags::IN)], Some(&Timespec::default()))? > 0 {
        bail!("the caller has ended");
    }
    unshare(UnshareFlags::NEWNS | UnshareFlags::NEWNET).context("the kernel gives no namespaces")?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .context("mounts cannot be made private")?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, None).context("/proc cannot be mounted")?;
    protect()
}

/// Makes every file system read-only but the kernel's own.
fn protect() -> Result<()> {
    let mounts = fs::read("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    for (point, flags) in mounts.split(|byte| *byte == b'\n').filter_map(mount_point) {
        if ["/proc", "/sys", "/dev"].iter().any(|kernel| point.starts_with(kernel)) {
            continue;
        }
        match mount_remount(&point, flags | MountFlags::BIND | MountFlags::RDONLY, "") {
            // Below another mount, out of everybody's reach.
            Ok(()) | Err(Errno::NOENT | Errno::INVAL) => (),
            Err(error) => {
                return Err(error).with_context(|| format!("{} cannot be made read-only", point.display()));
            }
        }
    }
    if !statvfs("/")?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        bail!("the root directory is no mount, and cannot be protected: run this outside of a chroot");
    }
    Ok(())
}

/// Where it is, and the flags that it keeps (proc_pid_mountinfo(5)).
fn mount_point(line: &[u8]) -> Option<(PathBuf, MountFlags)> {
    let mut fields = line.split(|byte| *byte == b' ').skip(4);
    let point = PathBuf::from(std::ffi::OsStr::from_bytes(&unescaped(fields.next()?)));
    let options = fields.next()?;
    let known = [
        ("nosuid", MountFlags::NOSUID),
        ("nodev", MountFlags::NODEV),
        ("noexec", MountFlags::NOEXEC),
        ("noatime", MountFlags::NOATIME),
        ("nodiratime", MountFlags::NODIRATIME),
        ("relatime", MountFlags::RELATIME),
    ];
    let has = |name: &str| options.split(|byte| *byte == b',').any(|option| option == name.as_bytes());
    let flags =
        known.iter().filter(|(name, _)| has(name)).fold(MountFlags::empty(), |all, (_, flag)| all | *flag);
    Some((point, flags))
}

/// Blanks and backslashes stand as a backslash and three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut parts = field.split(|byte| *byte == b'\\');
    let mut plain = parts.next().unwrap_or_default().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at(part.len().min(3));
        let code = std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.extend(code);
        plain.extend(rest);
    }
    plain
}

/// Does some work on a fresh node, with nothing but an uplink and no state. Nothing of it stays.
pub(super) fn on_a_node<T: Send>(root: Option<&Path>, work: impl FnOnce() -> T + Send) -> Result<T> {
    // A thread has namespaces of its own; they go with it.
    std::thread::scope(|scope| {
        let node = scope.spawn(|| {
            make_node(root).context("no node can be made")?;
            Ok(work())
        });
        node.join().unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            Err(anyhow!("the suite panicked: {}", said.or(panic.downcast_ref().copied()).unwrap_or("?")))
        })
    })
}

fn make_node(root: Option<&Path>) -> Result<()> {
    unshare(UnshareFlags::NEWNS | UnshareFlags::NEWNET)?;
    let copied = COPIED.iter().map(Path::new).chain(root);
    let originals = copied.map(|path| Ok((path, original(path)?))).collect::<Result<Vec<_>>>()?;
    empty(Path::new("/run"))?;
    fs::create_dir_all(NAMESPACES)?;
    for (number, (path, original)) in originals.iter().enumerate() {
        copy(path, original.as_ref(), number)
            .with_context(|| format!("{} cannot be copied", path.display()))?;
    }
    empty(Path::new("/var/lib/cni"))?;
    if let Some(root) = root {
        empty(&root.join("run"))?;
    }
    // It shows the network namespace in which it was mounted.
    mount("sysfs", "/sys", "sysfs", MountFlags::NOSUID | MountFlags::NODEV, None).context("/sys")?;
    super::kernel::set_loopback_up()?;
    super::kernel::add_uplink()
}

/// What is there before anything is mounted; it may be below what will be hidden.
fn original(path: &Path) -> Result<Option<OwnedFd>> {
    match open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

fn empty(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| path.display().to_string())?;
    mount("tmpfs", path, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=755"))
        .with_context(|| format!("no tmpfs can be mounted over {}", path.display()))
}

fn copy(path: &Path, original: Option<&OwnedFd>, number: usize) -> Result<()> {
    let Some(original) = original else { return Ok(()) };
    let part = |name: &str| format!("{WRITTEN}/{number}/{name}");
    fs::create_dir_all(part("upper"))?;
    fs::create_dir_all(part("work"))?;
    fs::create_dir_all(path)?;
    let lower = original.as_raw_fd();
    let (upper, work) = (part("upper"), part("work"));
    let options = format!("lowerdir=/proc/self/fd/{lower},upperdir={upper},workdir={work}");
    let options = std::ffi::CString::new(options)?;
    Ok(mount("overlay", path, "overlay", MountFlags::NOSUID | MountFlags::NODEV, Some(options.as_c_str()))?)
}

/// Makes a network namespace with a name.
pub(super) fn make_namespace(name: &str) -> Result<PathBuf> {
    let path = Path::new(NAMESPACES).join(name);
    File::create_new(&path).with_context(|| path.display().to_string())?;
    std::thread::scope(|scope| {
        let made = scope.spawn(|| -> Result<()> {
            unshare(UnshareFlags::NEWNET)?;
            super::kernel::set_loopback_up()?;
            Ok(mount_bind("/proc/thread-self/ns/net", &path)?)
        });
        made.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
    .with_context(|| format!("network namespace {name}"))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_keep_their_flags_and_names() {
        let line = br"36 35 98:0 / /mnt/a\040b\134c rw,nosuid,noatime master:1 - ext3 /dev/root rw";
        let (point, flags) = mount_point(line).expect("a mount");
        assert_eq!(point, Path::new(r"/mnt/a b\c"));
        assert_eq!(flags, MountFlags::NOSUID | MountFlags::NOATIME);
        assert_eq!(mount_point(b""), None);
    }
}
