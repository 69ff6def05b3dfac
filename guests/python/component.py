"""What the host calls: the contract's exports, and its types turned into Python's own."""

from ipaddress import IPv4Address, IPv4Network

import wit_world
from componentize_py_types import Err
from wit_world.imports import leases, types

import policy

# The node answers for it: pods are wired point to point.
GATEWAY = types.IpAddress_Ipv4((169, 254, 1, 1))
ANYWHERE = types.IpPrefix(types.IpAddress_Ipv4((0, 0, 0, 0)), 0)


def to_wit(address: IPv4Address):
    return types.IpAddress_Ipv4(tuple(address.packed))


def from_wit(address):
    return None if address is None else IPv4Address(bytes(address.value))


def block(net: IPv4Network):
    return types.IpPrefix(to_wit(net.network_address), net.prefixlen)


class Leases:
    """The contract's leases, of IPv4."""

    def last_taken(self, net):
        return from_wit(leases.last_taken(block(net)))

    def first_free(self, net, start):
        return from_wit(leases.first_free(block(net), None if start is None else to_wit(start)))


def refusal(refused):
    reason = types.RefusalReason[refused.reason.upper().replace("-", "_")]
    return Err(types.Refusal(reason, str(refused)))


class WitWorld(wit_world.WitWorld):
    def check_config(self, config):
        try:
            policy.read_config(config)
        except policy.Refused as refused:
            raise refusal(refused) from None

    def add(self, request):
        pools = [
            IPv4Network((bytes(pool.address.value), pool.length))
            for pool in request.node.pools
            if isinstance(pool.address, types.IpAddress_Ipv4)
        ]
        namespace = request.pod and request.pod.namespace
        try:
            return routed(policy.decide(request.config, pools, namespace, Leases()))
        except policy.Refused as refused:
            raise refusal(refused) from None

    def del_(self, request):
        """Addresses that a DEL gave back are free at once."""
        return types.Release_Now()

    def node(self, request):
        """The node itself needs nothing."""
        return types.NodePlan(bridges=[], vxlan=None, routes=[], masquerade=[], extra=[])


def routed(address):
    prefix = types.IpPrefix(to_wit(address), 32)
    route = types.Route(ANYWHERE, GATEWAY, mtu=None, metric=None, advmss=None, table=None, scope=None)
    return types.AddPlan(
        host_interface=None,
        wiring=types.Wiring_Routed(),
        addresses=[types.Address(prefix, GATEWAY)],
        routes=[route],
        mac=None,
        mtu=None,
        dns=None,
        sysctls=[],
        masquerade=False,
        spoof_check=types.SpoofCheck(0),
        duplicate_address_detection=False,
        interface_down=False,
        extra=[],
    )
