//! Asking a policy.

use std::rc::Rc;

use wasmtime::component::Component;

use super::apart::Apart;
use super::fault::{Error, Fault, Label};
use super::here::Here;
use super::host::Note;
use super::question::{Answer, Question};
use super::{answer, bindings, limits, request};
use crate::leases::View;
use crate::plan::check::Violation;
use crate::plan::{AddPlan, AddRequest, DelRequest, NodePlan, NodeRequest, Refusal};

/// Compiled code of a policy.
pub struct Policy {
    pub(super) code: Component,
    is_apart: bool,
    label: Label,
}

impl Policy {
    pub(super) fn new(code: Component, label: impl Into<Label>) -> Self {
        Self { code, is_apart: false, label: label.into() }
    }

    /// The same, to be run in processes of its own, each of which has nothing but a wire to this one: what breaks out
    /// of the sandbox has gained nothing.
    pub fn apart(self) -> Self {
        Self { is_apart: true, ..self }
    }

    /// Makes an instance of it, with memory of its own.
    pub fn instantiate(&self) -> Result<Instance, Error> {
        let place = if self.is_apart {
            Apart::start(&self.code).map(Place::Apart)
        } else {
            Here::start(&self.code).map(|here| Place::Here(Box::new(here)))
        };
        match place {
            Ok(place) => Ok(Instance { place, label: self.label.clone() }),
            Err(fault) => Err(Error::Failed { policy: self.label.clone(), call: "start", fault }),
        }
    }
}

/// What a policy says: an answer, or a reasoned no.
pub type Verdict<T> = Result<T, Refusal>;

/// What one call of a policy cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Spent {
    /// Units, of [`limits::FUEL`](super::limits::FUEL).
    pub fuel: u64,
    /// Calls, of [`limits::HOST_CALLS`](super::limits::HOST_CALLS).
    pub host_calls: u32,
    /// Bytes of linear memory that it holds since, of [`limits::MEMORY`](super::limits::MEMORY).
    pub memory: usize,
}

impl Spent {
    /// No more than there was to spend: it is said by a process that somebody else may have taken over.
    pub(super) fn bounded(self) -> Self {
        Self {
            fuel: self.fuel.min(limits::FUEL),
            host_calls: self.host_calls.min(limits::HOST_CALLS),
            memory: self.memory.min(limits::MEMORY),
        }
    }
}

/// A policy that can be asked, call by call; each call may cost as much as [`limits`](super::limits) say. After one
/// that failed, further ones fail too.
///
/// Dropping it takes longer than the process's end does: whoever is about to exit should forget it.
pub struct Instance {
    place: Place,
    label: Label,
}

enum Place {
    Here(Box<Here>),
    Apart(Apart),
}

impl Instance {
    /// Asks whether the policy can work with its configuration.
    pub fn check_config(&mut self, config: &str) -> Result<Verdict<()>, Error> {
        let question = Question::CheckConfig(config.to_owned());
        match self.ask(&question, None)? {
            Answer::CheckConfig(said) => self.verdict(&question, said, Ok),
            _ => Err(self.beside_the_point(&question)),
        }
    }

    /// Asks for the plan for an ADD. The view comes back, whatever the policy does: the transaction behind
    /// it goes on.
    pub fn add<V: View + 'static>(
        &mut self,
        request: &AddRequest,
        view: V,
    ) -> (Result<Verdict<AddPlan>, Error>, V) {
        let question = Question::Add(request::add(request));
        let (said, view) = self.lend(&question, view);
        let verdict = said.and_then(|said| match said {
            Answer::Add(said) => self.verdict(&question, said, answer::add_plan),
            _ => Err(self.beside_the_point(&question)),
        });
        (verdict, view)
    }

    /// Tells of a DEL, and asks for how many seconds its addresses shall rest.
    pub fn del<V: View + 'static>(&mut self, request: &DelRequest, view: V) -> (Result<u32, Error>, V) {
        let question = Question::Del(request::del(request));
        let (said, view) = self.lend(&question, view);
        let rest = said.and_then(|said| match said {
            Answer::Del(said) => Ok(answer::release(said)),
            _ => Err(self.beside_the_point(&question)),
        });
        (rest, view)
    }

    /// Asks what shall hold on the node.
    pub fn node(&mut self, request: &NodeRequest) -> Result<Verdict<NodePlan<String>>, Error> {
        let question = Question::Node(request::node(request));
        match self.ask(&question, None)? {
            Answer::Node(said) => self.verdict(&question, said, answer::node_plan),
            _ => Err(self.beside_the_point(&question)),
        }
    }

    /// What the last call logged, even if it failed.
    pub fn notes(&self) -> &[Note] {
        match &self.place {
            Place::Here(here) => here.notes(),
            Place::Apart(apart) => apart.notes(),
        }
    }

    /// What the last call cost, even if it failed.
    pub fn spent(&self) -> Spent {
        match &self.place {
            Place::Here(here) => here.spent(),
            Place::Apart(apart) => apart.spent(),
        }
    }

    fn lend<V: View + 'static>(&mut self, question: &Question, view: V) -> (Result<Answer, Error>, V) {
        let view = Rc::new(view);
        let said = self.ask(question, Some(view.clone()));
        (said, Rc::into_inner(view).expect("nothing in this room keeps a view"))
    }

    fn ask(&mut self, question: &Question, view: Option<Rc<dyn View>>) -> Result<Answer, Error> {
        let said = match &mut self.place {
            Place::Here(here) => here.ask(question, view),
            Place::Apart(apart) => apart.ask(question, view.as_deref()),
        };
        said.map_err(|fault| self.failed(question, fault))
    }

    fn failed(&self, question: &Question, fault: Fault) -> Error {
        Error::Failed { policy: self.label.clone(), call: question.call(), fault }
    }

    /// Only a process that was taken over answers another question.
    fn beside_the_point(&self, question: &Question) -> Error {
        self.failed(question, Fault::Process("it answered another question".to_owned()))
    }

    fn verdict<A, B>(
        &self,
        question: &Question,
        said: Result<A, bindings::Refusal>,
        convert: impl FnOnce(A) -> Result<B, Violation>,
    ) -> Result<Verdict<B>, Error> {
        let verdict = match said {
            Ok(said) => convert(said).map(Ok),
            Err(no) => answer::refusal(no).map(Err),
        };
        let call = question.call();
        verdict.map_err(|violation| Error::Answer { policy: self.label.clone(), call, violation })
    }
}
