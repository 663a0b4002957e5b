#!/usr/bin/env python3
"""Alerts and the dashboard's queries are what Prometheus takes: its own promtool says so."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

import chart


def promtool():
    """Its path; None when it is not on this machine."""
    found = subprocess.run([chart.ROOT + "/tools/promtool"], text=True, capture_output=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else None


def check_rules(text):
    """(exit code, what was said)"""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        out = subprocess.run([promtool(), "check", "rules", file.name], text=True, capture_output=True, check=False)
    return out.returncode, out.stdout + out.stderr


def fires(alert, minutes, series):
    """Whether promtool finds the alert firing after so many minutes; `series`: names and values, one a minute."""
    rules = os.path.join(chart.CHART, "files", "alerts.yaml")
    case = {"rule_files": [rules], "evaluation_interval": "1m", "tests": [{
        "interval": "1m", "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [{"eval_time": f"{minutes}m", "alertname": alert, "exp_alerts": []}]}]}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(json.dumps(case))
        file.flush()
        out = subprocess.run([promtool(), "test", "rules", file.name], text=True, capture_output=True, check=False)
    said = out.stdout + out.stderr
    if out.returncode != 0 and f"alertname: {alert}" not in said:
        raise AssertionError(said)
    return out.returncode != 0


class RulesTest(unittest.TestCase):
    def test_alerts_are_rules(self):
        out = subprocess.run([promtool(), "check", "rules", os.path.join(chart.CHART, "files", "alerts.yaml")], text=True, capture_output=True,
                             check=False)
        self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
        count = sum(len(group["rules"]) for group in chart.alert_groups())
        self.assertIn(f"{count} rules found", out.stdout)

    def test_a_broken_alert_is_found(self):
        text = chart.read("helm/weft/files/alerts.yaml")
        code, said = check_rules(text.replace("weft_proxy_up == 0", "weft_proxy_up = 0"))
        self.assertNotEqual(code, 0)
        self.assertIn("WeftProxyDown", said)

    def test_the_first_replay_of_a_join_token_is_told(self):
        replayed = 'weft_control_joins_total{result="replayed"}'
        self.assertTrue(fires("WeftJoinTokenReplayed", 20, {replayed: "0x10 1x50"}))
        self.assertFalse(fires("WeftJoinTokenReplayed", 20, {replayed: "0x60"}))
        # So the counter is there before the first one.
        self.assertFalse(fires("WeftJoinTokenReplayed", 20, {replayed: "_x10 1x50"}))

    def test_queries_of_the_dashboard_are_promql(self):
        # Grafana puts something in the place of its variables; a duration stands where one must.
        rules = [{"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m").replace("$__range", "1h")}
                 for number, (_, expression) in enumerate(chart.queries())]
        code, said = check_rules(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
        self.assertEqual(code, 0, said)
        self.assertIn(f"{len(rules)} rules found", said)


if __name__ == "__main__":
    if promtool() is None:
        print("*** SKIPPED, NOTHING WAS TESTED: no promtool; next: tools/promtool --fetch ***")
        sys.exit(77)
    unittest.main()
