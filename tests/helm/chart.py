"""The chart helm/weft as its tests see it: rendered by Helm, its schema, its queries. Imported by the tests of this folder."""
import functools
import json
import os
import re
import subprocess

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHART = os.path.join(ROOT, "helm", "weft")


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


@functools.cache
def helm():
    """Its path; None when it is not on this machine."""
    found = subprocess.run([os.path.join(ROOT, "tools", "helm")], text=True, capture_output=True)
    return found.stdout.strip() if found.returncode == 0 else None


def run_helm(*arguments):
    environment = dict(os.environ, HELM_NO_PLUGINS="1", KUBECONFIG="/dev/null")
    return subprocess.run([helm(), *arguments], text=True, capture_output=True, timeout=120, env=environment)


def values_files():
    return sorted(name for name in os.listdir(CHART) if re.fullmatch(r"values(-\w+)?\.yaml", name))


@functools.cache
def render(*arguments):
    """What `helm template` makes of it, as objects; arguments as Helm's own."""
    out = run_helm("template", "weft", CHART, "--namespace", "weft-system", *arguments)
    if out.returncode != 0:
        raise AssertionError(out.stderr)
    return [document for document in yaml.safe_load_all(out.stdout) if document]


def template(name, *arguments, **values):
    """The objects of one template, with these values over those of the file."""
    out = run_helm("template", "weft", CHART, "--namespace", "weft-system", "--show-only", f"templates/{name}", *arguments,
                   *(part for key, value in values.items() for part in ("--set-json", f"{key}={json.dumps(value)}")))
    if out.returncode != 0:
        raise AssertionError(out.stderr)
    return [document for document in yaml.safe_load_all(out.stdout) if document]


def one(objects, kind, name):
    found = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def rule_pairs(role):
    """{(group, resource): verbs} of a Role or ClusterRole"""
    return {(group, resource): sorted(rule["verbs"]) for rule in role["rules"] for group in rule["apiGroups"]
            for resource in rule["resources"]}


def workload(objects, name):
    """The DaemonSet or Deployment of that name."""
    return one(objects, "Deployment" if name == "weft-control" else "DaemonSet", name)


def container(objects, name):
    (only,) = workload(objects, name)["spec"]["template"]["spec"]["containers"]
    return only


def controlled(objects):
    """Whether weft-control is among them."""
    return any(o["kind"] == "Deployment" for o in objects)


def writes_status(objects):
    return controlled(objects) and "--status-lease=weft-system/weft-control" in container(objects, "weft-control")["args"]


def agent_kinds():
    """What the agent's code lists and watches: (group, plural), from control-plane/kubernetes/kinds.cc."""
    text = read("control-plane/kubernetes/kinds.cc")
    constants = dict(re.findall(r'constexpr Text (k\w+) =\s*"([^"]*)"', text))
    table = text[text.index("kKinds = {{"):]
    rows = re.findall(r'\{"\w+", "\w+", (k\w+|"[^"]*"), k\w+, "(\w+)"', table)
    declared = int(re.search(r"std::array<KubernetesKind, (\d+)> kKinds", text).group(1))
    assert len(rows) == declared, f"{len(rows)} rows were understood, the table has {declared}"
    return {(constants[group] if group in constants else group.strip('"'), plural) for group, plural in rows}


def mesh_config_name():
    """The one ConfigMap that the agent's code asks for by its name, in whatever namespace."""
    text = read("control-plane/kubernetes/kinds.cc")
    selector = re.search(r'"configmaps",\s*\.selector = "fieldSelector=metadata\.name%3D(\w+)"', text)
    assert selector, "the selector of ConfigMaps was not understood"
    return selector.group(1)


def status_kinds():
    """The kinds of whose objects weft-control writes the status: (group, plural). Istio's, by has_status() of object_messages.cc;
    those of the Gateway API are in a role of their own."""
    assert "kind.is_of_istio() ||" in read("control-plane/status/object_messages.cc")
    return {(group, plural) for group, plural in agent_kinds() if group.endswith("istio.io")}


def documented_metrics():
    """Name -> (type, labels), from docs/metrics.md, and what the proxy and weft-control say about themselves, from their code."""
    metrics = {}
    for name, kind, labels in re.findall(r"^\| `(weft_\w+)` \| (\w+) \| ([\w, ]*?) *\|", read("docs/metrics.md"), re.M):
        metrics[name] = (kind, {label.strip() for label in labels.split(",") if label.strip()})
    for list_name, name in re.findall(r'(gauges|counters)\(?\)?\)?\["(weft_proxy_\w+)"\]', read("userspace-proxy/metrics.cc")):
        metrics.setdefault(name, (list_name[:-1], set()))
    for name, kind, labels in re.findall(r'(?:single\(out, |out\.family\()"(weft_control_\w+)", "(\w+)"(?:[^;]*;\s*for [^;]*\{\{"(\w+)")?',
                                         read("control-plane/serve/control_metrics.cc")):
        metrics[name] = (kind, {labels} - {""})
    return metrics


def alert_groups():
    return yaml.safe_load(read("helm/weft/files/alerts.yaml"))["groups"]


def dashboard():
    return json.loads(read("helm/weft/files/dashboard.json"))


def queries():
    """(where, PromQL) of every alert and panel."""
    for group in alert_groups():
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield f"panel {panel['title']}", target["expr"]


def schema():
    return json.loads(read("helm/weft/values.schema.json"))


def described(node, path=""):
    """(path, schema) of everything that the schema names, depth first."""
    for name, child in node.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        yield here, child
        yield from described(child, here)


def leaves(value, path=""):
    for name, child in value.items():
        here = f"{path}.{name}" if path else name
        if isinstance(child, dict) and child:
            yield from leaves(child, here)
        else:
            yield here, child
