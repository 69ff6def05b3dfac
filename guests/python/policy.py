"""Pods of some namespaces get their addresses from the upper half of the node's pool, all others from the
lower half: a firewall can then tell them apart by one block."""

import json
from ipaddress import IPv4Address, IPv4Network


class Refused(Exception):
    """A reasoned no: one of the contract's reasons, and a sentence for the operator."""

    def __init__(self, reason, message):
        super().__init__(message)
        self.reason = reason


def read_config(text):
    """`config` of the network configuration: the namespaces whose pods live in the upper half."""
    config = json.loads(text)
    for key in config.keys() - {"upper"}:
        raise Refused("invalid-config", f'config has the key {key}, but there is only "upper"')
    upper = config.get("upper")
    if not isinstance(upper, list) or not all(isinstance(name, str) for name in upper):
        raise Refused("invalid-config", 'config needs "upper", a list of namespaces')
    return upper


def decide(config, pools, namespace, leases) -> IPv4Address:
    """The pod's address. `leases` can be asked as the contract's interface can, in Python's own types."""
    is_upper = namespace in read_config(config)
    pool = next((pool for pool in pools if isinstance(pool, IPv4Network) and pool.prefixlen <= 29), None)
    if pool is None:
        raise Refused("invalid-config", "give the node an IPv4 pool that is a /29 or larger")
    lower, upper = pool.subnets()
    half = upper if is_upper else lower
    address = next_free(half, leases)
    if address is None:
        raise Refused("exhausted", f"no address is left in {half}: delete pods")
    return address


def next_free(half, leases):
    """Going round, so that an address that was given back rests as long as possible."""
    last = leases.last_taken(half)
    return leases.first_free(half, None if last is None else last + 1)
