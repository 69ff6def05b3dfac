//! The node's agent in bad weather: members come, go and change, links flap, people and programs take things away, the
//! agent itself is killed. After every event the kernel is as the members want it, and nothing of others' is touched.
//!
//! What ought to be there is said by a model of the members; what is there by ip(8) and bridge(8). Some forty events
//! by default; `PODWIRE_SOAK` names the seconds for which new ones follow, `PODWIRE_SEED` the seed of an earlier run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use podwire_tests::Node;
use podwire_tests::command::{Podwire, Processes, Started, children, kill};
use podwire_tests::kernel::{eventually, ip, json, link, run};
use serde_json::{Value, json};

const VXLAN: &str = "podwire.vxlan";
/// Events of a run that is not told for how long.
const FEW: u32 = 40;
/// Peers that there may be at once.
const MOST: u64 = 40;

/// A generator of numbers that only need to be different (xorshift64*, Vigna 2016).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % bound
    }
}

/// A node, its agent, and the members that it has been told of.
struct Weather {
    dice: Dice,
    /// Number of the peer, and whether it is on the node's link.
    peers: BTreeMap<u64, bool>,
    agent: Option<Started>,
    podwire: Podwire,
    _processes: Processes,
    _node: Node,
}

impl Weather {
    fn new(seed: u64) -> Option<Self> {
        let node = Node::enter()?;
        ip("link add eth0 type veth peer name wire");
        ip("link set wire up");
        let processes = Processes::new();
        let podwire = Podwire::on(&node).inside(&processes);
        let (dice, peers) = (Dice(seed), BTreeMap::new());
        let mut weather = Self { dice, peers, agent: None, podwire, _processes: processes, _node: node };
        weather.connect();
        ip("route add 10.9.0.0/16 via 192.168.1.250 proto static");
        weather.podwire.configure(
            "node.json",
            &json!({
                "name": "node0", "addresses": ["192.168.1.1", "fd00:192:168:1::1"],
                "pools": ["10.244.0.0/24", "fd00:10:244::/64"], "cluster": ["10.244.0.0/16", "fd00:10:244::/48"],
            }),
        );
        weather.tell();
        weather.start();
        Some(weather)
    }

    /// The uplink with what an operator's network configuration gives it: IPv6 addresses go with a flap, and so does
    /// the route to what is not on the link.
    fn connect(&self) {
        ip("link set eth0 up");
        for address in ["192.168.1.1/24", "fd00:192:168:1::1/64"] {
            ip(&format!("address replace {address} dev eth0 nodad"));
        }
        ip("route replace default via 192.168.1.254 dev eth0");
        ip("route replace default via fd00:192:168:1::fe dev eth0");
    }

    fn start(&mut self) {
        self.agent = Some(self.podwire.start(&["node", "run"]));
    }

    fn stop(&mut self) {
        let agent = self.agent.take().expect("it runs");
        eventually("the agent is a process", || !children(agent.id()).is_empty());
        kill(children(agent.id())[0]);
        agent.finish();
    }

    /// Tells the agent of the members.
    fn tell(&self) {
        let peer = |(number, is_near): (&u64, &bool)| {
            let site = if *is_near { 1 } else { 2 };
            json!({
                "name": format!("node{number}"),
                "addresses": [format!("192.168.{site}.{number}"), format!("fd00:192:168:{site}::{number:x}")],
                "pools": [format!("10.244.{number}.0/24"), format!("fd00:10:244:{number:x}::/64")],
            })
        };
        let peers: Vec<Value> = self.peers.iter().map(peer).collect();
        let etc = self.podwire.root().join("etc");
        podwire_tests::command::write_file(etc.join("new"), json!({ "peers": peers }).to_string());
        fs::rename(etc.join("new"), etc.join("peers.json")).expect("the state is the test's own");
    }

    /// What podwire's routes ought to be: destination, and how it is reached.
    fn wanted(&self) -> BTreeSet<String> {
        let routes = self.peers.iter().flat_map(|(number, is_near)| {
            let blocks = [format!("10.244.{number}.0/24"), format!("fd00:10:244:{number:x}::/64")];
            let near = [format!("192.168.1.{number}"), format!("fd00:192:168:1::{number:x}")];
            let is_near = *is_near;
            blocks.into_iter().zip(near).map(move |(block, via)| match is_near {
                true => format!("{block} via {via} dev eth0"),
                false => format!("{block} dev {VXLAN}"),
            })
        });
        routes.collect()
    }

    /// What differs from what ought to be; nothing, if all is well.
    fn lack(&self) -> Option<String> {
        let (wanted, found) = (self.wanted(), routes());
        if wanted != found {
            let missing: Vec<_> = wanted.difference(&found).collect();
            let too_much: Vec<_> = found.difference(&wanted).collect();
            return Some(format!("missing {missing:?}, too much {too_much:?}"));
        }
        let far = self.peers.values().filter(|is_near| !**is_near).count();
        if tunnels() != far {
            return Some(format!("{} tunnels for {far} peers", tunnels()));
        }
        let bridge = addresses("cni0");
        if !["10.244.0.1/24", "fd00:10:244::1/64"].iter().all(|address| bridge.contains(*address)) {
            return Some(format!("cni0 has {bridge:?}"));
        }
        let switches = ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"];
        let off = |switch: &&&str| fs::read_to_string(switch).is_ok_and(|value| value.trim() != "1");
        switches.iter().find(off).map(|switch| format!("{switch} is off"))
    }

    /// One event; what it was.
    fn event(&mut self) -> &'static str {
        match self.dice.below(16) {
            0 | 1 => self.join(),
            2 => self.leave(),
            3 => self.move_one(),
            4 => self.many(),
            5 => self.lose_route(),
            6 => by_hand("flush", &["route flush proto 112", "-6 route flush proto 112"]),
            7 => self.flap(),
            8 => by_hand("bridge address", &["address del 10.244.0.1/24 dev cni0"]),
            9 => by_hand("bridge", &["link del cni0"]),
            10 => by_hand("bridge down", &["link set cni0 down"]),
            11 => self.lose_tunnels(),
            12 => self.switch_off(),
            13 => self.kill(),
            14 => self.kill_and_lose(),
            _ => self.misspell(),
        }
    }

    fn join(&mut self) -> &'static str {
        let (number, is_near) = (2 + self.dice.below(MOST), self.dice.below(2) == 0);
        self.peers.insert(number, is_near);
        self.tell();
        "join"
    }

    fn leave(&mut self) -> &'static str {
        let number = self.dice.below(self.peers.len() as u64 + 1) as usize;
        if let Some(number) = self.peers.keys().nth(number).copied() {
            self.peers.remove(&number);
        }
        self.tell();
        "leave"
    }

    fn move_one(&mut self) -> &'static str {
        let number = self.dice.below(self.peers.len() as u64 + 1) as usize;
        if let Some(is_near) = self.peers.values_mut().nth(number) {
            *is_near = !*is_near;
        }
        self.tell();
        "move"
    }

    fn many(&mut self) -> &'static str {
        for _ in 0..8 {
            if self.dice.below(2) == 0 {
                self.join()
            } else {
                self.leave()
            };
        }
        "many at once"
    }

    fn lose_route(&mut self) -> &'static str {
        let routes: Vec<String> = routes().into_iter().collect();
        if let Some(route) = routes.get(self.dice.below(routes.len() as u64 + 1) as usize) {
            let block = route.split(' ').next().unwrap_or_default();
            ip(&format!("{} route del {block}", if block.contains(':') { "-6" } else { "-4" }));
        }
        "route"
    }

    fn flap(&mut self) -> &'static str {
        ip("link set eth0 down");
        if self.dice.below(2) == 0 {
            self.join();
        }
        self.connect();
        "flap"
    }

    fn lose_tunnels(&mut self) -> &'static str {
        if link(VXLAN).is_none() {
            return "no tunnel to lose";
        }
        match self.dice.below(3) {
            0 => by_hand("tunnel device", &[&format!("link del {VXLAN}")]),
            1 => by_hand("neighbours", &[&format!("neigh flush dev {VXLAN} nud permanent")]),
            _ => by_hand("tunnel device down", &[&format!("link set {VXLAN} down")]),
        }
    }

    fn switch_off(&mut self) -> &'static str {
        let switches = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"];
        let switch = switches[self.dice.below(2) as usize].replace('.', "/");
        podwire_tests::command::write_file(format!("/proc/sys/{switch}"), "0");
        "forwarding"
    }

    fn kill(&mut self) -> &'static str {
        self.stop();
        self.start();
        "kill"
    }

    fn kill_and_lose(&mut self) -> &'static str {
        self.stop();
        self.leave();
        self.lose_route();
        self.start();
        "kill and lose"
    }

    /// What cannot be read changes nothing; then it can be read again.
    fn misspell(&mut self) -> &'static str {
        self.podwire.write("peers.json", "{ \"peers\": [");
        self.lose_route();
        eventually("what was lost comes back without a source", || self.lack().is_none());
        self.join();
        "misspelt peers"
    }
}

fn by_hand(what: &'static str, commands: &[&str]) -> &'static str {
    commands.iter().for_each(|command| ip(command));
    what
}

/// podwire's routes: destination, next hop on a link, device.
fn routes() -> BTreeSet<String> {
    let all = ["-4 route show proto 112", "-6 route show proto 112"].map(json);
    let one = |route: &Value| {
        let text = |key: &str| route[key].as_str().unwrap_or_default().to_owned();
        match text("dev").as_str() {
            VXLAN => format!("{} dev {VXLAN}", text("dst")),
            device => format!("{} via {} dev {device}", text("dst"), text("gateway")),
        }
    };
    all.iter().flatten().map(one).collect()
}

/// Peers that the tunnel device knows a machine of.
fn tunnels() -> usize {
    if link(VXLAN).is_none_or(|link| !link.up) {
        return 0;
    }
    let printed = run("bridge", &format!("fdb show dev {VXLAN}"));
    printed.lines().filter(|line| line.contains(" dst 192.168.2.")).count()
}

fn addresses(interface: &str) -> BTreeSet<String> {
    podwire_tests::kernel::addresses_of(interface).iter().map(ToString::to_string).collect()
}

#[test]
fn whatever_happens_the_kernel_is_as_the_members_want_it() {
    let named = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
    let seed = named("PODWIRE_SEED").unwrap_or(now | 1);
    let Some(mut weather) = Weather::new(seed) else { return };
    let end = named("PODWIRE_SOAK").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut happened: BTreeMap<&str, u32> = BTreeMap::new();
    eventually("the agent makes the bridge", || weather.lack().is_none());
    let goes_on = |count: u32| end.map_or(count < FEW, |end| Instant::now() < end);
    let mut count = 0;
    while goes_on(count) {
        let event = weather.event();
        let since = Instant::now();
        while let Some(lack) = weather.lack() {
            if since.elapsed() > Duration::from_secs(20) {
                let said = weather.agent.as_ref().map(Started::said).unwrap_or_default();
                panic!("event {count} of seed {seed}, {event}: {lack}; before: {happened:?}\n{said}");
            }
        }
        let foreign = run("ip", "route show 10.9.0.0/16");
        assert!(event == "flap" || foreign.contains("proto static"), "{event}, seed {seed}: {foreign}");
        ip("route replace 10.9.0.0/16 via 192.168.1.250 proto static");
        *happened.entry(event).or_default() += 1;
        count += 1;
    }
    writeln!(std::io::stderr(), "{count} events of seed {seed}: {happened:?}")
        .expect("standard error is open");
}
