//! The process that holds the lab: it owns a network and a mount namespace (and, for a user who is not
//! root, a user namespace), and waits. Everything else of the lab is inside; when it dies, so does the lab.
//!
//! It is found by an abstract Unix socket on which it listens: a name that the kernel takes back with the
//! process, so that none is ever stale. While the lab is being built, the holder waits for a word from the
//! builder, and goes if that dies.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::thread::{ThreadNameSpaceType, UnshareFlags};

use super::namespaces::unshare;

/// Where the lab's own files lie, inside its mount namespace.
pub const DIRECTORY: &str = "/run/podwire-lab";

/// What the holder prints once its namespaces are there.
const READY: &str = "ready";
/// What the builder says once the lab stands.
const KEEP: &str = "keep";

/// A holder whose lab is being built: it ends with this value, unless it is told to stay.
pub struct Building {
    holder: Child,
    word: Option<ChildStdin>,
}

/// Starts a holder beside this process, and returns when its namespaces are there.
pub fn start() -> Result<Building> {
    let mut holder = Command::new("/proc/self/exe")
        .args(["lab", "hold"])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Not the builder's: whoever reads that to its end would wait for the end of the lab.
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .context("the lab's process does not start")?;
    let mut line = String::new();
    BufReader::new(holder.stdout.take().context("it has a pipe")?).read_line(&mut line)?;
    if line.trim_end() != READY {
        let mut words = String::new();
        holder.stderr.take().context("it has a pipe")?.read_to_string(&mut words)?;
        holder.wait()?;
        bail!("{}", words.trim_end().trim_start_matches("podwire: "));
    }
    Ok(Building { word: holder.stdin.take(), holder })
}

impl Building {
    /// From here on the lab stays until somebody takes it down.
    pub fn keep(mut self) -> Result<()> {
        let word = self.word.take().context("it has a pipe")?;
        Ok(writeln!(&word, "{KEEP}")?)
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        if self.word.take().is_some() {
            // It hears that nobody is left to build, and ends.
            let _ = self.holder.wait();
        }
    }
}

/// The holder's whole life.
pub fn hold() -> Result<()> {
    let listener = UnixListener::bind_addr(&address()?).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("a lab is running already: `podwire lab down` ends it")
        }
        _ => anyhow::Error::new(error).context("the lab's name cannot be taken"),
    })?;
    isolate()?;
    println!("{READY}");
    io::stdout().flush()?;
    let mut word = String::new();
    io::stdin().read_line(&mut word)?;
    if word.trim_end() == KEEP {
        // Whoever connects only wants to know that it is there.
        listener.incoming().for_each(drop);
    }
    // The builder is in the lab too, and has to say what went wrong.
    let stay: Vec<Pid> =
        [Some(rustix::process::getpid()), rustix::process::getppid()].into_iter().flatten().collect();
    clear(&fs::read_link("/proc/self/ns/mnt")?, &stay)
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
    let (_, holder) = find()?.context("no lab is running: `podwire lab up` starts one")?;
    let mut namespaces = ThreadNameSpaceType::MOUNT | ThreadNameSpaceType::NETWORK;
    if !rustix::process::geteuid().is_root() {
        namespaces |= ThreadNameSpaceType::USER;
    }
    rustix::thread::move_into_thread_name_spaces(holder.as_fd(), namespaces)
        .context("the lab's namespaces cannot be entered")?;
    std::env::set_current_dir("/")?;
    Ok(())
}

/// Ends the lab and whatever still runs inside, and waits until all has ended; says whether there was one.
pub fn stop() -> Result<bool> {
    let Some((pid, holder)) = find()? else { return Ok(false) };
    let lab = mounts_of(pid.as_raw_nonzero().get()).context("the lab's process cannot be looked at")?;
    // The holder last: if this process is killed before, the lab can be found again.
    clear(&lab, &[pid])?;
    end(&holder)?;
    Ok(true)
}

/// Ends what runs in a mount namespace, and what that starts meanwhile, some processes excepted.
fn clear(mounts: &Path, except: &[Pid]) -> Result<()> {
    loop {
        let inside = processes_in(mounts, except)?;
        if inside.is_empty() {
            return Ok(());
        }
        inside.iter().try_for_each(end)?;
    }
}

/// Ends a process of the lab in which this one is, by its number: never another that got the number since.
pub(super) fn kill_inside(pid: i32) -> Result<()> {
    let Some(pid) = Pid::from_raw(pid) else { bail!("{pid} is no process's number") };
    match pidfd_open(pid, PidfdFlags::empty()) {
        // Opened before it is looked at: then it is the same process.
        Ok(process) if mounts_of(pid.as_raw_nonzero().get())? == fs::read_link("/proc/self/ns/mnt")? => {
            end(&process)
        }
        Ok(_) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).context("the process cannot be opened"),
    }
}

fn end(process: &OwnedFd) -> Result<()> {
    match pidfd_send_signal(process, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => (),
        Err(error) => return Err(error).context("a process of the lab cannot be ended"),
    }
    poll(&mut [PollFd::new(process, PollFlags::IN)], None)?;
    Ok(())
}

/// What runs in a mount namespace, some processes excepted.
fn processes_in(mounts: &Path, except: &[Pid]) -> Result<Vec<OwnedFd>> {
    let mut inside = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Some(pid) = Pid::from_raw(pid).filter(|pid| !except.contains(pid)) else { continue };
        // Opened before it is looked at: then it is the same process.
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        if mounts_of(pid.as_raw_nonzero().get()).is_ok_and(|found| found == mounts) {
            inside.push(process);
        }
    }
    Ok(inside)
}

/// What tells a process's mount namespace from others.
fn mounts_of(pid: i32) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/mnt"))
}

/// The holder, if there is one.
fn find() -> Result<Option<(Pid, OwnedFd)>> {
    let Some(pid) = listening()? else { return Ok(None) };
    let holder = pidfd_open(pid, PidfdFlags::empty()).context("the lab's process cannot be opened")?;
    // It still has the name, so it had its number when that was opened.
    Ok(listening()?.filter(|still| *still == pid).map(|pid| (pid, holder)))
}

fn listening() -> Result<Option<Pid>> {
    let connection = match UnixStream::connect_addr(&address()?) {
        Ok(connection) => connection,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(None),
        Err(error) => return Err(error).context("the lab's process cannot be asked"),
    };
    let peer = rustix::net::sockopt::socket_peercred(&connection)?;
    if peer.uid != rustix::process::geteuid() {
        bail!("user {} has taken the name of your lab: process {}", peer.uid, peer.pid);
    }
    Ok(Some(peer.pid))
}

/// Every user has one lab, and so has every network namespace.
fn address() -> Result<SocketAddr> {
    let name = format!("podwire-lab-{}", rustix::process::geteuid().as_raw());
    Ok(SocketAddr::from_abstract_name(name)?)
}
