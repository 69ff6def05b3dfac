//! The capabilities `portMappings` and `bandwidth` of CNI's conventions.

use std::net::IpAddr;

use super::Error;
use super::json::{Object, Value};
use crate::plan::{Bandwidth, PortMapping, Protocol, Rate, limits};

/// The least rate: the kernel counts bytes.
const MIN_RATE: u64 = 8;
/// The largest bucket in bits: the kernel counts its bytes in 32 bits.
const MAX_BURST: u64 = (u32::MAX as u64) * 8;

/// `portMappings`. One with port 0 on the node asks for nothing: runtimes hand over all of a pod's ports.
pub(super) fn port_mappings(capabilities: &Object<'_>) -> Result<Vec<PortMapping>, Error> {
    let mappings: Vec<_> = capabilities.each("portMappings", port_mapping)?.into_iter().flatten().collect();
    match capabilities.get("portMappings").filter(|_| mappings.len() > limits::PORT_MAPPINGS) {
        Some(list) => Err(list.invalid(&format!("maps more than {} ports", limits::PORT_MAPPINGS))),
        None => Ok(mappings),
    }
}

fn port_mapping(value: &Value<'_>) -> Result<Option<PortMapping>, Error> {
    let mapping = value.object()?.uncapitalised();
    let port = |key: &str| -> Result<u16, Error> {
        mapping.get(key).map_or(Ok(0), |port| port.read("a port, 0 to 65535"))
    };
    let (host_port, container_port) = (port("hostPort")?, port("containerPort")?);
    if host_port == 0 {
        return Ok(None);
    }
    if container_port == 0 {
        return Err(value.invalid("has no containerPort to which the node's port could lead"));
    }
    let host_ip = mapping.get("hostIP").filter(|address| !address.is_empty());
    let host_ip: Option<IpAddr> = host_ip.map(|ip| ip.parse("an address such as 192.0.2.1")).transpose()?;
    Ok(Some(PortMapping { protocol: protocol(&mapping)?, host_ip, host_port, container_port }))
}

fn protocol(mapping: &Object<'_>) -> Result<Protocol, Error> {
    let Some(value) = mapping.get("protocol").filter(|value| !value.is_empty()) else {
        return Ok(Protocol::Tcp);
    };
    let wanted = "tcp, udp or sctp";
    let name: String = value.read(wanted)?;
    match name.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Ok(Protocol::Sctp),
        _ => Err(value.invalid(&format!("is not {wanted}"))),
    }
}

/// `bandwidth`; none if it limits nothing.
pub(super) fn bandwidth(capabilities: &Object<'_>) -> Result<Option<Bandwidth>, Error> {
    let Some(value) = capabilities.get("bandwidth") else { return Ok(None) };
    let limits = value.object()?.uncapitalised();
    let bandwidth = Bandwidth {
        ingress: rate(&value, &limits, "ingressRate", "ingressBurst")?,
        egress: rate(&value, &limits, "egressRate", "egressBurst")?,
    };
    Ok(Some(bandwidth).filter(|bandwidth| *bandwidth != Bandwidth::default()))
}

fn rate(
    value: &Value<'_>,
    limits: &Object<'_>,
    rate_key: &str,
    burst_key: &str,
) -> Result<Option<Rate>, Error> {
    let number = |key: &str| -> Result<u64, Error> {
        limits.get(key).map_or(Ok(0), |number| number.read("a number of bits"))
    };
    match (number(rate_key)?, number(burst_key)?) {
        (0, 0) => Ok(None),
        (0, _) => Err(value.invalid(&format!("has {burst_key}, but no {rate_key}: name both or none"))),
        (_, 0) => Err(value.invalid(&format!("has {rate_key}, but no {burst_key}: name both or none"))),
        (_, burst) if burst > MAX_BURST => {
            Err(value.invalid(&format!("has a {burst_key} of more than {MAX_BURST} bits (4 GiB)")))
        }
        (rate, _) if rate < MIN_RATE => {
            Err(value.invalid(&format!("has a {rate_key} of less than {MIN_RATE} bits a second")))
        }
        (rate, burst) => Ok(Some(Rate { rate, burst })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cni::Code;

    fn object(text: &str) -> Object<'_> {
        Object::outermost(text).expect("JSON")
    }

    #[test]
    fn what_runtimes_send_is_read() {
        let text = r#"{"portMappings": [
            {"hostPort": 8080, "containerPort": 80, "protocol": "TCP"},
            {"hostPort": 53, "containerPort": 5353, "protocol": "udp", "hostIP": "192.0.2.1"},
            {"HostPort": 81, "ContainerPort": 81, "Protocol": "sctp", "HostIP": ""},
            {"hostPort": 0, "containerPort": 9}, {"hostPort": 9, "containerPort": 9, "hostIP": "", "protocol": ""}],
            "bandwidth": {"ingressRate": 1000000, "ingressBurst": 8000, "egressRate": 0, "egressBurst": 0}}"#;
        let mappings = port_mappings(&object(text)).expect("valid");
        let shown: Vec<String> = mappings
            .iter()
            .map(|m| format!("{:?} {:?} {} {}", m.protocol, m.host_ip, m.host_port, m.container_port))
            .collect();
        assert_eq!(
            shown,
            ["Tcp None 8080 80", "Udp Some(192.0.2.1) 53 5353", "Sctp None 81 81", "Tcp None 9 9"]
        );
        let bandwidth = bandwidth(&object(text)).expect("valid").expect("given");
        assert_eq!(
            (bandwidth.ingress, bandwidth.egress),
            (Some(Rate { rate: 1_000_000, burst: 8_000 }), None)
        );
    }

    #[test]
    fn values_that_say_nothing_ask_for_nothing() {
        let text = r#"{"portMappings": null, "bandwidth": {"ingressRate": 0, "ingressBurst": 0}}"#;
        assert_eq!(port_mappings(&object(text)), Ok(Vec::new()));
        assert_eq!(bandwidth(&object(text)), Ok(None));
        assert_eq!(bandwidth(&object("{}")), Ok(None));
    }

    #[test]
    fn there_is_an_end_to_ports() {
        let text = |ports: usize| {
            let one = |i| format!(r#"{{"hostPort": {}, "containerPort": 80}}"#, i + 1);
            format!(r#"{{"portMappings": [{}]}}"#, (0..ports).map(one).collect::<Vec<_>>().join(", "))
        };
        let most = text(limits::PORT_MAPPINGS);
        assert_eq!(port_mappings(&object(&most)).map(|all| all.len()), Ok(limits::PORT_MAPPINGS));
        let error = port_mappings(&object(&text(limits::PORT_MAPPINGS + 1))).expect_err("too many");
        assert!(error.msg().ends_with("maps more than 256 ports"), "{error}");
    }

    #[test]
    fn wrong_values_name_their_place() {
        let mapping = |text: &str| port_mappings(&object(text)).expect_err(text);
        let limit = |text: &str| bandwidth(&object(text)).expect_err(text);
        for (error, expected) in [
            (
                mapping(r#"{"portMappings": [{"hostPort": 70000}]}"#),
                "portMappings[0].hostPort 70000 is not a port",
            ),
            (
                mapping(r#"{"portMappings": [{"hostPort": 80}]}"#),
                "portMappings[0] {\"hostPort\": 80} has no containerPort",
            ),
            (
                mapping(r#"{"portMappings": [{"hostPort": 8, "containerPort": 8, "protocol": "icmp"}]}"#),
                "portMappings[0].protocol \"icmp\" is not tcp, udp or sctp",
            ),
            (
                mapping(r#"{"portMappings": [{"hostPort": 8, "containerPort": 8, "hostIP": "node"}]}"#),
                "portMappings[0].hostIP \"node\" is not an address",
            ),
            (
                limit(r#"{"bandwidth": {"egressRate": 8}}"#),
                "bandwidth {\"egressRate\": 8} has egressRate, but no",
            ),
            (
                limit(r#"{"bandwidth": {"egressBurst": 8}}"#),
                "bandwidth {\"egressBurst\": 8} has egressBurst, but",
            ),
            (
                limit(r#"{"bandwidth": {"ingressRate": 8, "ingressBurst": 40000000000}}"#),
                "bandwidth {\"ingressRate\": 8, \"ingressBurst\": 40000000000} has a ingressBurst of more",
            ),
            (
                limit(r#"{"bandwidth": {"egressRate": 7, "egressBurst": 8}}"#),
                "bandwidth {\"egressRate\": 7, \"egressBurst\": 8} has a egressRate of less than 8",
            ),
            (limit(r#"{"bandwidth": {"egressRate": -1}}"#), "bandwidth.egressRate -1 is not a number"),
        ] {
            assert_eq!(error.code(), Code::INVALID_CONFIG);
            assert!(error.msg().starts_with(expected), "{error}");
        }
    }
}
