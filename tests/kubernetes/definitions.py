"""The resource definitions that a cluster of users has from Istio, the Gateway API and the Prometheus operator: without a schema, because Weft's
own checks are what is tested, and with the status subresource, which their writers need."""
import json

# Group -> (scope, [versions, the stored one first], kinds with their plurals).
KINDS = (
    ("networking.istio.io", "Namespaced", ("v1", "v1beta1"), {"VirtualService": "virtualservices", "DestinationRule": "destinationrules"}),
    ("security.istio.io", "Namespaced", ("v1", "v1beta1"), {"AuthorizationPolicy": "authorizationpolicies"}),
    ("gateway.networking.k8s.io", "Namespaced", ("v1",), {"Gateway": "gateways", "HTTPRoute": "httproutes"}),
    ("gateway.networking.k8s.io", "Cluster", ("v1",), {"GatewayClass": "gatewayclasses"}),
    ("monitoring.coreos.com", "Namespaced", ("v1",), {"ServiceMonitor": "servicemonitors", "PrometheusRule": "prometheusrules"}),
)


def definition(group, scope, versions, kind, plural):
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    # Groups of Kubernetes' own domain are for those whom it approved, or who say that they were not asked for.
    protected = {"api-approved.kubernetes.io": "unapproved, stands in for the real one in a test"} if group.endswith(".k8s.io") else {}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}", "annotations": protected},
            "spec": {"group": group, "scope": scope,
                     "names": {"kind": kind, "listKind": kind + "List", "plural": plural, "singular": kind.lower()},
                     "versions": [{"name": version, "served": True, "storage": version == versions[0], "schema": schema,
                                   "subresources": {"status": {}}} for version in versions]}}


def names():
    return [f"{plural}.{group}" for group, _, _, kinds in KINDS for plural in kinds.values()]


def manifest():
    """All of them, as `kubectl apply` takes them."""
    return json.dumps({"apiVersion": "v1", "kind": "List",
                       "items": [definition(group, scope, versions, kind, plural) for group, scope, versions, kinds in KINDS
                                 for kind, plural in kinds.items()]})
