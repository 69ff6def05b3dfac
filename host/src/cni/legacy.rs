//! Results of versions before 0.3.0: `ip4` and `ip6`, one address of each family, with the routes of that family.
//! Nothing is said of interfaces.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::result::{AddResult, Ip, Route};
use super::{Code, Error, PrevResult, Version, json};
use crate::plan::Checked;

/// An error if a result of that version cannot say what the plan gives beside what is there already.
pub fn sayable(version: Version, plan: &Checked, previous: Option<&PrevResult>) -> Result<(), Error> {
    if version.has_interfaces() {
        return Ok(());
    }
    let earlier = previous.iter().flat_map(|previous| &previous.ips).map(|ip| ip.address);
    let all: Vec<IpNet> = plan.addresses.iter().map(|address| address.prefix).chain(earlier).collect();
    let (four, six): (Vec<IpNet>, Vec<IpNet>) = all.iter().partition(|prefix| prefix.addr().is_ipv4());
    if four.len() <= 1 && six.len() <= 1 {
        return Ok(());
    }
    let all = all.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ");
    let msg = format!("a result of version {} holds one address of a family, not {all}", version.as_str());
    Err(Error::new(Code::INCOMPATIBLE_VERSION, msg).with_details("set cniVersion to 0.3.0 or later"))
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "cniVersion")]
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip4: Option<Family<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip6: Option<Family<'a>>,
    dns: Value,
}

#[derive(Serialize)]
struct Family<'a> {
    ip: IpNet,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<Hop<'a>>,
}

#[derive(Serialize)]
struct Hop<'a> {
    dst: &'a IpNet,
    #[serde(skip_serializing_if = "Option::is_none")]
    gw: Option<IpAddr>,
}

/// The result in that form, after what a previous one says.
pub(super) fn print(result: &AddResult, version: Version, previous: Option<&PrevResult>) -> String {
    let ips: Vec<&Ip> = previous.iter().flat_map(|previous| &previous.ips).chain(&result.ips).collect();
    let routes = previous.iter().flat_map(|previous| &previous.routes).chain(&result.routes);
    let routes: Vec<&Route> = routes.collect();
    let earlier = previous.and_then(|previous| previous.raw.rest.get("dns")).filter(|dns| !dns.is_null());
    let ours = || json!(result.dns.clone().unwrap_or_default());
    json::print(&Document {
        version: version.as_str(),
        ip4: family(&ips, &routes, true),
        ip6: family(&ips, &routes, false),
        dns: earlier.filter(|_| result.dns.is_none()).cloned().unwrap_or_else(ours),
    })
}

fn family<'a>(ips: &[&Ip], routes: &[&'a Route], ipv4: bool) -> Option<Family<'a>> {
    let ip = ips.iter().find(|ip| ip.address.addr().is_ipv4() == ipv4)?;
    let of_family = routes.iter().filter(|route| route.dst.addr().is_ipv4() == ipv4);
    let routes = of_family.map(|route| Hop { dst: &route.dst, gw: route.gw }).collect();
    Some(Family { ip: ip.address, gateway: ip.gateway, routes })
}

/// Says a result of such a version in the terms of later ones.
pub(super) fn modernise(result: &mut Map<String, Value>) {
    for (key, version) in [("ip4", "4"), ("ip6", "6")] {
        let Some(Value::Object(mut family)) = result.remove(key) else { continue };
        let routes = family.remove("routes");
        let mut ip = Map::from_iter([("version".to_owned(), Value::from(version))]);
        for (old, new) in [("ip", "address"), ("gateway", "gateway")] {
            ip.extend(family.remove(old).map(|value| (new.to_owned(), value)));
        }
        push(result, "ips", [Value::Object(ip)]);
        push(result, "routes", routes.as_ref().and_then(Value::as_array).cloned().unwrap_or_default());
    }
}

fn push(result: &mut Map<String, Value>, key: &str, more: impl IntoIterator<Item = Value>) {
    if let Value::Array(list) = result.entry(key).or_insert_with(|| json!([])) {
        list.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cni::json::Object;
    use crate::cni::result::tests::{bridged, plan, result};

    fn read(text: &str) -> Value {
        serde_json::from_str(text).expect("JSON")
    }

    fn previous(value: &Value, version: Version) -> PrevResult {
        let text = json!({ "prevResult": value }).to_string();
        let object = Object::outermost(&text).expect("JSON");
        PrevResult::read(&object, version).expect("valid").expect("given")
    }

    fn expected() -> Value {
        json!({
            "cniVersion": "0.2.0",
            "ip4": {"ip": "10.244.1.2/24", "gateway": "10.244.1.1", "routes": [{"dst": "0.0.0.0/0", "gw": "10.244.1.1"}]},
            "ip6": {"ip": "fd00:1::2/64", "gateway": "fd00:1::1", "routes": [{"dst": "fd00::/16"}]},
            "dns": {}
        })
    }

    #[test]
    fn one_address_of_each_family_is_told_with_its_routes() {
        let printed = result(&plan(bridged())).to_json(Version::V0_2_0, None);
        assert_eq!(read(&printed), expected());
    }

    #[test]
    fn a_previous_result_comes_through_in_either_direction() {
        let old = previous(&expected(), Version::V0_2_0);
        assert_eq!(read(&AddResult::default().to_json(Version::V0_2_0, Some(&old))), expected());
        let new = read(
            &AddResult::default().to_json(Version::V0_4_0, Some(&previous(&expected(), Version::V0_4_0))),
        );
        let ips = json!([{"version": "4", "address": "10.244.1.2/24", "gateway": "10.244.1.1"},
                         {"version": "6", "address": "fd00:1::2/64", "gateway": "fd00:1::1"}]);
        assert_eq!((&new["ips"], new["routes"].as_array().map(Vec::len)), (&ips, Some(2)));
    }

    #[test]
    fn what_does_not_fit_is_refused_before_anything_is_done() {
        let mut two = plan(bridged());
        assert_eq!(sayable(Version::V0_2_0, &two, None), Ok(()));
        let twice = sayable(Version::V0_2_0, &two, Some(&previous(&expected(), Version::V0_2_0)));
        assert_eq!(twice.expect_err("two of a family").code(), Code::INCOMPATIBLE_VERSION);
        two.addresses.push(two.addresses[0].clone());
        assert!(sayable(Version::V0_2_0, &two, None).is_err());
        assert_eq!(sayable(Version::V0_3_0, &two, None), Ok(()));
    }
}
