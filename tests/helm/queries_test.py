#!/usr/bin/env python3
"""Alerts and dashboard ask for what exists: every metric and label is one of docs/metrics.md or of the proxy's own list."""
import re
import unittest

import chart

# Given by Prometheus and by the ServiceMonitor's relabelling, not by the agent.
TARGET_LABELS = {"job", "instance", "node", "le", "__name__"}
SERIES = re.compile(r"\b(weft_\w+|up)\b(?:\s*\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')
BY = re.compile(r"\b(?:by|without|ignoring|on|group_left|group_right)\s*\(([^)]*)\)")
KEYWORDS = {"and", "or", "unless", "by", "without", "ignoring", "on", "group_left", "group_right", "bool", "offset"}
FUNCTIONS = {"sum", "rate", "time", "topk", "histogram_quantile", "max", "min", "count", "increase"}


def base(name, metrics):
    """The metric whose series this is, None when there is none."""
    if name in metrics and metrics[name][0] != "histogram":
        return name
    for suffix in ("_bucket", "_sum", "_count"):
        if name.endswith(suffix) and metrics.get(name[:-len(suffix)], ("", ()))[0] == "histogram":
            return name[:-len(suffix)]
    return None


def problems_of(expression, metrics):
    problems = []
    known = set(TARGET_LABELS)
    for name, matchers in SERIES.findall(expression):
        if name == "up":
            continue
        metric = base(name, metrics)
        if metric is None:
            problems.append(f"there is no metric {name}")
            continue
        kind, labels = metrics[metric]
        known |= labels
        rest = MATCHER.sub("", matchers).replace(",", "").strip()
        if rest:
            problems.append(f"{name}: {rest!r} is no matcher")
        problems += [f"{name} has no label {label}" for label, _, _ in MATCHER.findall(matchers)
                     if label not in labels | TARGET_LABELS]
        counted = re.search(r"(?:rate|increase)\(\s*" + name + r"\b", expression)
        if kind == "gauge" and counted:
            problems.append(f"{name} is a gauge; a rate of it means nothing")
        if kind != "gauge" and not counted:
            problems.append(f"{name} only grows; ask for its rate")
    for names in BY.findall(expression):
        problems += [f"no metric of the query has label {label}" for label in re.findall(r"\w+", names) if label not in known]
    bare = re.sub(r"\[[^\]]*\]", "", BY.sub("", MATCHER.sub("", SERIES.sub("", expression))))
    problems += [f"unknown word {word}" for word in re.findall(r"\b[a-z_]+\b", bare) if word not in KEYWORDS | FUNCTIONS]
    for opening, closing in ("()", "{}", "[]"):
        if expression.count(opening) != expression.count(closing):
            problems.append(f"{opening} and {closing} do not match")
    return problems


class QueriesTest(unittest.TestCase):
    def test_every_query_names_metrics_and_labels_that_exist(self):
        metrics = chart.documented_metrics()
        asked = list(chart.queries())
        self.assertGreater(len(asked), 20)
        for where, expression in asked:
            with self.subTest(where=where):
                self.assertEqual(problems_of(expression, metrics), [])

    def test_what_does_not_exist_is_found(self):
        metrics = chart.documented_metrics()
        for expression in ("rate(weft_request_total[5m])", "sum by (pod) (rate(weft_requests_total[5m]))",
                           'rate(weft_requests_total{status="500"}[5m])', "rate(weft_config_rejected[5m]) > 0",
                           "weft_requests_total > 5", "sum(rate(weft_requests_total[5m])", "summ(weft_config_rejected)",
                           "weft_request_duration_seconds"):
            self.assertNotEqual(problems_of(expression, metrics), [], expression)

    def test_the_proxys_own_metrics_are_found_in_its_code(self):
        metrics = chart.documented_metrics()
        self.assertEqual(metrics["weft_proxy_buffered_bytes"], ("gauge", set()))
        self.assertEqual(metrics["weft_proxy_shed_requests_total"], ("counter", set()))
        self.assertEqual(metrics["weft_proxy_ejections_total"], ("counter", set()))

    def test_alert_events_and_causes_are_documented(self):
        values = set(re.findall(r"^\| `(\w+)` \|", chart.read("docs/metrics.md"), re.M))
        for where, expression in chart.queries():
            for label, _, value in MATCHER.findall(expression):
                if label in ("event", "cause"):
                    with self.subTest(where=where):
                        self.assertLessEqual(set(value.split("|")), values)

    def test_values_of_other_labels_are_those_that_are_counted(self):
        known = {"outcome": set(re.findall(r"^\| `(\w+)` \|", chart.read("docs/outcomes.md"), re.M)),
                 "result": set(re.findall(r'(?:refuse|count)\("(\w+)"', chart.read("control-plane/join/join_desk.cc")))}
        self.assertLessEqual({"joined", "replayed"}, known["result"])
        for where, expression in chart.queries():
            for label, _, value in MATCHER.findall(expression):
                if label in known:
                    with self.subTest(where=where):
                        self.assertLessEqual(set(value.split("|")), known[label])

    def test_the_dashboard_has_what_identity_counts(self):
        asked = " ".join(target["expr"] for panel in chart.dashboard()["panels"] for target in panel.get("targets", []))
        for name in ("weft_tunnels_total", "weft_tunnel_received_bytes_total", "weft_tunnel_sent_bytes_total", "weft_control_joins_total",
                     "weft_certificates_issued_total", "weft_certificates_refused_total", "weft_certificate_first_expiry_timestamp_seconds"):
            self.assertRegex(asked, rf"\b{name}\b")

    def test_every_alert_says_how_bad_it_is_what_it_means_and_what_to_type(self):
        for group in chart.alert_groups():
            for rule in group["rules"]:
                with self.subTest(alert=rule["alert"]):
                    self.assertIn(rule["labels"]["severity"], ("warning", "critical"))
                    self.assertEqual(set(rule["annotations"]), {"summary", "description", "next"})
                    self.assertRegex(rule["for"], r"^\d+m$")
                    named = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
                    kept = {label for names in BY.findall(rule["expr"]) for label in re.findall(r"\w+", names)}
                    if kept:
                        self.assertLessEqual(named, kept)

    def test_panels_do_not_overlap_and_have_their_own_ids(self):
        panels = chart.dashboard()["panels"]
        ids = [panel["id"] for panel in panels]
        self.assertEqual(len(ids), len(set(ids)))
        cells = set()
        for panel in panels:
            at = panel["gridPos"]
            mine = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            self.assertFalse(cells & mine, panel["title"])
            cells |= mine


if __name__ == "__main__":
    unittest.main()
