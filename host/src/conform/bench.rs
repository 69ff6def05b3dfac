//! What a check works with: pods, and the list's plugins called as a runtime calls them.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;

use anyhow::Context as _;
use ipnet::IpNet;
use rustix::mount::{UnmountFlags, unmount};
use serde_json::{Value, json};

use super::answer::{self, Ip};
use super::call::{Call, Reply};
use super::kernel::{self, Address, Link, Route};
use super::subject::{KNOWN, Subject};
use super::{Stop, Verdict, ensure, failed, isolation, not_applicable};
use crate::net::namespace::Namespace;

/// What one check has done so far.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pods: Cell<u32>,
    last: RefCell<Option<String>>,
}

impl Notes {
    pub(super) fn last_call(&self) -> Option<String> {
        self.last.borrow().clone()
    }
}

/// The runtime's side.
#[derive(Clone, Copy)]
pub(super) struct Bench<'a> {
    pub(super) subject: &'a Subject,
    pub(super) version: &'a str,
    notes: &'a Notes,
}

/// A container.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) id: String,
    pub(super) ifname: String,
    pub(super) path: PathBuf,
    namespace: Option<Namespace>,
}

/// A container with an interface.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) pod: Pod,
    /// The last plugin's.
    pub(super) result: Value,
}

impl<'a> Bench<'a> {
    pub(super) fn new(subject: &'a Subject, notes: &'a Notes) -> Self {
        Self { subject, version: subject.version, notes }
    }

    /// Speaking another version; the check does not apply if the plugin does not.
    pub(super) fn speaking(self, version: &'a str) -> Result<Self, Stop> {
        if !self.subject.speaks(version) {
            return not_applicable(format!("the plugin does not speak {version}"));
        }
        if at_least(version, self.subject.version) && version != self.subject.version {
            return not_applicable(format!("another plugin of the list does not speak {version}"));
        }
        Ok(Self { version, ..self })
    }

    /// The check does not apply if the verb came with a later version than is spoken.
    pub(super) fn since(self, version: &str, verb: &str) -> Verdict {
        if at_least(self.version, version) {
            return Ok(());
        }
        not_applicable(format!(
            "{verb} came with {version}, and the list's plugins speak {} at most",
            self.version
        ))
    }

    /// A container with nothing but lo.
    pub(super) fn pod(self) -> Result<Pod, Stop> {
        let number = self.notes.pods.get() + 1;
        self.notes.pods.set(number);
        let path = isolation::make_namespace(&format!("pod{number}"))?;
        let namespace = Some(Namespace::open(&path)?);
        Ok(Pod { id: format!("conform-{number}"), ifname: "eth0".to_owned(), path, namespace })
    }

    /// A call of the plugin under test alone, without a container.
    pub(super) fn call(self, command: &str) -> Call {
        self.call_at(self.subject.place, command)
    }

    /// A call of the plugin under test alone.
    pub(super) fn call_for(self, command: &str, pod: &Pod) -> Call {
        pod.named(self.call(command))
    }

    /// A call of the plugin at that place of the list.
    pub(super) fn call_at(self, place: usize, command: &str) -> Call {
        let call = self.subject.call(place, self.version).env("CNI_COMMAND", command);
        // The reference runtime sets all of them, also to nothing.
        ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"]
            .iter()
            .fold(call, |call, name| call.env(name, ""))
    }

    /// Makes a call, and remembers it for the report.
    pub(super) fn run(self, call: Call) -> Result<Reply, Stop> {
        let reply = call.run()?;
        self.note(&reply);
        Ok(reply)
    }

    /// Makes this the last call of which a report tells.
    pub(super) fn note(self, reply: &Reply) {
        self.notes.last.replace(Some(reply.to_string()));
    }

    /// ADD by each plugin in order, up to the first that refuses; the last answer.
    pub(super) fn add(self, pod: &Pod) -> Result<Reply, Stop> {
        self.add_with(pod, &|call| call)
    }

    /// The same, with each call changed.
    pub(super) fn add_with(self, pod: &Pod, change: &dyn Fn(Call) -> Call) -> Result<Reply, Stop> {
        let mut call = change(pod.named(self.call_at(0, "ADD")));
        for place in 1..self.subject.plugins.len() {
            let reply = self.run(call)?;
            if !reply.succeeded() {
                return Ok(reply);
            }
            let previous = reply.result("an ADD")?;
            call = change(pod.named(self.call_at(place, "ADD"))).with("prevResult", previous);
        }
        self.run(call)
    }

    /// A container that a plain ADD gave an interface: without that there is nothing to check.
    pub(super) fn attached(self) -> Result<Attached, Stop> {
        let pod = self.pod()?;
        let result = self.add(&pod)?.result("an ADD")?;
        Ok(Attached { pod, result })
    }

    /// DEL by each plugin in reverse order, up to the first that refuses.
    pub(super) fn del(self, pod: &Pod, result: Option<&Value>) -> Result<Reply, Stop> {
        self.del_with(pod, result, &|call| call)
    }

    /// The same, with each call changed.
    pub(super) fn del_with(
        self,
        pod: &Pod,
        result: Option<&Value>,
        change: &dyn Fn(Call) -> Call,
    ) -> Result<Reply, Stop> {
        self.each("DEL", (0..self.subject.plugins.len()).rev(), &|call| {
            change(pod.after(self.version, call, result))
        })
    }

    /// CHECK by each plugin, up to the first that refuses.
    pub(super) fn check(self, pod: &Pod, result: &Value) -> Result<Reply, Stop> {
        self.each("CHECK", 0..self.subject.plugins.len(), &|call| pod.after(self.version, call, Some(result)))
    }

    /// GC by each plugin, with these attachments valid, listed under these keys.
    pub(super) fn gc(self, valid: &[&Pod], keys: &[&str]) -> Result<Reply, Stop> {
        let list: Value =
            valid.iter().map(|pod| json!({ "containerID": pod.id, "ifname": pod.ifname })).collect();
        let listed = |call| keys.iter().fold(call, |call: Call, key| call.with(key, list.clone()));
        self.each("GC", 0..self.subject.plugins.len(), &listed)
    }

    /// STATUS of each plugin, up to the first that is not ready.
    pub(super) fn status(self) -> Result<Reply, Stop> {
        self.each("STATUS", 0..self.subject.plugins.len(), &|call| call)
    }

    fn each(
        self,
        command: &str,
        places: impl Iterator<Item = usize>,
        change: &dyn Fn(Call) -> Call,
    ) -> Result<Reply, Stop> {
        let mut last = None;
        for place in places {
            let reply = self.run(change(self.call_at(place, command)))?;
            if !reply.succeeded() {
                return Ok(reply);
            }
            last = Some(reply);
        }
        Ok(last.context("a list has a plugin")?)
    }

    /// ADD that asks for an address, by the capability if the plugin has it, else by CNI_ARGS. Says whether
    /// the container got it.
    pub(super) fn gets(self, address: IpNet) -> Result<bool, Stop> {
        let pod = self.pod()?;
        let reply = self.add_with(&pod, &|call| self.asking(call, address))?;
        if !reply.succeeded() {
            self.del(&pod, None)?;
            return Ok(false);
        }
        let got = answer::ips(&reply.result("an ADD")?)?;
        Ok(got.iter().any(|ip| ip.address.addr() == address.addr()))
    }

    /// The same request, to be made by the caller.
    pub(super) fn asking(self, call: Call, address: IpNet) -> Call {
        if self.subject.has_capability("ips") {
            return call.with("runtimeConfig", json!({ "ips": [address.to_string()] }));
        }
        call.env("CNI_ARGS", format!("IgnoreUnknown=1;IP={}", address.addr()))
    }
}

/// Whether one known version is another or a later one.
pub(super) fn at_least(version: &str, other: &str) -> bool {
    let place = |version| KNOWN.iter().position(|known| *known == version);
    place(version) >= place(other)
}

impl Pod {
    /// The same container with an interface of another name.
    pub(super) fn with_ifname(&self, ifname: &str) -> Result<Self, Stop> {
        let namespace = Some(Namespace::open(&self.path)?);
        Ok(Self { id: self.id.clone(), ifname: ifname.to_owned(), path: self.path.clone(), namespace })
    }

    /// What Kubernetes' runtimes send.
    fn arguments(&self) -> String {
        let Self { id, .. } = self;
        format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=conform;K8S_POD_NAME={id};K8S_POD_INFRA_CONTAINER_ID={id}")
    }

    /// With its name, namespace and interface in the environment.
    pub(super) fn named(&self, call: Call) -> Call {
        call.env("CNI_CONTAINERID", self.id.as_str())
            .env("CNI_NETNS", self.path.to_string_lossy())
            .env("CNI_IFNAME", self.ifname.as_str())
            .env("CNI_ARGS", self.arguments())
    }

    /// With the result of the ADD, where the version has that.
    fn after(&self, version: &str, call: Call, result: Option<&Value>) -> Call {
        let call = self.named(call);
        match result.filter(|_| at_least(version, "0.4.0")) {
            Some(result) => call.with("prevResult", result.clone()),
            None => call,
        }
    }

    /// Does some work in its network namespace.
    pub(super) fn run<T>(&self, work: impl FnOnce() -> T) -> Result<T, Stop> {
        Ok(self.namespace.as_ref().context("this container's namespace is gone")?.run(work)?)
    }

    /// Its interface, which the check needs.
    pub(super) fn link(&self) -> Result<Link, Stop> {
        let found = self.run(|| kernel::link(&self.ifname))??;
        found.map_or_else(|| failed(format!("the container has the interface {}", self.ifname), "none"), Ok)
    }

    pub(super) fn has_link(&self) -> Result<bool, Stop> {
        Ok(self.run(|| kernel::link(&self.ifname))??.is_some())
    }

    pub(super) fn addresses(&self) -> Result<Vec<Address>, Stop> {
        let link = self.link()?;
        Ok(self.run(|| kernel::addresses(&link))??)
    }

    pub(super) fn routes(&self) -> Result<Vec<Route>, Stop> {
        Ok(self.run(kernel::routes)??)
    }

    /// Takes the routes away that go through its interfaces' gateways.
    pub(super) fn clear_routes(&self) -> Verdict {
        let routed = self.routes()?.into_iter().filter(|route| route.gateway.is_some()).collect::<Vec<_>>();
        Ok(self.run(|| routed.iter().try_for_each(kernel::delete_route))??)
    }

    /// As when a container dies: its namespace is gone, and the path leads nowhere.
    pub(super) fn vanish(&mut self) -> Verdict {
        self.namespace = None;
        unmount(&self.path, UnmountFlags::DETACH)?;
        Ok(std::fs::remove_file(&self.path)?)
    }
}

impl Attached {
    /// Its addresses, as reported; the check does not apply if there are none.
    pub(super) fn ips(&self) -> Result<Vec<Ip>, Stop> {
        let ips = answer::ips(&self.result)?;
        if ips.is_empty() { not_applicable("the result has no addresses") } else { Ok(ips) }
    }

    pub(super) fn first_address(&self) -> Result<IpNet, Stop> {
        Ok(self.ips()?[0].address)
    }

    /// The check fails unless the interface and its addresses are still there.
    pub(super) fn ensure_intact(&self, after: &str) -> Verdict {
        let there: Vec<_> = self.pod.addresses()?.iter().map(|address| address.prefix).collect();
        for Ip { address, .. } in answer::ips(&self.result)? {
            let expected = format!("{address} stays on {} of {} after {after}", self.pod.ifname, self.pod.id);
            ensure(there.contains(&address), expected, format!("{there:?}"))?;
        }
        Ok(())
    }
}
