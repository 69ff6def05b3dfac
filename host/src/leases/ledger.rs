//! The database's rules in memory, for trials: nothing on disk, no lock, and a clock that stands still, so that an
//! address that rests never is free again. The tests hold it against the database itself.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use ipnet::IpNet;

use super::keys::Range;
use super::{Error, Holder, Intent, Sequence, Steps, View};
use crate::names::{AttachmentId, InterfaceName};
use crate::plan::{AddRequest, Checked};

/// Leases of one trial. Clones are the same ledger, as two connections are of one database.
#[derive(Clone, Default)]
pub struct Ledger(Rc<RefCell<Rows>>);

#[derive(Default)]
struct Rows {
    addresses: BTreeMap<IpAddr, Row>,
    interfaces: BTreeMap<InterfaceName, AttachmentId>,
    attachments: BTreeMap<AttachmentId, Checked>,
    last: BTreeMap<IpNet, IpAddr>,
    /// Blocks whose last address the policy wanted to know, and will want to know again.
    asked: Vec<IpNet>,
}

/// What an address is.
enum Row {
    Held(Holder),
    Resting(Holder),
    /// For so many attachments.
    Gateway(u64),
}

impl Ledger {
    /// Nobody holds anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says of an address that somebody has it, without a plan: not to be released.
    pub fn hold(&self, address: IpAddr, holder: Holder) {
        self.0.borrow_mut().addresses.insert(address, Row::Held(holder));
    }

    /// What [`super::Transaction::reserve`] does for such a request and its plan.
    pub fn reserve(&self, request: &AddRequest, plan: &Checked) -> Result<(), Error> {
        let mut rows = self.0.borrow_mut();
        rows.refuse_if_taken(&request.attachment, plan)?;
        rows.record(request, plan);
        Ok(())
    }

    /// Takes the attachment off the record, and gives its addresses: they are free at once, or rest.
    pub fn release(&self, id: &AttachmentId, rests: bool) -> Vec<IpAddr> {
        let mut rows = self.0.borrow_mut();
        let Some(plan) = rows.attachments.remove(id) else { return Vec::new() };
        rows.interfaces.remove(&plan.host_interface);
        let addresses: Vec<IpAddr> = plan.addresses.iter().map(|address| address.prefix.addr()).collect();
        for address in &addresses {
            rows.give_back(*address, rests);
        }
        for gateway in Intent::gateways_of(&plan) {
            match rows.addresses.get_mut(&gateway) {
                Some(Row::Gateway(count)) if *count > 1 => *count -= 1,
                _ => _ = rows.addresses.remove(&gateway),
            }
        }
        addresses
    }

    /// Of the attachments on record.
    pub fn plan_of(&self, id: &AttachmentId) -> Option<Checked> {
        self.0.borrow().attachments.get(id).cloned()
    }
}

impl Rows {
    fn refuse_if_taken(&self, id: &AttachmentId, plan: &Checked) -> Result<(), Error> {
        if self.attachments.contains_key(id) {
            return Err(Error::Exists { attachment: id.clone(), sequence: Sequence(1) });
        }
        if let Some(attachment) = self.interfaces.get(&plan.host_interface) {
            let (name, attachment) = (plan.host_interface.clone(), attachment.clone());
            return Err(Error::InterfaceTaken { name, attachment });
        }
        let gateways = Intent::gateways_of(plan);
        let addresses = || plan.addresses.iter().map(|address| address.prefix.addr());
        for (i, address) in addresses().enumerate() {
            if gateways.contains(&address) {
                return Err(Error::AddressIsGateway { address });
            }
            if addresses().take(i).any(|other| other == address) {
                return Err(Error::AddressTwice { address });
            }
            self.refuse_if_leased(address)?;
        }
        gateways.into_iter().try_for_each(|gateway| match self.addresses.get(&gateway) {
            None | Some(Row::Gateway(_)) => Ok(()),
            Some(Row::Held(holder) | Row::Resting(holder)) => {
                Err(Error::GatewayHeld { gateway, holder: Box::new(holder.clone()) })
            }
        })
    }

    fn refuse_if_leased(&self, address: IpAddr) -> Result<(), Error> {
        match self.addresses.get(&address) {
            None => Ok(()),
            Some(Row::Gateway(_)) => Err(Error::AddressIsGateway { address }),
            Some(Row::Held(holder)) => Err(Error::AddressHeld { address, holder: Box::new(holder.clone()) }),
            Some(Row::Resting(holder)) => {
                let holder = Box::new(holder.clone());
                Err(Error::AddressRests { address, holder, seconds: crate::plan::limits::REST.into() })
            }
        }
    }

    fn record(&mut self, request: &AddRequest, plan: &Checked) {
        let asked = std::mem::take(&mut self.asked);
        let pod = request.pod.as_ref().map(|pod| format!("{}/{}", pod.namespace, pod.name));
        let (network, attachment) = (request.network.clone(), request.attachment.clone());
        let holder = Holder { network, attachment, pod };
        for address in plan.addresses.iter().map(|address| address.prefix.addr()) {
            self.addresses.insert(address, Row::Held(holder.clone()));
            let blocks = request.node.pools.iter().chain(&asked).filter(|block| block.contains(&address));
            self.last.extend(blocks.map(|block| (block.trunc(), address)));
        }
        for gateway in Intent::gateways_of(plan) {
            match self.addresses.entry(gateway).or_insert(Row::Gateway(0)) {
                Row::Gateway(count) => *count += 1,
                Row::Held(_) | Row::Resting(_) => {}
            }
        }
        self.interfaces.insert(plan.host_interface.clone(), holder.attachment.clone());
        self.attachments.insert(holder.attachment, plan.clone());
    }

    fn give_back(&mut self, address: IpAddr, rests: bool) {
        match self.addresses.remove(&address) {
            Some(Row::Held(holder)) if rests => _ = self.addresses.insert(address, Row::Resting(holder)),
            _ => {}
        }
    }

    /// The first free position from one to another, both included.
    fn gap(&self, range: &Range, first: u128, last: u128, steps: &mut Steps) -> Result<Option<u128>, Error> {
        let mut candidate = first;
        for (address, _) in self.addresses.range(range.at(first)..=range.at(last)) {
            steps.take()?;
            let Some(position) = range.position(*address) else { continue };
            if position > candidate {
                return Ok(Some(candidate));
            }
            if position == last {
                return Ok(None);
            }
            candidate = position + 1;
        }
        Ok(Some(candidate))
    }
}

impl View for Ledger {
    fn holder_of(&self, address: IpAddr, steps: &mut Steps) -> Result<Option<Holder>, Error> {
        steps.take()?;
        Ok(match self.0.borrow().addresses.get(&address) {
            Some(Row::Held(holder) | Row::Resting(holder)) => Some(holder.clone()),
            Some(Row::Gateway(_)) | None => None,
        })
    }

    fn first_free(
        &self,
        block: IpNet,
        start: Option<IpAddr>,
        steps: &mut Steps,
    ) -> Result<Option<IpAddr>, Error> {
        let rows = self.0.borrow();
        Range::usable(block).first_free(start, |range, first, last| rows.gap(range, first, last, steps))
    }

    fn last_taken(&self, block: IpNet, steps: &mut Steps) -> Result<Option<IpAddr>, Error> {
        steps.take()?;
        let mut rows: RefMut<'_, Rows> = self.0.borrow_mut();
        if rows.asked.len() < super::transaction::REMEMBERED_AT_ONCE && !rows.asked.contains(&block) {
            rows.asked.push(block);
        }
        Ok(rows.last.get(&block.trunc()).copied())
    }

    fn taken(&self, block: IpNet, steps: &mut Steps) -> Result<u64, Error> {
        let rows = self.0.borrow();
        let range = Range::whole(block);
        let (first, last) = range.numbers.clone().into_inner();
        let mut taken = 0;
        for row in rows.addresses.range(range.at(first)..=range.at(last)).map(|(_, row)| row) {
            steps.take()?;
            taken += u64::from(!matches!(row, Row::Gateway(_)));
        }
        Ok(taken)
    }
}
