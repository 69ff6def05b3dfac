//! CNI_ARGS, `K=V;K=V`: deprecated, and sent by every runtime.

use std::ffi::OsStr;
use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::Error;
use super::error::shorten;
use crate::names::MacAddress;

/// An address that somebody asked for, with the length of its link's prefix if they said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestedAddress {
    /// The address.
    pub address: IpAddr,
    /// In bits.
    pub length: Option<u8>,
}

impl RequestedAddress {
    /// With the length that was asked for, else that of the pool that holds the address, else 32 or 128.
    pub fn in_pools(&self, pools: &[IpNet]) -> IpNet {
        let pool = || pools.iter().find(|pool| pool.contains(&self.address)).map(IpNet::prefix_len);
        let whole = IpNet::from(self.address);
        self.length.or_else(pool).and_then(|length| IpNet::new(self.address, length).ok()).unwrap_or(whole)
    }
}

impl FromStr for RequestedAddress {
    type Err = ipnet::AddrParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(Self { address, length: None });
        }
        let prefix: IpNet = text.parse()?;
        Ok(Self { address: prefix.addr(), length: Some(prefix.prefix_len()) })
    }
}

/// How messages describe a [`RequestedAddress`].
pub(super) const WANTED_ADDRESS: &str = "an address such as 10.244.1.2 or 10.244.1.2/24";

/// How messages describe a [`MacAddress`].
pub(super) const WANTED_MAC: &str = "a unicast hardware address such as 0a:58:0a:f4:01:02";

/// What CNI_ARGS said. An empty value counts as none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Args {
    pub(super) ips: Vec<RequestedAddress>,
    pub(super) mac: Option<MacAddress>,
    pub(super) pod_namespace: String,
    pub(super) pod_name: String,
    pub(super) pod_uid: String,
}

impl Args {
    /// Reads the variable. A key that podwire does not know is an error, unless IgnoreUnknown says otherwise.
    pub(super) fn read(variable: Option<&OsStr>) -> Result<Self, Error> {
        let Some(variable) = variable else { return Ok(Self::default()) };
        let text = variable.to_str().ok_or_else(|| Error::environment("CNI_ARGS is not UTF-8"))?;
        let (mut args, mut unknown, mut ignore_unknown) = (Self::default(), None, false);
        for pair in text.split(';').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| no_pair(pair))?;
            match key {
                "IgnoreUnknown" => ignore_unknown = yes_or_no(key, value)?,
                _ if args.take(key, value)? => {}
                _ => unknown = unknown.or(Some(key)),
            }
        }
        match unknown {
            Some(key) if !ignore_unknown => Err(unknown_key(key)),
            _ => Ok(args),
        }
    }

    /// Takes one pair; false if podwire does not know its key.
    fn take(&mut self, key: &str, value: &str) -> Result<bool, Error> {
        match key {
            "IP" => self.ips = addresses(key, value)?,
            "MAC" => self.mac = mac(key, value)?,
            "K8S_POD_NAMESPACE" => value.clone_into(&mut self.pod_namespace),
            "K8S_POD_NAME" => value.clone_into(&mut self.pod_name),
            "K8S_POD_UID" => value.clone_into(&mut self.pod_uid),
            // The same as CNI_CONTAINERID.
            "K8S_POD_INFRA_CONTAINER_ID" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn addresses(key: &str, value: &str) -> Result<Vec<RequestedAddress>, Error> {
    let one = |part: &str| part.trim().parse().map_err(|_| wrong_value(key, value, WANTED_ADDRESS));
    value.split(',').filter(|part| !part.is_empty()).map(one).collect()
}

fn mac(key: &str, value: &str) -> Result<Option<MacAddress>, Error> {
    if value.is_empty() {
        return Ok(None);
    }
    let mac = value.parse().ok().filter(|mac: &MacAddress| mac.is_unicast());
    mac.map(Some).ok_or_else(|| wrong_value(key, value, WANTED_MAC))
}

fn yes_or_no(key: &str, value: &str) -> Result<bool, Error> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(wrong_value(key, value, "1, true, 0 or false")),
    }
}

fn wrong_value(key: &str, value: &str, wanted: impl Display) -> Error {
    Error::environment(format!("CNI_ARGS: {key}={} is not {wanted}", shorten(value, 100)))
}

fn no_pair(pair: &str) -> Error {
    Error::environment(format!("CNI_ARGS: {:?} is not of the form KEY=VALUE", shorten(pair, 100)))
}

fn unknown_key(key: &str) -> Error {
    Error::environment(format!("CNI_ARGS: unknown key {:?}", shorten(key, 100)))
        .with_details("add IgnoreUnknown=1 to CNI_ARGS to have unknown keys ignored")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cni::Code;

    fn read(text: &str) -> Result<Args, Error> {
        Args::read(Some(OsStr::new(text)))
    }

    #[test]
    fn what_runtimes_send_is_read() {
        let text = "IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;K8S_POD_NAME=db-0;K8S_POD_UID=;\
                    K8S_POD_INFRA_CONTAINER_ID=0123;FOO=a=b;IP=10.1.2.3,fd00::2/64;MAC=0a:58:00:00:00:01;";
        let args = read(text).expect("valid");
        assert_eq!((args.pod_namespace.as_str(), args.pod_name.as_str()), ("prod", "db-0"));
        assert_eq!(args.pod_uid, "");
        let addresses = ["10.1.2.3", "fd00::2/64"].map(|text| text.parse().expect("valid"));
        assert_eq!(args.ips, addresses);
        assert_eq!(args.mac, Some(MacAddress([0x0a, 0x58, 0, 0, 0, 1])));
        assert_eq!(read("IP=;MAC="), Ok(Args::default()));
        assert_eq!(Args::read(None), Ok(Args::default()));
    }

    #[test]
    fn unknown_keys_need_leave() {
        for text in ["FOO=1;IgnoreUnknown=1", "IgnoreUnknown=TRUE;FOO=1"] {
            assert!(read(text).is_ok(), "{text}");
        }
        for text in ["FOO=1", "FOO=1;BAR=2;IgnoreUnknown=0", "IgnoreUnknown=false;FOO=1"] {
            let error = read(text).expect_err(text);
            assert_eq!((error.code(), error.msg()), (Code(4), r#"CNI_ARGS: unknown key "FOO""#));
        }
    }

    #[test]
    fn wrong_values_are_named() {
        for (text, named) in [
            ("FOO", "\"FOO\""),
            ("IP=10.1.2.300", "IP=10.1.2.300"),
            ("IP=10.1.2.3/33", "IP=10.1.2.3/33"),
            ("MAC=0a:58", "MAC=0a:58"),
            ("MAC=01:00:5e:00:00:01", "unicast"),
            ("IgnoreUnknown=yes", "IgnoreUnknown=yes"),
        ] {
            let error = read(text).expect_err(text);
            assert_eq!(error.code(), Code::INVALID_ENVIRONMENT);
            assert!(error.msg().contains(named), "{error}");
        }
    }

    #[test]
    fn a_missing_length_is_the_pools() {
        let pools: Vec<IpNet> =
            ["10.1.0.0/16", "fd00::/64"].map(|text| text.parse().expect("valid")).to_vec();
        let prefix = |text: &str| {
            let requested: RequestedAddress = text.parse().expect("valid");
            requested.in_pools(&pools).to_string()
        };
        assert_eq!(prefix("10.1.2.3"), "10.1.2.3/16");
        assert_eq!(prefix("10.1.2.3/24"), "10.1.2.3/24");
        assert_eq!(prefix("10.9.2.3"), "10.9.2.3/32");
        assert_eq!(prefix("fd00::3"), "fd00::3/64");
        assert_eq!(prefix("fd01::3"), "fd01::3/128");
    }
}
