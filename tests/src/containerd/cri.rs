//! A client of the container runtime interface: the calls that the tests make, and of their messages the
//! fields that the tests use.
//!
//! Written by hand after `runtime.v1`'s protocol definition (kubernetes/cri-api): its numbers are fixed for
//! ever, and a generated client needs a protobuf compiler on every machine that runs the tests.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use prost::Message;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tonic::Status;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use crate::image;

/// A connection to one containerd.
pub struct Client {
    runtime: Runtime,
    channel: Channel,
    cgroup: String,
}

/// A pod sandbox that runs.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// Its ID, which is also CNI_CONTAINERID.
    pub id: String,
    /// The address that the runtime reports.
    pub ip: String,
    /// Further addresses, as in dual stack.
    pub additional_ips: Vec<String>,
    /// The path of its network namespace, in containerd's mount namespace.
    pub namespace: PathBuf,
    config: PodSandboxConfig,
}

/// What a pod may ask of its network.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// TCP ports of the node, each with the port of the pod that it leads to.
    pub ports: Vec<(u16, u16)>,
    /// Limits of what the pod receives and sends, as Kubernetes writes quantities: `8M` are as many bits a second.
    pub bandwidth: Option<(String, String)>,
}

impl Wishes {
    fn annotations(&self) -> HashMap<String, String> {
        let both =
            self.bandwidth.iter().flat_map(|(ingress, egress)| [("ingress", ingress), ("egress", egress)]);
        both.map(|(way, limit)| (format!("kubernetes.io/{way}-bandwidth"), limit.clone())).collect()
    }
}

/// What a command in a container came to.
#[derive(Debug, Clone)]
pub struct Execution {
    /// The exit status.
    pub exit: i32,
    /// Standard output and standard error.
    pub output: String,
}

impl Client {
    /// Connects to a socket; the containers' control groups lie in `cgroup`.
    pub fn connect(socket: &Path, cgroup: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a test may use timers");
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()));
        let endpoint = endpoint.expect("a path makes a valid address");
        let channel = runtime.block_on(async { endpoint.connect_lazy() });
        Self { runtime, channel, cgroup: cgroup.to_owned() }
    }

    /// Whether runtime and network are ready.
    pub fn is_ready(&self) -> Result<bool, Status> {
        let request = StatusRequest { verbose: false };
        let response: StatusResponse = self.call("RuntimeService/Status", request)?;
        let conditions = response.status.unwrap_or_default().conditions;
        Ok(!conditions.is_empty() && conditions.iter().all(|condition| condition.status))
    }

    /// The configuration list that pods are wired by, in its own words.
    pub fn list(&self) -> Result<String, Status> {
        let response: StatusResponse = self.call("RuntimeService/Status", StatusRequest { verbose: true })?;
        let info = response.info.get("cniconfig").ok_or_else(|| Status::internal("no verbose status"))?;
        let info: Value = serde_json::from_str(info).map_err(|e| Status::internal(e.to_string()))?;
        let networks = info["Networks"].as_array().into_iter().flatten();
        let pods = networks.map(|network| &network["Config"]).find(|config| config["Name"] == "pods");
        Ok(pods.and_then(|config| config["Source"].as_str()).unwrap_or_default().to_owned())
    }

    /// Whether the image is there.
    pub fn has_image(&self, name: &str) -> Result<bool, Status> {
        let request = ImageStatusRequest { image: Some(ImageSpec { image: name.to_owned() }) };
        let response: ImageStatusResponse = self.call("ImageService/ImageStatus", request)?;
        Ok(response.image.is_some())
    }

    /// Starts a pod's sandbox: here the runtime calls ADD.
    pub fn run_sandbox(&self, name: &str) -> Result<Sandbox, Status> {
        self.run_sandbox_with(name, &Wishes::default())
    }

    /// Starts a pod's sandbox of which more is asked, which the runtime passes on as capabilities.
    pub fn run_sandbox_with(&self, name: &str, wishes: &Wishes) -> Result<Sandbox, Status> {
        let config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.to_owned(),
                uid: format!("uid-{name}"),
                namespace: "test".to_owned(),
            }),
            hostname: name.to_owned(),
            port_mappings: wishes.ports.iter().map(|&(host, pod)| PortMapping::tcp(host, pod)).collect(),
            annotations: wishes.annotations(),
            linux: Some(LinuxPodSandboxConfig { cgroup_parent: format!("/{}", self.cgroup) }),
        };
        let request = RunPodSandboxRequest { config: Some(config.clone()) };
        let response: SandboxId = self.call("RuntimeService/RunPodSandbox", request)?;
        self.sandbox(response.pod_sandbox_id, config)
    }

    /// Stops a sandbox: here the runtime calls DEL.
    pub fn stop_sandbox(&self, sandbox: &Sandbox) -> Result<(), Status> {
        let request = SandboxId { pod_sandbox_id: sandbox.id.clone() };
        self.call("RuntimeService/StopPodSandbox", request).map(|Nothing {}| ())
    }

    /// Removes a sandbox, which forces DEL once more.
    pub fn remove_sandbox(&self, sandbox: &Sandbox) -> Result<(), Status> {
        let request = SandboxId { pod_sandbox_id: sandbox.id.clone() };
        self.call("RuntimeService/RemovePodSandbox", request).map(|Nothing {}| ())
    }

    /// Starts a container in a pod, which does nothing but wait; returns its ID.
    pub fn run_container(&self, sandbox: &Sandbox) -> Result<String, Status> {
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: "busybox".to_owned() }),
            image: Some(ImageSpec { image: image::NAME.to_owned() }),
        };
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox.id.clone(),
            config: Some(config),
            sandbox_config: Some(sandbox.config.clone()),
        };
        let container: ContainerId = self.call("RuntimeService/CreateContainer", request)?;
        let Nothing {} = self.call("RuntimeService/StartContainer", container.clone())?;
        Ok(container.container_id)
    }

    /// Runs a busybox command in a container.
    pub fn exec(&self, container: &str, command: &str) -> Result<Execution, Status> {
        let words = ["/bin/busybox"].into_iter().chain(command.split_ascii_whitespace());
        let request = ExecSyncRequest {
            container_id: container.to_owned(),
            cmd: words.map(str::to_owned).collect(),
            timeout: 30,
        };
        let response: ExecSyncResponse = self.call("RuntimeService/ExecSync", request)?;
        let output = [response.stdout, response.stderr].concat();
        Ok(Execution { exit: response.exit_code, output: String::from_utf8_lossy(&output).into_owned() })
    }

    fn sandbox(&self, id: String, config: PodSandboxConfig) -> Result<Sandbox, Status> {
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.clone(), verbose: true };
        let response: PodSandboxStatusResponse = self.call("RuntimeService/PodSandboxStatus", request)?;
        let network = response.status.and_then(|status| status.network).unwrap_or_default();
        let info = response.info.get("info").ok_or_else(|| Status::internal("no verbose status"))?;
        Ok(Sandbox {
            id,
            ip: network.ip,
            additional_ips: network.additional_ips.into_iter().map(|one| one.ip).collect(),
            namespace: network_namespace(info),
            config,
        })
    }

    fn call<Request, Response>(&self, method: &str, request: Request) -> Result<Response, Status>
    where
        Request: Message + 'static,
        Response: Message + Default + 'static,
    {
        let path = PathAndQuery::try_from(format!("/runtime.v1.{method}")).expect("method names make paths");
        let mut client = Grpc::new(self.channel.clone());
        self.runtime.block_on(async {
            client.ready().await.map_err(|e| Status::unavailable(e.to_string()))?;
            let codec = ProstCodec::<Request, Response>::default();
            Ok(client.unary(tonic::Request::new(request), path, codec).await?.into_inner())
        })
    }
}

/// From the OCI runtime specification that containerd shows in a verbose status.
fn network_namespace(info: &str) -> PathBuf {
    let info: Value = serde_json::from_str(info).expect("containerd shows JSON");
    let namespaces = info["runtimeSpec"]["linux"]["namespaces"].as_array().into_iter().flatten();
    let path = namespaces.filter(|one| one["type"] == "network").find_map(|one| one["path"].as_str());
    path.expect("a pod of its own network has a network namespace").into()
}

impl PortMapping {
    fn tcp(host: u16, pod: u16) -> Self {
        Self { protocol: 0, container_port: pod.into(), host_port: host.into() }
    }
}

macro_rules! messages {
    ($($name:ident { $($(#[$attribute:meta])* $field:ident: $kind:ty,)* })*) => {
        $(#[derive(Clone, PartialEq, Message)]
        struct $name { $($(#[$attribute])* $field: $kind,)* })*
    };
}

messages! {
    Nothing {}
    SandboxId {
        #[prost(string, tag = "1")] pod_sandbox_id: String,
    }
    ContainerId {
        #[prost(string, tag = "1")] container_id: String,
    }
    RunPodSandboxRequest {
        #[prost(message, optional, tag = "1")] config: Option<PodSandboxConfig>,
    }
    PodSandboxConfig {
        #[prost(message, optional, tag = "1")] metadata: Option<PodSandboxMetadata>,
        #[prost(string, tag = "2")] hostname: String,
        #[prost(message, repeated, tag = "5")] port_mappings: Vec<PortMapping>,
        #[prost(map = "string, string", tag = "7")] annotations: HashMap<String, String>,
        #[prost(message, optional, tag = "8")] linux: Option<LinuxPodSandboxConfig>,
    }
    PortMapping {
        // An enumeration, of which 0 is TCP.
        #[prost(int32, tag = "1")] protocol: i32,
        #[prost(int32, tag = "2")] container_port: i32,
        #[prost(int32, tag = "3")] host_port: i32,
    }
    PodSandboxMetadata {
        #[prost(string, tag = "1")] name: String,
        #[prost(string, tag = "2")] uid: String,
        #[prost(string, tag = "3")] namespace: String,
    }
    LinuxPodSandboxConfig {
        #[prost(string, tag = "1")] cgroup_parent: String,
    }
    PodSandboxStatusRequest {
        #[prost(string, tag = "1")] pod_sandbox_id: String,
        #[prost(bool, tag = "2")] verbose: bool,
    }
    PodSandboxStatusResponse {
        #[prost(message, optional, tag = "1")] status: Option<PodSandboxStatus>,
        #[prost(map = "string, string", tag = "2")] info: HashMap<String, String>,
    }
    PodSandboxStatus {
        #[prost(message, optional, tag = "5")] network: Option<PodSandboxNetworkStatus>,
    }
    PodSandboxNetworkStatus {
        #[prost(string, tag = "1")] ip: String,
        #[prost(message, repeated, tag = "2")] additional_ips: Vec<PodIp>,
    }
    PodIp {
        #[prost(string, tag = "1")] ip: String,
    }
    CreateContainerRequest {
        #[prost(string, tag = "1")] pod_sandbox_id: String,
        #[prost(message, optional, tag = "2")] config: Option<ContainerConfig>,
        #[prost(message, optional, tag = "3")] sandbox_config: Option<PodSandboxConfig>,
    }
    ContainerConfig {
        #[prost(message, optional, tag = "1")] metadata: Option<ContainerMetadata>,
        #[prost(message, optional, tag = "2")] image: Option<ImageSpec>,
    }
    ContainerMetadata {
        #[prost(string, tag = "1")] name: String,
    }
    ImageSpec {
        #[prost(string, tag = "1")] image: String,
    }
    ImageStatusRequest {
        #[prost(message, optional, tag = "1")] image: Option<ImageSpec>,
    }
    ImageStatusResponse {
        #[prost(message, optional, tag = "1")] image: Option<Image>,
    }
    Image {
        #[prost(string, tag = "1")] id: String,
    }
    ExecSyncRequest {
        #[prost(string, tag = "1")] container_id: String,
        #[prost(string, repeated, tag = "2")] cmd: Vec<String>,
        #[prost(int64, tag = "3")] timeout: i64,
    }
    ExecSyncResponse {
        #[prost(bytes = "vec", tag = "1")] stdout: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")] stderr: Vec<u8>,
        #[prost(int32, tag = "3")] exit_code: i32,
    }
    StatusRequest {
        #[prost(bool, tag = "1")] verbose: bool,
    }
    StatusResponse {
        #[prost(message, optional, tag = "1")] status: Option<RuntimeStatus>,
        #[prost(map = "string, string", tag = "2")] info: HashMap<String, String>,
    }
    RuntimeStatus {
        #[prost(message, repeated, tag = "1")] conditions: Vec<RuntimeCondition>,
    }
    RuntimeCondition {
        #[prost(string, tag = "1")] kind: String,
        #[prost(bool, tag = "2")] status: bool,
    }
}
