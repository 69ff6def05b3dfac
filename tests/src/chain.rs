//! A configuration list, run as libcni runs it: ADD in order, each plugin with the result of the one before it;
//! DEL in reverse; CHECK in order, both with the final result.

use serde_json::{Map, Value, json};

use crate::node::{Node, Pod};
use crate::plugin::{Call, Outcome, Plugin, REFERENCE_PLUGINS};

/// A list of plugins, and what the runtime knows of a pod.
#[derive(Debug, Clone)]
pub struct Chain {
    under_test: Plugin,
    version: String,
    name: String,
    plugins: Vec<Value>,
    capabilities: Map<String, Value>,
    args: String,
}

impl Chain {
    /// Of these plugins; one of type `podwire` is the one under test, the others are the reference plugins.
    pub fn new(node: &Node, version: &str, plugins: &[Value]) -> Self {
        Self {
            under_test: Plugin::under_test(node),
            version: version.to_owned(),
            name: "pods".to_owned(),
            plugins: plugins.to_vec(),
            capabilities: Map::new(),
            args: "IgnoreUnknown=1".to_owned(),
        }
    }

    /// With a value for the plugins that declare this capability.
    pub fn with_capability(mut self, name: &str, value: Value) -> Self {
        self.capabilities.insert(name.to_owned(), value);
        self
    }

    /// Of another network than `pods`.
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// With CNI_ARGS.
    pub fn with_args(self, args: &str) -> Self {
        Self { args: args.to_owned(), ..self }
    }

    /// ADD of the whole list: the last plugin's result, or the first failure.
    pub fn try_add(&self, pod: &Pod) -> Result<Value, Outcome> {
        let mut previous = None;
        for plugin in &self.plugins {
            let outcome = self.run("ADD", plugin, pod, previous.as_ref());
            if outcome.exit != Some(0) {
                return Err(outcome);
            }
            previous = Some(outcome.result());
        }
        Ok(previous.expect("a list has a plugin"))
    }

    /// ADD of the whole list, which must succeed.
    #[track_caller]
    pub fn add(&self, pod: &Pod) -> Value {
        self.try_add(pod).unwrap_or_else(|outcome| panic!("{outcome}"))
    }

    /// DEL of the whole list, which must succeed.
    #[track_caller]
    pub fn del(&self, pod: &Pod, result: &Value) {
        for plugin in self.plugins.iter().rev() {
            let outcome = self.run("DEL", plugin, pod, Some(result));
            assert_eq!(outcome.exit, Some(0), "{}: {outcome}", plugin["type"]);
        }
    }

    /// CHECK of the whole list: the first failure.
    pub fn try_check(&self, pod: &Pod, result: &Value) -> Result<(), Outcome> {
        for plugin in &self.plugins {
            let outcome = self.run("CHECK", plugin, pod, Some(result));
            if outcome.exit != Some(0) {
                return Err(outcome);
            }
        }
        Ok(())
    }

    /// CHECK of the whole list, which must succeed.
    #[track_caller]
    pub fn check(&self, pod: &Pod, result: &Value) {
        self.try_check(pod, result).unwrap_or_else(|outcome| panic!("{outcome}"));
    }

    /// STATUS of the first plugin.
    pub fn status(&self) -> Outcome {
        let configuration = self.configuration(&self.plugins[0], None);
        self.under_test.run(&self.without_pod("STATUS").stdin(configuration.to_string()))
    }

    /// DEL by the plugin under test with this on standard input, whatever it is.
    pub fn del_saying(&self, pod: &Pod, stdin: &str) -> Outcome {
        self.under_test.run(&self.call("DEL", pod).stdin(stdin))
    }

    /// GC by the first plugin, with these pods' attachments valid.
    pub fn gc(&self, valid: &[&Pod]) -> Outcome {
        let one = |pod: &&Pod| json!({ "containerID": pod.container_id, "ifname": pod.ifname });
        let mut configuration = self.configuration(&self.plugins[0], None);
        // The first that has it.
        configuration["cniVersion"] = json!("1.1.0");
        configuration["cni.dev/valid-attachments"] = valid.iter().map(one).collect();
        // As libcni sets the variables of a call that is about no container.
        let call =
            self.without_pod("GC").env("CNI_CONTAINERID", "").env("CNI_IFNAME", "").env("CNI_NETNS", "");
        self.under_test.run(&call.stdin(configuration.to_string()))
    }

    /// One plugin's call.
    fn run(&self, command: &str, plugin: &Value, pod: &Pod, previous: Option<&Value>) -> Outcome {
        let kind = plugin["type"].as_str().expect("a plugin has a type");
        let call = self.call(command, pod).stdin(self.configuration(plugin, previous).to_string());
        match kind {
            "podwire" => self.under_test.run(&call),
            reference => self.under_test.standing_in(&format!("{REFERENCE_PLUGINS}/{reference}")).run(&call),
        }
    }

    fn call(&self, command: &str, pod: &Pod) -> Call {
        self.without_pod(command)
            .env("CNI_CONTAINERID", &pod.container_id)
            .env("CNI_NETNS", &pod.namespace.path().display().to_string())
            .env("CNI_IFNAME", &pod.ifname)
            .env("CNI_ARGS", &self.args)
    }

    /// CNI_PATH has podwire under its own name, as on a node, and the reference plugins.
    fn without_pod(&self, command: &str) -> Call {
        let here = self.under_test.folder_with_its_name();
        self.under_test.verb(command).env("CNI_PATH", &format!("{}:{REFERENCE_PLUGINS}", here.display()))
    }

    /// What the runtime makes of the list's entry (section 3 of the specification).
    fn configuration(&self, plugin: &Value, previous: Option<&Value>) -> Value {
        let Value::Object(mut object) = plugin.clone() else { panic!("a plugin is an object: {plugin}") };
        let declared = object.remove("capabilities").unwrap_or_default();
        let wanted = self.capabilities.iter().filter(|(name, _)| declared[name.as_str()] == true);
        let runtime: Map<String, Value> = wanted.map(|(name, value)| (name.clone(), value.clone())).collect();
        object.insert("cniVersion".to_owned(), json!(self.version));
        object.insert("name".to_owned(), json!(self.name));
        object.insert("runtimeConfig".to_owned(), Value::Object(runtime));
        object.extend(previous.map(|result| ("prevResult".to_owned(), result.clone())));
        Value::Object(object)
    }
}
