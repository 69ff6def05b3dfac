//! Settings below /proc/sys/net, of the network namespace in which the calling thread is.

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, retry_on_intr, write};

use super::Error;
use crate::plan::Checked;
use crate::plan::derived::forwarded;
use crate::state;

/// Where a container has the node's switches, whose own /proc/sys is read-only: `proc/sys/net` of the node is mounted
/// below. What is written there is of the writer's network namespace, here as there.
const OF_THE_NODE: &str = "/run/host";

/// The families of addresses that something concerns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Families {
    /// IPv4.
    pub ipv4: bool,
    /// IPv6.
    pub ipv6: bool,
}

impl Families {
    /// Those that occur among the prefixes.
    pub fn of<'a>(prefixes: impl IntoIterator<Item = &'a IpNet>) -> Self {
        prefixes.into_iter().fold(Self::default(), |families, prefix| match prefix.addr() {
            IpAddr::V4(_) => Self { ipv4: true, ..families },
            IpAddr::V6(_) => Self { ipv6: true, ..families },
        })
    }
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    path: String,
}

impl Sysctl {
    /// Named as sysctl(8) does: `net.ipv4.ip_forward`. Every dot becomes a slash, so that no name leads out
    /// of /proc/sys.
    pub fn named(name: &str) -> Self {
        Self { path: format!("/proc/sys/{}", name.replace('.', "/")) }
    }

    /// One of a checked plan: a path below /proc/sys, in which an interface's name may have dots.
    pub fn planned(path: &str) -> Self {
        Self { path: format!("/proc/sys/{path}") }
    }

    /// A setting of one interface, whose name may have dots: `family` is `ipv4` or `ipv6`.
    pub fn of_interface(family: &str, interface: &str, key: &str) -> Self {
        Self { path: format!("/proc/sys/net/{family}/conf/{interface}/{key}") }
    }

    /// Its value without the line's end; none if the kernel has no such setting.
    pub fn get(&self) -> Option<String> {
        state::kernel_value(Path::new(&self.path)).ok()
    }

    /// Sets it.
    pub fn set(&self, value: &str) -> Result<(), Error> {
        let failed = |error| Error::Sysctl { name: self.name(), value: value.to_owned(), error };
        let written = match write_to(&self.path, value) {
            Err(Errno::ROFS) => write_to(&format!("{OF_THE_NODE}{}", self.path), value)
                .map_err(|errno| if errno == Errno::NOENT { Errno::ROFS } else { errno }),
            written => written,
        };
        written.map_err(|errno| failed(errno.into()))
    }

    /// Sets it unless it is so already: /proc/sys may be read-only where nothing needs to be written.
    /// Returns whether it was changed.
    pub fn ensure(&self, value: &str) -> Result<bool, Error> {
        if self.get().as_deref() == Some(value) {
            return Ok(false);
        }
        self.set(value).map(|()| true)
    }

    /// As sysctl(8) writes it.
    pub fn name(&self) -> String {
        self.path.trim_start_matches("/proc/sys/").replace('/', ".")
    }
}

fn write_to(path: &str, value: &str) -> rustix::io::Result<()> {
    let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    retry_on_intr(|| write(&file, value.as_bytes())).map(|_| ())
}

/// The switches that a wired pod needs to be on.
pub(super) fn forwarding_for(plan: &Checked) -> Vec<Sysctl> {
    forwarding(Families::of(forwarded(plan)))
}

/// The switches that have packets forwarded between interfaces.
pub fn forwarding(families: Families) -> Vec<Sysctl> {
    let mut switches = Vec::with_capacity(2);
    if families.ipv4 {
        switches.push(Sysctl::named("net.ipv4.ip_forward"));
    }
    if families.ipv6 {
        switches.push(Sysctl::named("net.ipv6.conf.all.forwarding"));
    }
    switches
}

/// Lets an interface have IPv6 addresses: runtimes switch IPv6 off in new namespaces, and an interface
/// takes over what was so when it was made.
pub fn enable_ipv6(interface: &str) -> Result<(), Error> {
    Sysctl::of_interface("ipv6", interface, "disable_ipv6").set("0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_proc_sys() {
        assert_eq!(Sysctl::named("net.ipv4.ip_forward").path, "/proc/sys/net/ipv4/ip_forward");
        assert!(!Sysctl::named("net/../../../etc/passwd").path.contains(".."));
    }

    #[test]
    fn families_are_those_that_occur() {
        let prefixes: Vec<IpNet> = ["10.244.1.2/24", "fd00::2/64"].map(|p| p.parse().expect("valid")).into();
        assert_eq!(Families::of(&prefixes[..1]), Families { ipv4: true, ipv6: false });
        assert_eq!(Families::of(&prefixes), Families { ipv4: true, ipv6: true });
    }
}
