//! The policy's process: it enters the jail before anything of the policy runs, and answers until podwire ends.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use ipnet::IpNet;
use wasmtime::component::Component;

use super::super::fault::Fault;
use super::super::here::Here;
use super::jail;
use super::wire::{Ask, Fact, Heard, LeaseQuestion, Wire};
use crate::leases::{Error, Holder, Steps, View};

/// Ends with the wire, or with an error: there is nobody left to tell.
pub(super) fn serve(code: &Component, stream: UnixStream) -> io::Result<()> {
    let jailed = jail::enter(stream.as_fd());
    let wire = Rc::new(RefCell::new(Wire::to_podwire(stream)));
    let started = jailed
        .map_err(|error| Fault::NoProcess(format!("it could not be locked up: {error}")))
        .and_then(|()| Here::start(code))
        .and_then(Here::checked);
    match started {
        Err(fault) => wire.borrow_mut().send(&Ask::Started(Err(fault))),
        Ok(mut here) => {
            wire.borrow_mut().send(&Ask::Started(Ok(())))?;
            loop {
                answer(&mut here, &wire)?;
            }
        }
    }
}

fn answer(here: &mut Here, wire: &Rc<RefCell<Wire>>) -> io::Result<()> {
    let Heard::Question(question) = wire.borrow_mut().receive()? else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let answer = here.ask(&question, Some(Rc::new(Remote(wire.clone()))));
    wire.borrow_mut().send(&Ask::Answer { answer, notes: here.notes().to_vec(), spent: here.spent() })
}

/// The leases, which podwire has.
struct Remote(Rc<RefCell<Wire>>);

impl Remote {
    /// If podwire cannot answer, it hangs up, and so ends this process.
    fn ask(&self, question: LeaseQuestion) -> Result<Fact, Error> {
        let mut wire = self.0.borrow_mut();
        let heard = wire.send(&Ask::Leases(question)).and_then(|()| wire.receive());
        match heard {
            Ok(Heard::Leases(fact)) => Ok(fact),
            _ => Err(Error::TooManySteps),
        }
    }

    fn address(&self, question: LeaseQuestion) -> Result<Option<IpAddr>, Error> {
        match self.ask(question)? {
            Fact::Address(address) => Ok(address),
            _ => Err(Error::TooManySteps),
        }
    }
}

impl View for Remote {
    fn holder_of(&self, address: IpAddr, _: &mut Steps) -> Result<Option<Holder>, Error> {
        match self.ask(LeaseQuestion::HolderOf(address))? {
            Fact::Holder(holder) => Ok(holder),
            _ => Err(Error::TooManySteps),
        }
    }

    fn first_free(
        &self,
        block: IpNet,
        start: Option<IpAddr>,
        _: &mut Steps,
    ) -> Result<Option<IpAddr>, Error> {
        self.address(LeaseQuestion::FirstFree(block, start))
    }

    fn last_taken(&self, block: IpNet, _: &mut Steps) -> Result<Option<IpAddr>, Error> {
        self.address(LeaseQuestion::LastTaken(block))
    }

    fn taken(&self, block: IpNet, _: &mut Steps) -> Result<u64, Error> {
        match self.ask(LeaseQuestion::Taken(block))? {
            Fact::Count(count) => Ok(count),
            _ => Err(Error::TooManySteps),
        }
    }
}
