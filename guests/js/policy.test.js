import assert from "node:assert/strict";
import { test } from "node:test";

import { decide } from "./policy.js";

const ipv4 = (...octets) => ({ tag: "ipv4", val: octets });

const request = (namespace, config = { upper: ["db"] }) => ({
  pod: { namespace },
  node: { pools: [{ address: ipv4(10, 244, 1, 0), length: 24 }] },
  config: JSON.stringify(config),
});

/** Nobody holds an address yet: the first one of a block is free, its network address aside. */
const unused = {
  lastTaken: () => null,
  firstFree: ({ address: { val } }) => ipv4(...val.slice(0, 3), val[3] + 1),
};

const addressOf = ({ addresses }) => addresses[0].prefix.address.val.join(".");

test("each namespace has its half", () => {
  assert.equal(addressOf(decide(request("db"), unused)), "10.244.1.129");
  assert.equal(addressOf(decide(request("web"), unused)), "10.244.1.1");
});

test("the search goes on after the last address", () => {
  const asked = [];
  const leases = {
    lastTaken: () => ipv4(10, 244, 1, 255),
    firstFree: (_, start) => (asked.push(start), ipv4(10, 244, 1, 1)),
  };
  decide(request("web"), leases);
  assert.deepEqual(asked, [ipv4(10, 244, 2, 0)]);
});

test("a full half borrows nothing", () => {
  const full = { ...unused, firstFree: () => null };
  assert.throws(() => decide(request("db"), full), { reason: "exhausted" });
});

test("a configuration that is not one is refused", () => {
  assert.throws(() => decide(request("db", {}), unused), { reason: "invalid-config" });
  assert.throws(() => decide(request("db", { upper: [], lower: [] }), unused), { reason: "invalid-config" });
});
