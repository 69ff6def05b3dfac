import unittest
from ipaddress import IPv4Address, IPv4Network

from policy import Refused, decide

CONFIG = '{"upper": ["db"]}'
POOLS = [IPv4Network("10.244.1.0/24")]


class Leases:
    """Nobody holds an address, or all of them are held."""

    def __init__(self, last=None, full=False):
        self.last, self.full, self.start = last, full, None

    def last_taken(self, net):
        return self.last

    def first_free(self, net, start):
        self.start = start
        return None if self.full else net[1]


class Policy(unittest.TestCase):
    def test_each_namespace_has_its_half(self):
        self.assertEqual(decide(CONFIG, POOLS, "db", Leases()), IPv4Address("10.244.1.129"))
        self.assertEqual(decide(CONFIG, POOLS, "web", Leases()), IPv4Address("10.244.1.1"))
        self.assertEqual(decide(CONFIG, POOLS, None, Leases()), IPv4Address("10.244.1.1"))

    def test_the_search_goes_on_after_the_last_address(self):
        leases = Leases(last=IPv4Address("10.244.1.7"))
        decide(CONFIG, POOLS, "web", leases)
        self.assertEqual(leases.start, IPv4Address("10.244.1.8"))

    def test_a_full_half_borrows_nothing(self):
        with self.assertRaisesRegex(Refused, "10.244.1.128/25"):
            decide(CONFIG, POOLS, "db", Leases(full=True))

    def test_a_configuration_that_is_not_one_is_refused(self):
        for config in ["{}", '{"upper": "db"}', '{"upper": [], "lower": []}']:
            with self.assertRaises(Refused):
                decide(config, POOLS, "db", Leases())


if __name__ == "__main__":
    unittest.main()
