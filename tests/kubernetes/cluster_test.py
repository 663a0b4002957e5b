#!/usr/bin/env python3
"""A cluster that was killed while it started leaves nothing that `down` does not find, and one that is up gives its nodes what the real machine
keeps: no link, rule, mount or cgroup of it shows outside."""
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from machine import Machine, groups_below  # noqa: E402 pylint: disable=wrong-import-position
from machine_state import difference, state  # noqa: E402 pylint: disable=wrong-import-position

NAME = "weft-k8s-crash"


def end(number, _frame):
    # As a time limit does. An error of the test: what it made is removed.
    raise TimeoutError(signal.Signals(number).name)


def cluster(*arguments):
    return [HERE + "/cluster", "--name", NAME, *arguments]


class Crash(unittest.TestCase):
    def setUp(self):
        subprocess.run(cluster("down"), check=True)
        self.before = state(NAME)

    def tearDown(self):
        subprocess.run(cluster("down"), check=True)

    def expect_unchanged(self):
        self.assertEqual(difference(self.before, state(NAME)), [])

    def test_down_finds_what_a_killed_up_left(self):
        with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
            up = subprocess.Popen(cluster("up", "--nodes", "1"), stdout=log, stderr=log, start_new_session=True)
            node = Machine(NAME, "n1", None)
            deadline = time.monotonic() + 120
            try:
                while not node.runs("containerd"):
                    if up.poll() is not None or time.monotonic() > deadline:
                        log.seek(0)
                        self.fail("no node after 120 s, or `up` ended before:\n" + log.read()[-4000:] + node.log("containerd"))
                    time.sleep(0.05)
            finally:
                # However this ends, nothing is made any more when tearDown removes it.
                if up.poll() is None:
                    os.killpg(up.pid, signal.SIGKILL)
                up.wait()
        self.assertTrue(node.runs("containerd"), "what it started lives on")
        # Not even what it knew about itself is needed.
        os.unlink(node.folder + "/pid")
        subprocess.run(cluster("down"), check=True)
        self.assertEqual(list(groups_below(NAME)), [])
        self.expect_unchanged()


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("*** SKIPPED, NOTHING WAS TESTED: not root ***")
        sys.exit(77)
    signal.signal(signal.SIGTERM, end)
    unittest.main()
