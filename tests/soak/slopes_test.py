#!/usr/bin/env python3
"""What the soak calls a leak, and what it does not."""
import math
import os
import random
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import slopes  # noqa: E402


def samples(value, seconds=1800):
    return [(at, value(at)) for at in range(seconds)]


class SlopesTest(unittest.TestCase):
    def test_a_steady_process_has_no_slope(self):
        per_hour, gained, _ = slopes.growth(samples(lambda at: 100), 60)
        self.assertEqual((per_hour, gained), (0, 0))

    def test_noise_and_phases_are_no_leak(self):
        noise = random.Random(1)
        _, gained, seconds = slopes.growth(samples(lambda at: 20000 + (at % 7) * 40 + noise.gauss(0, 100)), 60)
        self.assertFalse(slopes.memory_leaks(gained, seconds))
        _, gained, _ = slopes.growth(samples(lambda at: 100 + noise.randrange(40)), 60)
        self.assertFalse(slopes.descriptors_leak(gained))

    def test_what_grows_while_it_warms_up_is_no_leak(self):
        _, gained, seconds = slopes.growth(samples(lambda at: 20000 + 50 * min(at, 60)), 60)
        self.assertFalse(slopes.memory_leaks(gained, seconds))

    def test_a_descriptor_every_ten_minutes_is_a_leak(self):
        _, gained, _ = slopes.growth(samples(lambda at: 100 + at // 600, 3600), 60)
        self.assertTrue(slopes.descriptors_leak(gained))

    def test_connections_that_wander_are_no_leak_and_one_that_stays_every_fifty_seconds_is(self):
        _, gained, _ = slopes.growth(samples(lambda at: 130 + 10 * math.sin(at / 150)), 300)
        self.assertFalse(slopes.connections_leak(gained))
        _, gained, _ = slopes.growth(samples(lambda at: 130 + 10 * math.sin(at / 150) + at / 50), 300)
        self.assertTrue(slopes.connections_leak(gained))

    def test_two_mebibytes_an_hour_are_a_leak(self):
        per_hour, gained, seconds = slopes.growth(samples(lambda at: 20000 + at * 2048 / 3600), 60)
        self.assertAlmostEqual(per_hour, 2048, delta=10)
        self.assertTrue(slopes.memory_leaks(gained, seconds))


if __name__ == "__main__":
    unittest.main()
