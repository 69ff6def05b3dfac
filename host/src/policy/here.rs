//! A policy in this process: its memory, its fuel, and what it reaches of the host.

use wasmtime::Store;
use wasmtime::component::Component;

use super::fault::Fault;
use super::host::{self, Host, Note};
use super::instance::Spent;
use super::question::{Answer, Question};
use super::{bindings, limits, standin};
use crate::leases::View;

pub(super) struct Here<V: 'static> {
    store: Store<Host<V>>,
    bindings: bindings::Policy,
}

impl<V: View + 'static> Here<V> {
    /// Makes an instance of it, with memory of its own.
    pub(super) fn start(code: &Component) -> Result<Self, Fault> {
        let mut store = Store::new(code.engine(), Host::new());
        store.limiter(|host| host.quota());
        store.set_hostcall_fuel(limits::PASSED_BYTES);
        store.set_max_component_handles(limits::HANDLES);
        let bindings = host::linker(code.engine()).and_then(|mut linker| {
            if standin::wanted(code) {
                standin::link(&mut linker, code)?;
                store.data_mut().stand_in();
            }
            store.set_fuel(limits::FUEL)?;
            bindings::Policy::instantiate(&mut store, code, &linker)
        });
        match bindings {
            Ok(bindings) => Ok(Self { store, bindings }),
            Err(error) => Err(store.data_mut().explain(&error)),
        }
    }

    /// The view comes back, whatever the policy does.
    pub(super) fn ask(&mut self, question: &Question, view: Option<V>) -> (Result<Answer, Fault>, Option<V>) {
        self.store.data_mut().begin(question, view);
        let answer = self.store.set_fuel(limits::FUEL).and_then(|()| self.call(question));
        let view = self.store.data_mut().end();
        (answer.map_err(|error| self.store.data_mut().explain(&error)), view)
    }

    fn call(&mut self, question: &Question) -> wasmtime::Result<Answer> {
        let (policy, store) = (&self.bindings, &mut self.store);
        Ok(match question {
            Question::CheckConfig(config) => Answer::CheckConfig(policy.call_check_config(store, config)?),
            Question::Add(request) => Answer::Add(policy.call_add(store, request)?),
            Question::Del(request) => Answer::Del(policy.call_del(store, request)?),
            Question::Node(request) => Answer::Node(policy.call_node(store, request)?),
        })
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
