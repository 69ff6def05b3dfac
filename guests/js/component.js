// What the host calls: the contract's exports.
import leases from "podwire:policy/leases@0.3.0";

import { decide, readConfig } from "./policy.js";

export function checkConfig(config) {
  readConfig(config);
}

export function add(request) {
  return decide(request, leases);
}

// Addresses that a DEL gave back are free at once.
export function del() {
  return { tag: "now" };
}

// The node itself needs nothing.
export function node() {
  return { bridges: [], routes: [], masquerade: [], extra: [] };
}
