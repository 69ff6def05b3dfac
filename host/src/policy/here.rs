//! A policy in this process: its memory, its fuel, and what it reaches of the host.

use std::rc::Rc;

use wasmtime::Store;
use wasmtime::component::{Component, ComponentNamedList, Instance, Lift, Lower};
use wasmtime::error::Context as _;

use super::fault::Fault;
use super::host::{self, Host, Note};
use super::instance::Spent;
use super::question::{Answer, Question};
use super::{bindings, limits, standin};
use crate::leases::View;

pub(super) struct Here {
    store: Store<Host>,
    instance: Instance,
}

impl Here {
    /// Makes an instance of it, with memory of its own.
    pub(super) fn start(code: &Component) -> Result<Self, Fault> {
        let mut store = Store::new(code.engine(), Host::new());
        store.limiter(|host| host.quota());
        store.set_hostcall_fuel(limits::PASSED_BYTES);
        store.set_max_component_handles(limits::HANDLES);
        let instance = host::linker(code.engine()).and_then(|mut linker| {
            if standin::wanted(code) {
                standin::link(&mut linker, code)?;
                store.data_mut().stand_in();
            }
            store.set_fuel(limits::FUEL)?;
            linker.instantiate(&mut store, code)
        });
        match instance {
            Ok(instance) => Ok(Self { store, instance }),
            Err(error) => Err(store.data_mut().explain(&error)),
        }
    }

    /// The same, if it has all of the contract's functions. Without this, each is looked for when it is asked: of what
    /// came with podwire, that is soon enough, and an ADD does not pay for the others.
    pub(super) fn checked(mut self) -> Result<Self, Fault> {
        match bindings::Policy::new(&mut self.store, &self.instance) {
            Ok(_) => Ok(self),
            Err(error) => Err(self.store.data_mut().explain(&error)),
        }
    }

    /// Nothing of it keeps the view when this returns.
    pub(super) fn ask(&mut self, question: &Question, view: Option<Rc<dyn View>>) -> Result<Answer, Fault> {
        self.store.data_mut().begin(question, view);
        let answer = self.store.set_fuel(limits::FUEL).and_then(|()| self.answer(question));
        self.store.data_mut().end();
        answer.map_err(|error| self.store.data_mut().explain(&error))
    }

    fn answer(&mut self, question: &Question) -> wasmtime::Result<Answer> {
        let function = question.call();
        Ok(match question {
            Question::CheckConfig(config) => Answer::CheckConfig(self.call(function, (config.as_str(),))?),
            Question::Add(request) => Answer::Add(self.call(function, (request,))?),
            Question::Del(request) => Answer::Del(self.call(function, (request,))?),
            Question::Node(request) => Answer::Node(self.call(function, (request,))?),
        })
    }

    fn call<P, R>(&mut self, function: &str, parameters: P) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower,
        (R,): ComponentNamedList + Lift + 'static,
    {
        let found = self.instance.get_typed_func::<P, (R,)>(&mut self.store, function);
        // In the words of the generated check.
        let found = found.with_context(|| format!("type-checking export func `{function}`"))?;
        Ok(found.call(&mut self.store, parameters)?.0)
    }

    /// What the last call logged, even if it failed.
    pub(super) fn notes(&self) -> &[Note] {
        self.store.data().notes()
    }

    /// What the last call cost, even if it failed.
    pub(super) fn spent(&self) -> Spent {
        let left = self.store.get_fuel().unwrap_or_default();
        let host = self.store.data();
        Spent { fuel: limits::FUEL - left, host_calls: host.calls(), memory: host.memory() }
    }
}
