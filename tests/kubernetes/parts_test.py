#!/usr/bin/env python3
"""Parts of the tier that need no cluster: what counts as a change of the machine, which names may be removed, what is an answer of the API
server, which Go builds the programs."""
import os
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
import machine  # noqa: E402 pylint: disable=wrong-import-position
from cluster import Cluster  # noqa: E402 pylint: disable=wrong-import-position
from machine_state import mounts, of_a_cluster, without_counters  # noqa: E402 pylint: disable=wrong-import-position


class State(unittest.TestCase):
    def test_what_counts_by_itself_is_cut(self):
        for one, other in (
                (r"2: eth0    inet 10.0.0.4/24 scope global dynamic eth0\       valid_lft 3105sec preferred_lft 2900sec",
                 r"2: eth0    inet 10.0.0.4/24 scope global dynamic eth0\       valid_lft 3104sec preferred_lft 2899sec"),
                ("default via fe80::1 dev eth0 proto ra metric 100 expires 1799sec hoplimit 64 pref medium",
                 "default via fe80::1 dev eth0 proto ra metric 100 expires 1742sec hoplimit 64 pref medium"),
                (":INPUT ACCEPT [10:640]", ":INPUT ACCEPT [12:700]"), ("[3:180] -A INPUT -j ACCEPT", "[4:240] -A INPUT -j ACCEPT"),
                ("cni-1 (id: 3)", "cni-1 (id: 4)")):
            self.assertEqual(without_counters(one), without_counters(other))

    def test_what_a_cluster_would_leave_is_not(self):
        for one, other in ((r"2: eth0    inet 10.0.0.4/24 scope global eth0\       valid_lft forever preferred_lft forever",
                            r"2: eth0    inet 10.0.0.5/24 scope global eth0\       valid_lft forever preferred_lft forever"),
                           (":INPUT ACCEPT [10:640]", ":INPUT DROP [10:640]"), ("cni-1 (id: 3)", "cni-2 (id: 3)"),
                           ("10.244.1.0/24 dev cni0", "10.244.2.0/24 dev cni0")):
            self.assertNotEqual(without_counters(one), without_counters(other))

    def test_of_run_what_clusters_make(self):
        names = ("user", "weft-k8s-test", "weft-it-1", "kubelet.sock", "lock", "containerd", "systemd", "cni-1")
        self.assertEqual([name for name in names if of_a_cluster(name, "weft-k8s-test")], ["weft-k8s-test", "kubelet.sock", "containerd", "cni-1"])
        kept = mounts(["nsfs /run/netns/other nsfs rw 0 0", "nsfs /run/netns/cni-1 nsfs rw 0 0", "tmpfs /run/user/1000 tmpfs rw 0 0",
                       "tmpfs /run/weft-k8s-test/n1/root tmpfs rw 0 0", "tmpfs /var/lib/kubelet/pods/1 tmpfs rw 0 0"], "weft-k8s-test")
        self.assertEqual([line.split()[2] for line in kept], ["/run/netns/cni-1", "/run/weft-k8s-test/n1/root", "/var/lib/kubelet/pods/1"])


class Machines(unittest.TestCase):
    def test_only_names_of_clusters_are_removed(self):
        for name in ("", ".", "..", "weft-", "weft-k8s/../..", "weft-k8s\n", "docker", "system.slice", "Weft-k8s", "weft_k8s"):
            with mock.patch("shutil.rmtree") as rmtree, mock.patch.object(machine, "groups_below") as groups:
                self.assertRaises(machine.ClusterError, machine.remove, name)
                self.assertRaises(machine.ClusterError, Cluster, name)
                rmtree.assert_not_called()
                groups.assert_not_called()
        for name in ("weft-k8s", "weft-k8s-test", "weft-trial-12"):
            self.assertEqual(machine.checked_name(name), name)

    def test_a_container_that_keeps_its_controllers_is_named(self):
        # As the kernel answers: there are controllers, and they cannot be given on.
        with tempfile.TemporaryDirectory() as folder:
            with open(folder + "/cgroup.controllers", "w", encoding="ascii") as f:
                f.write("cpu memory\n")
            os.mkdir(folder + "/cgroup.subtree_control")
            with self.assertRaisesRegex(machine.ClusterError, folder):
                machine.enable_controllers(folder)

    def test_no_answer_in_time_is_not_yet(self):
        here = Cluster("weft-k8s-parts")
        with mock.patch.object(here, "command", return_value=["sleep", "30"]):
            self.assertFalse(here.try_kubectl(timeout=0.2))
            self.assertIn("no answer", here.try_output(timeout=0.2))


class FindGo(unittest.TestCase):
    """tools/go.sh with programs that stand in for Go."""

    def find(self, minimum, version, fetches=True):
        with tempfile.TemporaryDirectory() as folder:
            with open(folder + "/go", "w", encoding="ascii") as f:
                f.write(f"""#!/bin/sh
case "$1" in
  env) echo go{version} ;;
  version) {'exit 0' if fetches else 'echo "go: toolchain not available" >&2; exit 1'} ;;
esac
""")
            os.chmod(folder + "/go", 0o755)
            # Nothing that is really installed is found.
            script = f'source "{ROOT}/tools/go.sh"; GO_PLACES=(go); find_go {minimum}'
            out = subprocess.run(["bash", "-euc", script], text=True, capture_output=True, check=False, timeout=60,
                                 env={"PATH": folder + ":/usr/bin:/bin", "HOME": folder})
            return out.returncode, out.stdout.strip().removeprefix(folder + "/"), out.stderr.strip()

    def test_new_enough_is_taken_as_it_is(self):
        for version in ("1.26.0", "1.26.8", "1.27", "2.0"):
            self.assertEqual(self.find("1.26.0", version), (0, "go local", ""))

    def test_an_older_one_fetches(self):
        for version in ("1.21.0", "1.24.4", "1.25.10"):
            self.assertEqual(self.find("1.26.0", version), (0, "go go1.26.0", ""))

    def test_none_is_said(self):
        code, found, said = self.find("1.26.0", "1.19.8")
        self.assertEqual((code, found), (77, ""))
        self.assertIn("next: install", said)
        code, found, said = self.find("1.26.0", "1.24.0", fetches=False)
        self.assertEqual((code, found), (77, ""))
        self.assertIn("toolchain not available", said)


if __name__ == "__main__":
    unittest.main()
