// Pods of some namespaces get their addresses from the upper half of the node's pool, all others from the
// lower half: a firewall can then tell them apart by one block.

// The node answers for it: pods are wired point to point.
const GATEWAY = { tag: "ipv4", val: [169, 254, 1, 1] };
const ANYWHERE = { address: { tag: "ipv4", val: [0, 0, 0, 0] }, length: 0 };

const refuse = (reason, message) => {
  throw { reason, message };
};

const toNumber = (octets) => octets.reduce((number, octet) => number * 256 + octet, 0);
const toOctets = (number) => [24, 16, 8, 0].map((shift) => (number >>> shift) & 255);
const show = ({ address, length }) => `${address.val.join(".")}/${length}`;

/** `config` of the network configuration: the namespaces whose pods live in the upper half. */
export function readConfig(text) {
  const config = JSON.parse(text);
  const unknown = Object.keys(config).find((key) => key !== "upper");
  if (unknown) refuse("invalid-config", `config has the key ${unknown}, but there is only "upper"`);
  const { upper } = config;
  if (!Array.isArray(upper) || upper.some((name) => typeof name !== "string")) {
    refuse("invalid-config", 'config needs "upper", a list of namespaces');
  }
  return upper;
}

function halfOf(pool, isUpper) {
  const length = pool.length + 1;
  const first = toNumber(pool.address.val) + (isUpper ? 2 ** (32 - length) : 0);
  return { address: { tag: "ipv4", val: toOctets(first) }, length };
}

/** Going round, so that an address that was given back rests as long as possible. */
function nextFree(half, leases) {
  const last = leases.lastTaken(half);
  const start = last && { tag: "ipv4", val: toOctets(toNumber(last.val) + 1) };
  return leases.firstFree(half, start ?? null);
}

/** Decides one ADD. `leases` is the contract's interface of that name, or a test's. */
export function decide(request, leases) {
  const upper = readConfig(request.config);
  const pool = request.node.pools.find(({ address, length }) => address.tag === "ipv4" && length <= 29);
  if (!pool) refuse("invalid-config", "give the node an IPv4 pool that is a /29 or larger");
  const half = halfOf(pool, upper.includes(request.pod?.namespace));
  const address = nextFree(half, leases);
  if (!address) refuse("exhausted", `no address is left in ${show(half)}: delete pods`);
  return routed(address);
}

function routed(address) {
  const unset = { mtu: null, metric: null, advmss: null, table: null, scope: null };
  return {
    hostInterface: null,
    wiring: { tag: "routed" },
    addresses: [{ prefix: { address, length: 32 }, gateway: GATEWAY }],
    routes: [{ destination: ANYWHERE, via: GATEWAY, ...unset }],
    mac: null,
    mtu: null,
    dns: null,
    sysctls: [],
    masquerade: false,
    spoofCheck: { mac: false, address: false },
    duplicateAddressDetection: false,
    interfaceDown: false,
    extra: [],
  };
}
