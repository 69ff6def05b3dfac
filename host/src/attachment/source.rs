//! Where an ADD's addresses come from, once that is known: ranges of the network configuration, or what another
//! plugin lent. A policy chooses in either case.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use ipnet::IpNet;

use crate::cni::{self, Code, Error, Ipam, PrevResult, Ranges};
use crate::plan::{AddressRange, Dns, Route};

/// A file longer than this is no resolv.conf(5).
const MAX_RESOLVER_FILE: u64 = 64 * 1024;

/// What `ipam` came to.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// None: as the node is configured.
    pub(super) pools: Option<Vec<IpNet>>,
    /// One address of each; none: from the pools.
    pub(super) range_sets: Option<Vec<Vec<AddressRange>>>,
    pub(super) routes: Vec<Route>,
    pub(super) dns: Option<Dns>,
}

impl Source {
    /// Of podwire's own ranges, or of the node's pools. Of another plugin's addresses nothing is known yet.
    pub(super) fn read(ipam: &Ipam) -> Result<Self, Error> {
        let (ranges, beside) = match ipam {
            Ipam::Pools(beside) => (None, beside),
            Ipam::Ranges(ranges) => (Some(ranges), &ranges.beside),
            Ipam::Delegate(_) => return Ok(Self::default()),
        };
        Ok(Self {
            pools: ranges.map(Ranges::pools).filter(|pools| !pools.is_empty()),
            range_sets: ranges.map(|ranges| ranges.sets.clone()),
            routes: beside.routes.clone(),
            dns: beside.resolv_conf.as_deref().map(resolver).transpose()?,
        })
    }

    /// Exactly what another plugin gave: each of its addresses is a range of one.
    pub(super) fn lent(plugin: &str, result: &PrevResult) -> Result<Self, Error> {
        if result.ips.is_empty() {
            let msg = format!("ipam plugin {plugin}: it gave no address");
            return Err(Error::new(Code::DELEGATE_FAILED, msg));
        }
        let one = |ip: &cni::Ip| {
            let (subnet, address) = (ip.address.trunc(), ip.address.addr());
            vec![AddressRange { subnet, first: address, last: address, gateway: ip.gateway }]
        };
        let route = |route: &cni::Route| Route {
            mtu: route.mtu,
            metric: route.priority,
            advmss: route.advmss,
            table: route.table,
            scope: route.scope.and_then(|scope| u8::try_from(scope).ok()),
            ..Route::to(route.dst, route.gw)
        };
        Ok(Self {
            pools: Some(result.ips.iter().map(|ip| ip.address.trunc()).collect()),
            range_sets: Some(result.ips.iter().map(one).collect()),
            routes: result.routes.iter().map(route).collect(),
            dns: result.dns(),
        })
    }
}

fn resolver(path: &Path) -> Result<Dns, Error> {
    let unusable = |why: &str| {
        let msg = format!("ipam.resolvConf: {} {why}", path.display());
        Error::new(Code::INVALID_CONFIG, msg)
    };
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| unusable(&format!("cannot be read: {error}")))?;
    let read = file.take(MAX_RESOLVER_FILE + 1).read_to_end(&mut text);
    read.map_err(|error| unusable(&format!("cannot be read: {error}")))?;
    if text.len() as u64 > MAX_RESOLVER_FILE {
        return Err(unusable(&format!("is longer than {MAX_RESOLVER_FILE} bytes")));
    }
    Ok(cni::resolver(&String::from_utf8_lossy(&text)))
}
