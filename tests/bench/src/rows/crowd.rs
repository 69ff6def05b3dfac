//! A node that is nearly full: as many leases and ports as a large node has.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use podwire::leases::{Intent, Store};
use podwire_tests::{Namespace, kernel};

use super::Scale;
use crate::lab::Lab;
use crate::spawner::Batch;
use crate::variant::{BRIDGE, Kind, Stack, Variant};

/// podwire on a full node, and the floor on one with as many ports.
pub(super) struct Crowd {
    pub(super) podwire: Variant,
    pub(super) floor: Variant,
    /// Where the other ends of podwire's ports are.
    pub(super) others: Namespace,
    pub(super) floor_others: Namespace,
}

impl Crowd {
    pub(super) fn new(lab: &mut Lab, scale: &Scale) -> Result<Self> {
        let podwire = lab.variant("podwire-full", Kind::Podwire, Stack::V4)?;
        let floor = lab.variant("floor-full", Kind::Floor, Stack::V4)?;
        fill(lab, &podwire, scale.leases)?;
        let others = plug(lab, &podwire, scale.ports)?;
        let floor_others = plug(lab, &floor, scale.ports)?;
        Ok(Self { podwire, floor, others, floor_others })
    }
}

/// Puts attachments on record, all like one that podwire made.
fn fill(lab: &mut Lab, variant: &Variant, count: usize) -> Result<()> {
    let like = lab.pod_apart("like-all-others");
    let report = Batch { calls: vec![variant.add(&like)], at_once: 1 }.run()?;
    variant.addresses(&report.calls[0]).map_err(anyhow::Error::msg)?;
    let store = Store::open(&variant.state().leases_dir())?;
    let mut transaction = store.transaction()?;
    let like = transaction.attachments()?.next().context("an attachment is on record")??.intent;
    for number in 0..count {
        transaction.reserve(another(&like, number)?)?;
    }
    transaction.commit()?;
    ensure!(variant.on_record()? == Some(count + 1), "the leases are not on record");
    Ok(())
}

/// As if it had been made for the pod that came this long after.
fn another(like: &Intent, number: usize) -> Result<Intent> {
    let mut intent = like.clone();
    intent.attachment.container_id = format!("held-{number}").parse()?;
    intent.plan.host_interface = format!("held{number}").parse()?;
    let address = &mut intent.plan.addresses.first_mut().context("the pod has an address")?.prefix;
    let IpAddr::V4(first) = address.addr() else { anyhow::bail!("{address} is not of IPv4") };
    let next = Ipv4Addr::from_bits(first.to_bits() + 1 + u32::try_from(number)?);
    *address = ipnet::IpNet::new(next.into(), address.prefix_len())?;
    Ok(intent)
}

/// Gives the bridge ports, each with its other end up in a namespace that is returned. None of them has an IPv6
/// link-local address: theirs would be what is measured.
fn plug(lab: &Lab, variant: &Variant, count: usize) -> Result<Namespace> {
    let name = format!("others-of-{:?}", variant.kind);
    let others = lab.pod_apart(&name).namespace;
    let add = |i| format!("link add port{i} master {BRIDGE} up type veth peer name other{i} netns {name}\n");
    let up = |i| format!("link set other{i} up\n");
    others.run(|| give_link_local_addresses(false))?;
    variant.host.run(|| -> Result<()> {
        give_link_local_addresses(false)?;
        batch((0..count).map(add).collect())?;
        give_link_local_addresses(true)
    })?;
    others.run(|| batch((0..count).map(up).collect()))?;
    Ok(others)
}

/// To interfaces that are made from now on.
fn give_link_local_addresses(yes: bool) -> Result<()> {
    let path = "/proc/sys/net/ipv6/conf/default/addr_gen_mode";
    let mut file = File::options().write(true).open(path).context(path)?;
    file.write_all(if yes { b"0" } else { b"1" }).context(path)
}

fn batch(commands: String) -> Result<()> {
    let path = "/run/ip-batch";
    File::create(path)?.write_all(commands.as_bytes())?;
    kernel::ip(&format!("-batch {path}"));
    Ok(())
}
