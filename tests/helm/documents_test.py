#!/usr/bin/env python3
"""What the chart says of itself: its schema refuses what means nothing, and README, docs and notes tell what is there."""
import re
import sys
import unittest

import chart
import yaml

GATEWAY = ("--set", "agent.gateway.address=0.0.0.0")


def backticked(table, column):
    """First name in backticks of a column of a README table under a heading."""
    text = chart.read("helm/weft/README.md")
    section = text.split(f"## {table}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| ")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row[column])]


class SchemaTest(unittest.TestCase):
    # What is given, and the words that must be in what Helm says.
    REFUSED = [
        ("agent.metricAddress=x", ["agent", "metricAddress"]),
        ("agent.cni.confDir=net.d", ["confDir"]),
        ("proxy.workers=0", ["proxy", "workers", "1"]),
        ("proxy.workers=32", ["workers", "31"]),
        ("proxy.maxSurge=0", ["maxSurge"]),
        ("agent.maxUnavailable=none", ["maxUnavailable"]),
        ("proxy.accessLog=/tmp/x", ["accessLog"]),
        ("agent.cgroup=/proc", ["cgroup"]),
        ("agent.pinRoot=/tmp/pins", ["pinRoot"]),
        ("agent.metricsAddress=15020", ["metricsAddress"]),
        ("agent.image.digest=sha256:beef", ["digest"]),
        ("proxy.image.repository=", ["repository"]),
        ("proxy.resources.limits.memory=much", ["memory"]),
        ("logLevel=verbose", ["logLevel", "debug"]),
        ("agent.appArmorProfile=None", ["appArmorProfile"]),
        ("networkPolicy.enabled=maybe", ["networkPolicy", "enabled"]),
        ("control.replicas=0", ["control", "replicas", "1"]),
        ("control.clusterIP=weft-control.svc", ["clusterIP"]),
        ("control.revocations.configMapName=", ["configMapName"]),
        ("control.enable=true", ["control", "enable"]),
        ("control.gatewayAddresses={edge.example}", ["gatewayAddresses"]),
        ("control.gatewayNodes={*}", ["gatewayNodes"]),
        ("agent.shortcut=maybe", ["agent", "shortcut"]),
        ("agent.certificateFolders={certs}", ["certificateFolders"]),
        ("certificates.shop={}", ["certificates", "shop"]),
        ("certificates.shop={*}", ["certificates", "shop"]),
        ("certificates=edge-cert", ["certificates"]),
        ("control.join.serviceType=ExternalName", ["join", "serviceType"]),
        ("control.join.names={a b}", ["join", "names"]),
        ("control.join.dir=/tmp", ["join", "dir"]),
        ("control.tunnels=all", ["tunnels"]),
        ("agent.authority.istiod.address=istiod", ["istiod", "address"]),
        ("priviliged=true", ["priviliged"]),
    ]

    def test_values_that_mean_nothing_are_refused_by_name(self):
        for given, words in self.REFUSED:
            with self.subTest(given=given):
                out = chart.run_helm("template", "weft", chart.CHART, "--set", given)
                self.assertNotEqual(out.returncode, 0)
                for word in words:
                    self.assertIn(word, out.stderr)

    def test_every_value_has_a_description_and_every_description_a_value(self):
        described = dict(chart.described(chart.schema()))
        for path, node in described.items():
            self.assertGreater(len(node.get("description", "")), 8, path)
        given = {path for path, _ in chart.leaves(yaml.safe_load(chart.read("helm/weft/values.yaml")))}
        # Maps of the operator's have names of their own.
        open_maps = {path for path, node in described.items() if node.get("additionalProperties") is not False and node.get("type") == "object"}
        for path in given:
            self.assertTrue(path in described or any(path.startswith(m + ".") for m in open_maps), path)
        no_default = {path for path, node in described.items() if "properties" not in node and path not in given and
                      not any(g.startswith(path + ".") for g in given)}
        self.assertEqual(no_default, {"global"})

    def test_the_readme_lists_every_value(self):
        listed = backticked("Values", 1)
        wanted = [path for path, node in chart.described(chart.schema()) if "properties" not in node and path != "global"]
        self.assertEqual(sorted(listed), sorted(wanted))


class DocumentsTest(unittest.TestCase):
    def test_the_readme_says_why_each_capability_and_mount_is_there(self):
        objects = chart.render(*GATEWAY)
        granted = {name: chart.container(objects, name)["securityContext"]["capabilities"]["add"] for name in ("weft-agent", "weft-proxy")}
        self.assertEqual(sorted(backticked("Capabilities", 2)), sorted(granted["weft-agent"] + granted["weft-proxy"]))
        mounts = [m["mountPath"] for name in granted for m in chart.container(objects, name)["volumeMounts"]]
        self.assertEqual(sorted(backticked("What of the node is mounted", 2)), sorted(mounts))

    def test_docs_kubernetes_grants_the_same(self):
        text = chart.read("docs/kubernetes.md")
        roles = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(apiVersion: rbac.*?)```", text, re.S)]
        role = chart.one(roles, "ClusterRole", "weft-agent")
        self.assertEqual(chart.rule_pairs(role), chart.rule_pairs(chart.one(chart.render(), "ClusterRole", "weft-agent")))

    def test_notes_tell_three_commands(self):
        out = chart.run_helm("install", "weft", chart.CHART, "--namespace", "mesh", "--dry-run=client")
        self.assertEqual(out.returncode, 0, out.stderr)
        notes = out.stdout.split("NOTES:", 1)[1]
        commands = [line for line in notes.split("Next:", 1)[1].split("\n\n")[0].splitlines() if line.startswith("  ")]
        self.assertEqual(len(commands), 3)
        self.assertIn("namespace mesh", notes)
        self.assertIn("agent.authority.secretName", notes)


if __name__ == "__main__":
    if chart.helm() is None:
        print("*** SKIPPED, NOTHING WAS TESTED: no Helm; next: tools/helm --build ***")
        sys.exit(77)
    unittest.main()
