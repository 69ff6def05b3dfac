//! What a case expects: only what it names is compared.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::names::MacAddress;
use crate::plan::{Checked, Dns, RefusalReason, Route, Wiring};
use crate::trial::Decision;

/// One thing that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which.
    pub field: String,
    /// What the case says.
    pub expected: String,
    /// What came.
    pub got: String,
}

impl Difference {
    pub(super) fn new(field: impl Into<String>, expected: impl ToString, got: impl ToString) -> Self {
        Self { field: field.into(), expected: expected.to_string(), got: got.to_string() }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.field, self.expected, self.got)
    }
}

/// `expect` of a case.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Wanted {
    refusal: Option<RefusalReason>,
    broken_rule: Option<String>,
    message_contains: Option<Words>,
    addresses: Option<Vec<WantedAddress>>,
    gateway: Option<Gateways>,
    routes: Option<Vec<WantedRoute>>,
    wiring: Option<Kind>,
    bridge: Option<String>,
    hairpin: Option<bool>,
    isolated: Option<bool>,
    host_interface: Option<String>,
    mac: Option<MacAddress>,
    mtu: Option<u32>,
    dns: Option<WantedDns>,
    sysctls: Option<BTreeMap<String, String>>,
    masquerade: Option<bool>,
}

/// One, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    All(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Gateways {
    One(IpAddr),
    All(Vec<IpAddr>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Bridge,
    Routed,
}

/// `10.244.1.7/32`, `10.244.1.7` whatever its length, or `in 10.244.1.0/25`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
enum WantedAddress {
    Prefix(IpNet),
    Address(IpAddr),
    In(IpNet),
}

/// As ip(8) writes it: `default via 169.254.1.1`, `10.9.0.0/16 via 10.244.1.1 mtu 1400`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct WantedRoute(Route);

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct WantedDns {
    nameservers: Vec<IpAddr>,
    domain: Option<String>,
    search: Vec<String>,
    options: Vec<String>,
}

impl TryFrom<String> for WantedAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no address that can be expected, such as 10.244.1.7/24, 10.244.1.7 or in 10.244.1.0/25"
            )
        };
        if let Some(block) = text.strip_prefix("in ") {
            return block.parse().map(Self::In).map_err(|_| wrong());
        }
        let address = text.parse().map(Self::Address);
        address.or_else(|_| text.parse().map(Self::Prefix)).map_err(|_| wrong())
    }
}

impl fmt::Display for WantedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(prefix) => prefix.fmt(f),
            Self::Address(address) => address.fmt(f),
            Self::In(block) => write!(f, "in {block}"),
        }
    }
}

impl WantedAddress {
    fn is(&self, got: &IpNet) -> bool {
        match self {
            Self::Prefix(prefix) => prefix == got,
            Self::Address(address) => *address == got.addr(),
            Self::In(block) => block.contains(&got.addr()),
        }
    }
}

impl TryFrom<String> for WantedRoute {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no route, such as \"default via 169.254.1.1\" or \"10.9.0.0/16\"");
        let mut words = text.split_ascii_whitespace();
        let destination = words.next().ok_or_else(wrong)?;
        let mut route = Route::to(IpNet::from(IpAddr::from([0; 4])), None);
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(wrong)?;
            let number = || value.parse().map_err(|_| wrong());
            match word {
                "via" => route.via = Some(value.parse().map_err(|_| wrong())?),
                "mtu" => route.mtu = Some(number()?),
                "metric" => route.metric = Some(number()?),
                "advmss" => route.advmss = Some(number()?),
                "table" => route.table = Some(number()?),
                "scope" => route.scope = Some(value.parse().map_err(|_| wrong())?),
                _ => return Err(wrong()),
            }
        }
        route.destination = match destination {
            "default" if route.via.is_some_and(|via| via.is_ipv6()) => everywhere("::/0"),
            "default" => everywhere("0.0.0.0/0"),
            block => block.parse().map_err(|_| wrong())?,
        };
        Ok(Self(route))
    }
}

fn everywhere(block: &str) -> IpNet {
    block.parse().expect("a block")
}

/// As it is written in a case.
fn route(route: &Route) -> String {
    let mut text = match route.destination.prefix_len() {
        0 if route.via.is_some() => "default".to_owned(),
        _ => route.destination.to_string(),
    };
    let scope = route.scope.map(u32::from);
    if let Some(via) = route.via {
        let _ = write!(text, " via {via}");
    }
    for (word, value) in [
        ("mtu", route.mtu),
        ("metric", route.metric),
        ("advmss", route.advmss),
        ("table", route.table),
        ("scope", scope),
    ] {
        if let Some(value) = value {
            let _ = write!(text, " {word} {value}");
        }
    }
    text
}

/// In the order in which they were sorted: that of routes means nothing.
fn sorted<'a>(routes: impl Iterator<Item = &'a Route>) -> String {
    let mut routes: Vec<String> = routes.map(route).collect();
    routes.sort();
    list(routes)
}

fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

/// Of the fields that differ.
#[derive(Default)]
struct Differences(Vec<Difference>);

impl Differences {
    /// If something is expected, and it is not this.
    fn hold<T: PartialEq + fmt::Display>(&mut self, field: &str, wanted: Option<T>, got: Option<T>) {
        let Some(wanted) = wanted else { return };
        if got.as_ref() != Some(&wanted) {
            self.0.push(Difference::new(field, wanted, got.map_or("none".to_owned(), |got| got.to_string())));
        }
    }
}

impl Wanted {
    /// Whether one answer can be all of this.
    pub(super) fn check(&self) -> Result<(), String> {
        let of_plan = self.addresses.is_some()
            || self.gateway.is_some()
            || self.routes.is_some()
            || self.wiring.is_some()
            || self.bridge.is_some()
            || self.host_interface.is_some();
        match (self.refusal, &self.broken_rule) {
            (Some(_), Some(_)) => Err("expect: it is either a `refusal` or a `broken-rule`".to_owned()),
            (None, None) if self.message_contains.is_some() => {
                Err("expect: `message-contains` wants a `refusal` or a `broken-rule` beside it".to_owned())
            }
            (Some(_), _) | (_, Some(_)) if of_plan => {
                Err("expect: what is refused has no plan, so nothing of one can be expected".to_owned())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn compare(&self, decided: &Decision) -> Vec<Difference> {
        let answer = |expected: String| vec![Difference::new("answer", expected, decided)];
        match (self.refusal, &self.broken_rule, decided) {
            (Some(reason), _, Decision::Refusal(refusal)) => {
                let mut differences = Differences::default();
                differences.hold("refusal", Some(name(reason)), Some(name(refusal.reason)));
                self.words(&refusal.message, differences)
            }
            (Some(reason), ..) => answer(format!("a refusal of the kind {}", name(reason))),
            (_, Some(field), Decision::Broken(violation)) => {
                let mut differences = Differences::default();
                differences.hold("broken-rule", Some(field.as_str()), Some(violation.field.as_str()));
                self.words(&violation.to_string(), differences)
            }
            // Which address is whose is a rule too.
            (_, Some(field), Decision::Leased(error)) if field == "leases" => {
                self.words(&error.to_string(), Differences::default())
            }
            (_, Some(field), _) => answer(format!("a plan whose {field} breaks a rule")),
            (None, None, Decision::Plan(plan)) => self.plan(plan),
            (None, None, _) => answer("a plan".to_owned()),
        }
    }

    fn words(&self, message: &str, mut differences: Differences) -> Vec<Difference> {
        let words = match &self.message_contains {
            None => &[][..],
            Some(Words::One(word)) => std::slice::from_ref(word),
            Some(Words::All(words)) => words,
        };
        for word in words.iter().filter(|word| !message.contains(word.as_str())) {
            differences.0.push(Difference::new(
                "message-contains",
                format!("{word:?}"),
                format!("{message:?}"),
            ));
        }
        differences.0
    }

    fn plan(&self, plan: &Checked) -> Vec<Difference> {
        let mut differences = Differences::default();
        self.link(plan, &mut differences);
        if let Some(wanted) = &self.addresses {
            let got: Vec<IpNet> = plan.addresses.iter().map(|address| address.prefix).collect();
            let all =
                wanted.len() == got.len() && wanted.iter().zip(&got).all(|(wanted, got)| wanted.is(got));
            if !all {
                differences.0.push(Difference::new("addresses", list(wanted), list(got)));
            }
        }
        if let Some(wanted) = &self.gateway {
            let wanted = match wanted {
                Gateways::One(gateway) => std::slice::from_ref(gateway),
                Gateways::All(gateways) => gateways,
            };
            let got = list(plan.addresses.iter().filter_map(|address| address.gateway));
            differences.hold("gateway", Some(list(wanted)), Some(got));
        }
        let routes = self.routes.as_ref().map(|routes| sorted(routes.iter().map(|route| &route.0)));
        differences.hold("routes", routes, Some(sorted(plan.routes.iter())));
        self.rest(plan, &mut differences);
        differences.0
    }

    fn link(&self, plan: &Checked, differences: &mut Differences) {
        let (kind, bridge, hairpin, isolated) = match &plan.wiring {
            Wiring::Routed => (Kind::Routed, None, None, None),
            Wiring::Bridge { bridge, hairpin, isolated, .. } => {
                (Kind::Bridge, Some(bridge.name.to_string()), Some(*hairpin), Some(*isolated))
            }
        };
        let word = |kind| if kind == Kind::Bridge { "bridge" } else { "routed" };
        differences.hold("wiring", self.wiring.map(word), Some(word(kind)));
        differences.hold("bridge", self.bridge.clone(), bridge);
        differences.hold("hairpin", self.hairpin, hairpin);
        differences.hold("isolated", self.isolated, isolated);
        let name = plan.host_interface.to_string();
        differences.hold("host-interface", self.host_interface.clone(), Some(name));
    }

    fn rest(&self, plan: &Checked, differences: &mut Differences) {
        differences.hold("mac", self.mac, Some(plan.mac));
        differences.hold("mtu", self.mtu, plan.mtu);
        differences.hold("masquerade", self.masquerade, Some(plan.traffic.masquerade.is_some()));
        let wanted = self.dns.as_ref().map(|dns| {
            resolver(&Dns {
                nameservers: dns.nameservers.clone(),
                domain: dns.domain.clone(),
                search: dns.search.clone(),
                options: dns.options.clone(),
            })
        });
        differences.hold("dns", wanted, plan.dns.as_ref().map(resolver));
        let written = |(name, value): (&String, &String)| format!("{} = {value}", name.replace('.', "/"));
        let wanted = self.sysctls.as_ref().map(|sysctls| list(sysctls.iter().map(written)));
        let mut got: Vec<_> = plan.sysctls.iter().map(|(path, value)| written((path, value))).collect();
        got.sort();
        differences.hold("sysctls", wanted, Some(list(got)));
    }
}

fn name(reason: RefusalReason) -> &'static str {
    match reason {
        RefusalReason::InvalidConfig => "invalid-config",
        RefusalReason::Denied => "denied",
        RefusalReason::Exhausted => "exhausted",
        RefusalReason::TryAgain => "try-again",
    }
}

/// In the words of resolv.conf(5).
fn resolver(dns: &Dns) -> String {
    let domain = dns.domain.as_deref().map(|domain| format!("domain {domain}"));
    let part =
        |word: &str, items: Vec<String>| (!items.is_empty()).then(|| format!("{word} {}", items.join(" ")));
    let servers = dns.nameservers.iter().map(IpAddr::to_string).collect();
    let parts = [part("nameserver", servers), domain, part("search", dns.search.clone())];
    let options = part("options", dns.options.clone());
    parts.into_iter().chain([options]).flatten().collect::<Vec<_>>().join("; ")
}
