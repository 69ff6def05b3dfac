//! A container's interface that another plugin made, and that podwire took over: it is taken away, and looked at, in the
//! container alone. What that plugin did on the node is not known.

use crate::names::InterfaceName;
use crate::plan::Checked;

use super::link::{self, Link};
use super::namespace::Namespace;
use super::socket::Socket;
use super::{Difference, Error, address};

/// Takes the interface away, and with it the veth's other end. That it is gone already is success; one that is no veth
/// stays.
pub fn take_away(pod: &Namespace, interface: &InterfaceName) -> Result<(), Error> {
    pod.run(|| {
        let mut socket = Socket::route()?;
        match link::find(&mut socket, interface)?.filter(Link::is_veth) {
            Some(found) => socket.apply(&[link::delete(found.interface())]),
            None => Ok(()),
        }
    })?
}

/// What of the interface and its addresses is not there.
pub fn inspect_imported(pod: &Namespace, plan: &Checked) -> Result<Vec<Difference>, Error> {
    let missing =
        |what: String| Difference { what, expected: "present".to_owned(), found: "none".to_owned() };
    pod.run(|| {
        let mut socket = Socket::route()?;
        let name = &plan.container_interface;
        let Some(link) = link::find(&mut socket, name)? else {
            return Ok(vec![missing(format!("interface {name} in the container"))]);
        };
        let found = address::of(&mut socket, link.index)?;
        let planned = plan.addresses.iter().map(|address| address.prefix.addr());
        let gone = planned.filter(|own| found.iter().all(|found| found.prefix.addr() != *own));
        Ok(gone.map(|own| missing(format!("address {own} of {name} in the container"))).collect())
    })?
}
