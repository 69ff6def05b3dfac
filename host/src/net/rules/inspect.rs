//! Compares the tables with what was made of a plan, for CHECK.

use super::super::Error;
use super::super::inspect::Difference;
use super::super::netfilter::GENERIC_HEADER;
use super::super::socket::Socket;
use super::table::{Chain, Definition, Element, Family, FoundRule, found_rule};
use super::{Part, TABLE, Wanted, find, loopback, mapping, parts, wanted};
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
    differences.extend(loopback::inspect(plan));
    Ok(differences)
}

/// Chains to whose rules somebody has added, from which somebody has taken, or where another stands in one's place.
fn rules(socket: &mut Socket, definition: &Definition) -> Result<Vec<Difference>, Error> {
    let rule = |body: &[u8]| Ok(found_rule(body.get(GENERIC_HEADER..).unwrap_or_default()));
    let found = socket.dump(&definition.family.list_rules(), "nftables rules", rule)?;
    let differing = definition.chains.iter().filter_map(|chain| {
        let of_chain: Vec<&FoundRule> = found.iter().filter(|rule| rule.chain == chain.name).collect();
        rules_difference(definition.family, chain, &of_chain)
    });
    Ok(differing.collect())
}

fn rules_difference(family: Family, chain: &Chain, found: &[&FoundRule]) -> Option<Difference> {
    let what = format!("rules of the nftables chain {} {TABLE} {}", family.name(), chain.name);
    if found.len() != chain.rules.len() {
        let (expected, found) = (chain.rules.len().to_string(), found.len().to_string());
        return Some(Difference { what, expected, found });
    }
    let mut pairs = chain.rules.iter().zip(found);
    let other = pairs.position(|(rule, found)| rule.user_data() != found.user_data)?;
    let found = format!("another as number {}", other + 1);
    Some(Difference { what, expected: "podwire's own".to_owned(), found })
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
