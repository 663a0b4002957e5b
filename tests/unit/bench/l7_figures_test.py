#!/usr/bin/env python3
"""How `tools/dev bench l7` turns slices into figures, and how the cost gate reads callgrind and decides."""
import os
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
sys.path[:0] = [os.path.join(ROOT, "tools/bench/l7.d"), os.path.join(ROOT, "tests/cost")]

import callgrind_file  # noqa: E402
import figures  # noqa: E402
import gate  # noqa: E402
import pairing  # noqa: E402
import plots  # noqa: E402


def slice_of(cpu, rps=1000.0, p50=100):
    return {"cpu": {"proxy": cpu, "machine": 2 * cpu}, "rps": rps, "p50": p50}


class PairingTest(unittest.TestCase):
    def test_the_interval_of_equal_samples_has_no_width(self):
        interval = pairing.Interval([3.0] * 8)
        self.assertEqual((interval.low, interval.value, interval.high), (3.0, 3.0, 3.0))

    def test_the_interval_holds_the_median_and_lies_within_the_samples(self):
        interval = pairing.Interval([1, 2, 3, 4, 100])
        self.assertEqual(interval.value, 3)
        self.assertLessEqual(1, interval.low)
        self.assertLess(interval.low, interval.value)
        self.assertLessEqual(interval.high, 100)

    def test_every_round_runs_every_arm_once(self):
        ran = []
        results = pairing.in_turns({"a": "A", "b": "B"}, 5, lambda load: ran.append(load) or len(ran))
        self.assertEqual([sorted(ran[i:i + 2]) for i in range(0, 10, 2)], [["A", "B"]] * 5)
        self.assertEqual(sorted(results["a"] + results["b"]), list(range(1, 11)))

    def test_drift_that_both_arms_share_falls_out_of_the_ratio(self):
        drift = [1, 2, 4, 8]
        self.assertEqual(pairing.ratios([5 * d for d in drift], [10 * d for d in drift]), [0.5] * 4)


class FigureTest(unittest.TestCase):
    results = {"direct": [slice_of(0)] * 3, "weft": [slice_of(6.0, 2000), slice_of(6.6, 2000), slice_of(5.4, 2000)],
               "haproxy": [slice_of(10.0)] * 3, "nginx": [slice_of(12.0)] * 3, "envoy": [slice_of(5.0)] * 3}

    def test_the_ratio_is_to_the_better_of_haproxy_and_nginx(self):
        row, = figures.against_rival(self.results, "CPU", figures.proxy_cpu, 0.65, limit_high=0.75)
        self.assertEqual(row.name, "CPU: weft / haproxy")
        self.assertAlmostEqual(row.interval.value, 0.6)
        self.assertAlmostEqual(row.best, 0.54)
        self.assertTrue(row.met)

    def test_more_requests_are_better_than_fewer(self):
        row, = figures.against_rival(self.results, "rps", lambda f: f["rps"], 0.95, at_most=False, smallest=False)
        self.assertAlmostEqual(row.interval.value, 2.0)
        self.assertTrue(row.met)

    def test_a_wide_interval_misses_a_bar_that_its_median_meets(self):
        noisy = dict(self.results, weft=[slice_of(5.0), slice_of(6.0), slice_of(9.0)])
        row, = figures.against_rival(noisy, "CPU", figures.proxy_cpu, 0.65, limit_high=0.75)
        self.assertAlmostEqual(row.interval.value, 0.6)
        self.assertFalse(row.met)

    def test_a_bar_is_missed_when_the_best_slices_say_otherwise(self):
        self.assertFalse(figures.Figure("f", pairing.Interval([0.6]), "", 0.65, best=0.7).met)

    def test_without_a_rival_there_is_no_ratio(self):
        self.assertEqual(figures.against_rival({"weft": self.results["weft"]}, "CPU", figures.proxy_cpu, 0.65), [])

    def test_latency_counts_what_is_added_to_the_direct_path(self):
        results = {"direct": [slice_of(0, p50=30)], "weft": [slice_of(1, p50=60)], "nginx": [slice_of(1, p50=90)]}
        row, = figures.latency_rows(results)
        self.assertAlmostEqual(row.interval.value, 0.5)

    def test_what_was_not_measured_has_no_row(self):
        few = {"many_connections": 9700, "many": {"weft": [(10.0, 11.0)] * 3, "nginx": [(10.0, 30.0)] * 3}, "fresh_rss_kb": {"weft": 9216}}
        rows = figures.rows_of(few)
        self.assertEqual([row.name for row in rows],
                         ["resident memory, fresh: weft", "CPU per request, 9700 / 100 connections: weft"])
        self.assertTrue(rows[1].met)
        self.assertEqual([numbers for _, numbers in figures.absolute(few)], [{"weft": 9.0}, {"weft": 11.0, "nginx": 30.0}])

    def test_text_from_outside_cannot_become_markup(self):
        self.assertNotIn("<b>", plots.strips("<b>", "us", {"weft": [1.0, 2.0]}))


class GateTest(unittest.TestCase):
    was = {"get": {"instructions": 1000, "allocations": 0.0, "system_calls": 6.0}}

    def problems(self, **changed):
        return gate.problems_of({"get": dict(self.was["get"], **changed)}, self.was)

    def test_a_little_more_passes_and_a_lot_more_fails(self):
        self.assertEqual(self.problems(instructions=1020), [])
        self.assertIn("1050 instructions per request, recorded 1000: 5.0 % more", self.problems(instructions=1050)[0])

    def test_fewer_instructions_pass(self):
        self.assertEqual(self.problems(instructions=500), [])

    def test_one_allocation_in_a_thousand_requests_fails(self):
        self.assertEqual(len(self.problems(allocations=0.001)), 1)

    def test_one_more_system_call_fails(self):
        self.assertEqual(len(self.problems(system_calls=7.0)), 1)

    def test_a_case_without_a_recorded_cost_fails(self):
        self.assertEqual(gate.problems_of({"new": self.was["get"]}, self.was), ["new: has no recorded cost"])

    def test_a_dump_is_read_with_compressed_names_and_calls_apart_from_own_work(self):
        with tempfile.NamedTemporaryFile("w", suffix="-02") as f:
            f.write("desc: Trigger: Client Request: get\nfn=(1) loop\n10 5\ncfn=(2) malloc\ncalls=3 7\n+1 90\n* 1\nfn=(2)\n7 90\n")
            f.flush()
            dump = callgrind_file.Dump(f.name)
        self.assertEqual(dump.trigger, "get")
        self.assertEqual(dump.own, {"loop": 6, "malloc": 90})
        self.assertEqual(dump.with_callees["loop"], 96)
        self.assertEqual(dump.calls["malloc"], 3)
        self.assertEqual(gate.per_request(dump, 3)["allocations"], 1.0)


if __name__ == "__main__":
    unittest.main()
