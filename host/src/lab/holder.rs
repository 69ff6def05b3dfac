//! The process that holds the lab: it owns a network and a mount namespace (and, for a user who is not
//! root, a user namespace), and sleeps. Everything else of the lab is inside; when it dies, so does the lab.

use std::fmt;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::{Pid, PidfdFlags, Signal};
use rustix::thread::{ThreadNameSpaceType, UnshareFlags};

use super::namespaces::unshare;

/// Where the lab's own files lie, inside its mount namespace.
pub const DIRECTORY: &str = "/run/podwire-lab";

/// What the holder prints once its namespaces are there.
const READY: &str = "ready";

/// Starts a holder beside this process, and returns when its namespaces are there.
pub fn start() -> Result<()> {
    if let Some(pid) = running()? {
        bail!("a lab is running already (process {pid}): `podwire lab down` ends it");
    }
    let mut child = Command::new("/proc/self/exe")
        .args(["lab", "hold"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .context("the lab's process does not start")?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("it has a pipe")?).read_line(&mut line)?;
    if line.trim_end() != READY {
        bail!("the lab's process ended early ({}): see its words above", child.wait()?);
    }
    let pid = child.id().try_into()?;
    let record = Record { pid, started: start_time(pid)? };
    crate::state::write_atomically(&record_path(), record.to_string().as_bytes())?;
    Ok(())
}

/// The holder's whole life.
pub fn hold() -> Result<()> {
    isolate()?;
    println!("{READY}");
    io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}

fn isolate() -> Result<()> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWNET;
    if !uid.is_root() {
        flags |= UnshareFlags::NEWUSER;
    }
    unshare(flags).context(
        "the kernel gives no namespaces of one's own: run as root, or allow user namespaces \
         (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone)",
    )?;
    if !uid.is_root() {
        fs::OpenOptions::new().write(true).open("/proc/self/setgroups")?.write_all(b"deny")?;
        write_map("/proc/self/uid_map", uid.as_raw())?;
        write_map("/proc/self/gid_map", gid.as_raw())?;
    }
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    rustix::mount::mount_change("/", private).context("mounts cannot be made private")?;
    rustix::mount::mount("tmpfs", "/run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=755"))
        .context("no tmpfs can be mounted over /run")?;
    fs::create_dir_all(DIRECTORY)?;
    fs::create_dir_all("/run/netns")?;
    Ok(())
}

fn write_map(path: &str, id: u32) -> Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(path).with_context(|| path.to_owned())?;
    file.write_all(format!("0 {id} 1").as_bytes()).with_context(|| path.to_owned())
}

/// Moves this process into the lab's namespaces. It must have one thread only (setns(2)).
pub fn enter() -> Result<()> {
    let pid = running()?.context("no lab is running: `podwire lab up` starts one")?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let mut namespaces = ThreadNameSpaceType::MOUNT | ThreadNameSpaceType::NETWORK;
    if !rustix::process::geteuid().is_root() {
        namespaces |= ThreadNameSpaceType::USER;
    }
    rustix::thread::move_into_thread_name_spaces(pidfd.as_fd(), namespaces)
        .context("the lab's namespaces cannot be entered: whoever started the lab can")?;
    std::env::set_current_dir("/")?;
    Ok(())
}

/// Ends the lab, and waits until it has ended; says whether there was one.
pub fn stop() -> Result<bool> {
    let Some(pid) = running()? else { return Ok(false) };
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    rustix::process::pidfd_send_signal(&pidfd, Signal::KILL)?;
    let mut ended = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut ended, None)?;
    fs::remove_file(record_path())?;
    Ok(true)
}

/// Which process the record speaks of: its ID and, since IDs are used again, when it started.
struct Record {
    pid: i32,
    started: u64,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.pid, self.started)
    }
}

impl FromStr for Record {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> Result<Self> {
        let (pid, started) = text.trim_end().split_once(' ').context("two numbers are expected")?;
        Ok(Self { pid: pid.parse()?, started: started.parse()? })
    }
}

fn running() -> Result<Option<Pid>> {
    let path = record_path();
    let record: Record = match fs::read_to_string(&path) {
        Ok(text) => text.parse().with_context(|| path.display().to_string())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let alive = start_time(record.pid).is_ok_and(|started| started == record.started);
    Ok(Pid::from_raw(record.pid).filter(|_| alive))
}

/// In clock ticks since the boot: the 22nd field of proc_pid_stat(5), the 20th behind the name.
fn start_time(pid: i32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(')').context("a name in brackets is expected")?.1;
    fields.split_ascii_whitespace().nth(19).context("too few fields")?.parse().context("no number")
}

fn record_path() -> PathBuf {
    let folder = if rustix::process::geteuid().is_root() {
        PathBuf::from("/run")
    } else {
        let own = std::env::var_os("XDG_RUNTIME_DIR").or_else(|| std::env::var_os("HOME"));
        own.map_or_else(std::env::temp_dir, PathBuf::from)
    };
    folder.join(".podwire-lab")
}
