//! Compares the tables with what was made of a plan, for CHECK.

use super::super::Error;
use super::super::inspect::Difference;
use super::super::netfilter::GENERIC_HEADER;
use super::super::socket::Socket;
use super::table::{Chain, Definition, Element, Family, chain_of};
use super::{Part, TABLE, Wanted, find, mapping, parts, wanted};
use crate::plan::Checked;

/// How the node differs from what [`super::apply`] made of a plan; empty if it does not.
pub fn inspect(plan: &Checked) -> Result<Vec<Difference>, Error> {
    let wanted = wanted(plan);
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut socket = Socket::netfilter()?;
    let mut differences = Vec::new();
    for definition in parts(&wanted).map(Part::definition) {
        differences.extend(rules(&mut socket, &definition)?);
    }
    for Wanted { element, .. } in &wanted {
        let found = find(&mut socket, element)?;
        differences.extend(difference(element, found));
    }
    socket.close_unattended();
    Ok(differences)
}

/// Chains to whose rules somebody has added, or from which somebody has taken.
fn rules(socket: &mut Socket, definition: &Definition) -> Result<Vec<Difference>, Error> {
    let chain = |body: &[u8]| Ok(chain_of(body.get(GENERIC_HEADER..).unwrap_or_default()));
    let found = socket.dump(&definition.family.list_rules(), "nftables rules", chain)?;
    let count = |chain: &Chain| found.iter().filter(|name| **name == chain.name).count();
    let differing = definition.chains.iter().filter(|chain| count(chain) != chain.rules.len());
    Ok(differing.map(|chain| rules_difference(definition.family, chain, count(chain))).collect())
}

fn rules_difference(family: Family, chain: &Chain, found: usize) -> Difference {
    let what = format!("rules of the nftables chain {} {TABLE} {}", family.name(), chain.name);
    Difference { what, expected: chain.rules.len().to_string(), found: found.to_string() }
}

fn difference(element: &Element, found: Option<Option<Vec<u8>>>) -> Option<Difference> {
    let pod = |data: &[u8]| mapping::pod(data).map_or("something else".to_owned(), |pod| pod.to_string());
    let (expected, found) = match (&element.data, found) {
        (_, None) => ("present".to_owned(), "none".to_owned()),
        (Some(planned), Some(Some(found))) if planned.bytes() != found => (pod(planned.bytes()), pod(&found)),
        _ => return None,
    };
    Some(Difference {
        what: format!("{} in the nftables set {}", element.name, element.set.path()),
        expected,
        found,
    })
}
