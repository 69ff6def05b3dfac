//! Asking a policy.

use wasmtime::Store;
use wasmtime::component::Component;

use super::fault::{Error, Fault, Label};
use super::host::{self, Host, Note};
use super::{answer, bindings, limits, request};
use crate::leases::View;
use crate::plan::check::Violation;
use crate::plan::{AddPlan, AddRequest, DelRequest, NodePlan, NodeRequest, Refusal};

/// Compiled code of a policy.
pub struct Policy {
    code: Component,
    label: Label,
}

impl Policy {
    pub(super) fn new(code: Component, label: impl Into<Label>) -> Self {
        Self { code, label: label.into() }
    }

    /// Makes an instance of it, with memory of its own. `V` is the view of the leases that it will see.
    pub fn instantiate<V: View + 'static>(&self) -> Result<Instance<V>, Error> {
        let mut store = Store::new(self.code.engine(), Host::new());
        store.limiter(|host| host.quota());
        store.set_hostcall_fuel(limits::PASSED_BYTES);
        store.set_max_component_handles(limits::HANDLES);
        let bindings = host::linker(self.code.engine()).and_then(|linker| {
            store.set_fuel(limits::FUEL)?;
            bindings::Policy::instantiate(&mut store, &self.code, &linker)
        });
        match bindings {
            Ok(bindings) => Ok(Instance { store, bindings, label: self.label.clone() }),
            Err(error) => {
                let fault = store.data_mut().explain(&error);
                Err(Error::Failed { policy: self.label.clone(), call: "start", fault })
            }
        }
    }
}

/// What a policy says: an answer, or a reasoned no.
pub type Verdict<T> = Result<T, Refusal>;

/// What one call of a policy cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Units, of [`limits::FUEL`].
    pub fuel: u64,
    /// Calls, of [`limits::HOST_CALLS`].
    pub host_calls: u32,
    /// Bytes of linear memory that it holds since, of [`limits::MEMORY`].
    pub memory: usize,
}

/// A policy that can be asked, call by call; each call may cost as much as [`limits`] say. After one that
/// failed, further ones fail too.
///
/// Dropping it takes longer than the process's end does: whoever is about to exit should forget it.
pub struct Instance<V: 'static> {
    store: Store<Host<V>>,
    bindings: bindings::Policy,
    label: Label,
}

impl<V: View + 'static> Instance<V> {
    /// Asks whether the policy can work with its configuration.
    pub fn check_config(&mut self, config: &str) -> Result<Verdict<()>, Error> {
        let call = "check-config";
        let said = self.ask(call, None, |policy, store| policy.call_check_config(store, config)).0?;
        self.verdict(call, said, Ok)
    }

    /// Asks for the plan for an ADD. The view comes back, whatever the policy does: the transaction behind
    /// it goes on.
    pub fn add(&mut self, request: &AddRequest, view: V) -> (Result<Verdict<AddPlan>, Error>, V) {
        let request = request::add(request);
        let (said, view) = self.lend("add", view, |policy, store| policy.call_add(store, &request));
        (said.and_then(|said| self.verdict("add", said, answer::add_plan)), view)
    }

    /// Tells of a DEL, and asks for how many seconds its addresses shall rest.
    pub fn del(&mut self, request: &DelRequest, view: V) -> (Result<u32, Error>, V) {
        let request = request::del(request);
        let (said, view) = self.lend("del", view, |policy, store| policy.call_del(store, &request));
        (said.map(answer::release), view)
    }

    /// Asks what shall hold on the node.
    pub fn node(&mut self, request: &NodeRequest) -> Result<Verdict<NodePlan<String>>, Error> {
        let request = request::node(request);
        let said = self.ask("node", None, |policy, store| policy.call_node(store, &request)).0?;
        self.verdict("node", said, answer::node_plan)
    }

    /// What the last call logged, even if it failed.
    pub fn notes(&self) -> &[Note] {
        self.store.data().notes()
    }

    /// What the last call cost, even if it failed.
    pub fn spent(&self) -> Spent {
        let left = self.store.get_fuel().unwrap_or_default();
        let host = self.store.data();
        Spent { fuel: limits::FUEL - left, host_calls: host.calls(), memory: host.memory() }
    }

    fn lend<T>(
        &mut self,
        call: &'static str,
        view: V,
        question: impl FnOnce(&bindings::Policy, &mut Store<Host<V>>) -> wasmtime::Result<T>,
    ) -> (Result<T, Error>, V) {
        let (said, view) = self.ask(call, Some(view), question);
        (said, view.expect("nothing in this room keeps a view"))
    }

    fn ask<T>(
        &mut self,
        call: &'static str,
        view: Option<V>,
        question: impl FnOnce(&bindings::Policy, &mut Store<Host<V>>) -> wasmtime::Result<T>,
    ) -> (Result<T, Error>, Option<V>) {
        self.store.data_mut().begin(view);
        let fuelled = self.store.set_fuel(limits::FUEL);
        let said = fuelled.and_then(|()| question(&self.bindings, &mut self.store));
        let view = self.store.data_mut().end();
        (said.map_err(|error| self.failed(call, &error)), view)
    }

    fn failed(&mut self, call: &'static str, error: &wasmtime::Error) -> Error {
        let fault: Fault = self.store.data_mut().explain(error);
        Error::Failed { policy: self.label.clone(), call, fault }
    }

    fn verdict<A, B>(
        &self,
        call: &'static str,
        said: Result<A, bindings::Refusal>,
        convert: impl FnOnce(A) -> Result<B, Violation>,
    ) -> Result<Verdict<B>, Error> {
        let verdict = match said {
            Ok(said) => convert(said).map(Ok),
            Err(no) => answer::refusal(no).map(Err),
        };
        verdict.map_err(|violation| Error::Answer { policy: self.label.clone(), call, violation })
    }
}
