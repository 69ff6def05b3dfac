//! What is measured: podwire, the floor, and the reference plugins, each on a node of its own.
//!
//! Owns their configurations, the calls made of them, and where each keeps what it has given away; does not
//! know times.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use podwire::leases::Store;
use podwire::state::{ROOT_VARIABLE, State};
use podwire_tests::plugin::REFERENCE_PLUGINS;
use podwire_tests::{Namespace, Node, Pod, kernel};
use serde_json::{Value, json};

use crate::spawner::{Call, Measured};

/// Of every variant: each is alone on its node.
pub(crate) const BRIDGE: &str = "cni0";
/// The pods' blocks: large enough for 60,000 leases and what is measured on top.
pub(crate) const V4: &str = "10.244.0.0/16";
const V6: &str = "fd00:10:244::/64";
const VERSION: &str = "1.0.0";
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The addresses that a pod gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stack {
    /// One of IPv4.
    V4,
    /// One of each family.
    Dual,
}

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// podwire with its default policy.
    Podwire,
    /// The kernel's part alone.
    Floor,
    /// The same, for pods without an IPv6 link-local address.
    FloorWithoutLinkLocal,
    /// Debian's bridge with host-local.
    Incumbent,
}

/// The programs, by kind.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// The plugin that is measured.
    pub(crate) podwire: PathBuf,
    /// The command for people, which has the agent.
    pub(crate) command: PathBuf,
    /// Built from `floor.c`.
    pub(crate) floor: PathBuf,
}

/// One thing that is measured.
#[derive(Debug, Clone)]
pub(crate) struct Variant {
    /// Which program it calls.
    pub(crate) kind: Kind,
    /// The network namespace that it takes for the node's.
    pub(crate) host: Namespace,
    stack: Stack,
    masquerades: bool,
    program: PathBuf,
    /// Where it keeps what it has given away.
    state: PathBuf,
}

impl Variant {
    /// On a new node of that name, with the bridge if the program expects one.
    pub(crate) fn new(node: &Node, name: &str, kind: Kind, stack: Stack, programs: &Programs) -> Self {
        let host = node.pod(name).namespace;
        let program = match kind {
            Kind::Podwire => programs.podwire.clone(),
            Kind::Floor | Kind::FloorWithoutLinkLocal => programs.floor.clone(),
            Kind::Incumbent => PathBuf::from(REFERENCE_PLUGINS).join("bridge"),
        };
        host.run(|| kernel::ip("link set lo up"));
        if matches!(kind, Kind::Floor | Kind::FloorWithoutLinkLocal) {
            host.run(|| make_bridge(stack));
        }
        let state = PathBuf::from("/run/podwire-bench").join(name);
        Self { kind, host, stack, masquerades: false, program, state }
    }

    /// With pods that leave the cluster with the node's address.
    pub(crate) fn masquerading(self) -> Self {
        Self { masquerades: true, ..self }
    }

    /// On the same node.
    pub(crate) fn with_kind(&self, kind: Kind) -> Self {
        Self { kind, ..self.clone() }
    }

    /// An ADD for the pod.
    pub(crate) fn add(&self, pod: &Pod) -> Call {
        self.call("ADD", pod, self.configuration())
    }

    /// A DEL for the pod, with the result of its ADD.
    pub(crate) fn del(&self, pod: &Pod, result: &str) -> Call {
        let mut configuration = self.configuration();
        configuration["prevResult"] = serde_json::from_str(result).unwrap_or_default();
        self.call("DEL", pod, configuration)
    }

    fn call(&self, command: &str, pod: &Pod, configuration: Value) -> Call {
        let arguments = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=bench;K8S_POD_NAME={}", pod.container_id);
        let environment = [
            ("CNI_COMMAND", command.to_owned()),
            ("CNI_CONTAINERID", pod.container_id.clone()),
            ("CNI_NETNS", pod.namespace.path().display().to_string()),
            ("CNI_IFNAME", pod.ifname.clone()),
            ("CNI_PATH", REFERENCE_PLUGINS.to_owned()),
            ("CNI_ARGS", arguments),
            ("PATH", PATH.to_owned()),
            (ROOT_VARIABLE, self.state.display().to_string()),
        ];
        Call {
            namespace: self.host.path().to_owned(),
            program: self.program.clone(),
            arguments: Vec::new(),
            environment: BTreeMap::from(environment.map(|(name, value)| (name.to_owned(), value))),
            input: configuration.to_string(),
        }
    }

    fn configuration(&self) -> Value {
        let mut configuration = match self.kind {
            Kind::Podwire => self.for_podwire(),
            Kind::Floor | Kind::FloorWithoutLinkLocal => self.for_floor(),
            Kind::Incumbent => self.for_incumbent(),
        };
        configuration["cniVersion"] = json!(VERSION);
        configuration["name"] = json!("pods");
        configuration
    }

    fn pools(&self) -> &'static [&'static str] {
        match self.stack {
            Stack::V4 => &[V4],
            Stack::Dual => &[V4, V6],
        }
    }

    fn for_podwire(&self) -> Value {
        json!({
            "type": "podwire", "pools": self.pools(), "cluster": self.pools(),
            "config": { "bridge": BRIDGE, "ipMasq": self.masquerades },
        })
    }

    fn for_floor(&self) -> Value {
        let base = |pool: &str| pool.split_once('/').map(|(base, _)| base.to_owned());
        let mut configuration = json!({ "type": "floor", "bridge": BRIDGE, "base": base(V4) });
        if self.stack == Stack::Dual {
            configuration["base6"] = json!(base(V6));
        }
        if self.kind == Kind::FloorWithoutLinkLocal {
            configuration["ip6"] = json!("none");
        }
        configuration
    }

    fn for_incumbent(&self) -> Value {
        let ranges = self.pools().iter().map(|pool| json!([{ "subnet": pool }]));
        let routes = ["0.0.0.0/0", "::/0"].into_iter().take(self.pools().len());
        json!({
            "type": "bridge", "bridge": BRIDGE, "isGateway": true, "ipMasq": self.masquerades,
            "ipam": {
                "type": "host-local", "dataDir": self.state,
                "ranges": ranges.collect::<Value>(),
                "routes": routes.map(|route| json!({ "dst": route })).collect::<Value>(),
            },
        })
    }

    /// The addresses that an ADD gave, or in what its answer is wrong.
    pub(crate) fn addresses(&self, answer: &Measured) -> Result<Vec<String>, String> {
        let wrong = |problem: &str| format!("{problem}: exit {:?}, {}", answer.exit, answer.output.trim());
        let result: Value =
            serde_json::from_str(&answer.output).map_err(|_| wrong("the answer is not one JSON document"))?;
        if answer.exit != Some(0) {
            return Err(wrong("the ADD failed"));
        }
        if result["cniVersion"] != VERSION || result["interfaces"].as_array().is_none_or(Vec::is_empty) {
            return Err(wrong("the result lacks its version or its interfaces"));
        }
        let ips = result["ips"].as_array().into_iter().flatten();
        let addresses = ips.filter_map(|ip| ip["address"].as_str().map(str::to_owned)).collect::<Vec<_>>();
        let in_pools = addresses.iter().zip(self.pools()).all(|(address, pool)| is_in(address, pool));
        if addresses.len() != self.pools().len() || !in_pools {
            return Err(wrong("not one address from each pool"));
        }
        Ok(addresses)
    }

    /// How many attachments it has on record; none if it keeps no record.
    pub(crate) fn on_record(&self) -> Result<Option<usize>> {
        match self.kind {
            Kind::Podwire => self.leases().map(Some),
            Kind::Floor | Kind::FloorWithoutLinkLocal => Ok(None),
            Kind::Incumbent => {
                let Ok(files) = self.state.join("pods").read_dir() else { return Ok(Some(0)) };
                let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
                Ok(Some(names.filter(|name| name.parse::<std::net::IpAddr>().is_ok()).count()))
            }
        }
    }

    fn leases(&self) -> Result<usize> {
        let store = Store::open_existing(&self.state().leases_dir())?;
        let Some(store) = store else { return Ok(0) };
        Ok(store.snapshot()?.attachments()?.count())
    }

    /// Where podwire keeps its state on this node.
    pub(crate) fn state(&self) -> State {
        State::new(Some(&self.state))
    }
}

fn make_bridge(stack: Stack) {
    kernel::ip(&format!("link add {BRIDGE} type bridge"));
    kernel::ip(&format!("address add 10.244.0.1/16 dev {BRIDGE}"));
    kernel::ip(&format!("link set {BRIDGE} up"));
    if stack == Stack::Dual {
        kernel::ip(&format!("address add fd00:10:244::1/64 dev {BRIDGE} nodad"));
    }
}

fn is_in(address: &str, pool: &str) -> bool {
    let block = |text: &str| text.parse::<ipnet::IpNet>().ok();
    block(pool).zip(block(address)).is_some_and(|(pool, address)| pool.contains(&address.addr()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn variant(kind: Kind, stack: Stack) -> Variant {
        let host = Namespace::at("/run/netns/host");
        Variant {
            kind,
            host,
            stack,
            masquerades: false,
            program: "/bin/plugin".into(),
            state: "/run/state".into(),
        }
    }

    fn answer(exit: i32, result: Value) -> Measured {
        let (wall, cpu) = (Duration::ZERO, Duration::ZERO);
        Measured { wall, cpu, peak_kib: 0, faults: 0, exit: Some(exit), output: result.to_string() }
    }

    fn result(addresses: &[&str]) -> Value {
        let ips = addresses.iter().map(|address| json!({ "address": address })).collect::<Value>();
        json!({ "cniVersion": VERSION, "interfaces": [{ "name": "eth0" }], "ips": ips })
    }

    #[test]
    fn a_right_answer_tells_its_addresses_and_a_wrong_one_is_refused() {
        let (single, dual) = (variant(Kind::Podwire, Stack::V4), variant(Kind::Podwire, Stack::Dual));
        let right = ["10.244.0.2/16", "fd00:10:244::2/64"];
        assert_eq!(single.addresses(&answer(0, result(&right[..1]))), Ok(vec![right[0].to_owned()]));
        assert_eq!(dual.addresses(&answer(0, result(&right))).map(|all| all.len()), Ok(2));
        for (variant, exit, wrong) in [
            (&single, 1, result(&right[..1])),
            (&single, 0, json!({ "code": 999, "msg": "no" })),
            (&single, 0, result(&[])),
            (&single, 0, result(&["10.245.0.2/16"])),
            (&single, 0, result(&["10.244.0.2"])),
            (&single, 0, result(&right)),
            (&dual, 0, result(&right[..1])),
        ] {
            assert!(variant.addresses(&answer(exit, wrong.clone())).is_err(), "{exit} {wrong}");
        }
    }

    #[test]
    fn each_program_gets_the_pools_of_its_stack() {
        for kind in [Kind::Podwire, Kind::Floor, Kind::Incumbent] {
            let text = |stack| variant(kind, stack).configuration().to_string();
            assert!(text(Stack::V4).contains("10.244.0.0") && !text(Stack::V4).contains("fd00"), "{kind:?}");
            assert!(
                text(Stack::Dual).contains("10.244.0.0") && text(Stack::Dual).contains("fd00"),
                "{kind:?}"
            );
        }
    }
}
