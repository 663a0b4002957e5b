"""The mesh of a Weft arm as manifests: the enrolled client pod, the service with its pod, a route; a gateway. Used by arms.py and
tls_clients.py."""
import json

import configs

SERVICE_IP = "10.97.0.10"
# Ports of the service: the name says what its pods speak, as in Istio.
H1_SERVICE_PORT, H2_SERVICE_PORT = 80, 81


def pod(name, address, node, labels, netns=None, shortcut=False):
    annotations = [f"weft.dev/netns: /run/netns/{netns}"] if netns else []
    annotations += ["weft.dev/shortcut: enabled"] if shortcut else []
    annotation = f"  annotations: {{{', '.join(annotations)}}}\n" if annotations else ""
    return (f"---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: default\n{annotation}"
            f"  labels: {{{', '.join(f'{k}: {v}' for k, v in labels.items())}}}\n"
            f"spec:\n  nodeName: node{node}\n  serviceAccountName: default\n"
            f"status:\n  phase: Running\n  podIP: {address}\n  podIPs:\n  - ip: {address}\n"
            "  conditions:\n  - type: Ready\n    status: \"True\"\n")


def mesh(client_netns, client_address, upstream_address, upstream_netns=None):
    """`upstream_netns`: the upstream is captured too, and both pods take the shortcut."""
    shortcut = upstream_netns is not None
    captured = {"weft.dev/mesh": "enabled"}
    return (pod(client_netns, client_address, 1, {"app": "client", **captured}, client_netns, shortcut)
            + pod("upstream", upstream_address, 1, {"app": "web", **(captured if shortcut else {})}, upstream_netns, shortcut)
            + f"""---
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: default
spec:
  clusterIP: {SERVICE_IP}
  clusterIPs:
  - {SERVICE_IP}
  selector:
    app: web
  ports:
  - name: http
    port: {H1_SERVICE_PORT}
    targetPort: {configs.UPSTREAM_H1_PORT}
  - name: grpc
    port: {H2_SERVICE_PORT}
    targetPort: {configs.UPSTREAM_H2_PORT}
---
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata:
  name: web
spec:
  hosts:
  - web
  http:
  - route:
    - destination:
        host: web
""")


def tls_gateway(host, port, certificate, key):
    """A gateway at `port` that ends TLS and answers by itself: what a client holds is measured, and no upstream with it."""
    text = json.dumps({"tls.crt": certificate, "tls.key": key})
    return f"""apiVersion: v1
kind: Secret
metadata:
  name: edge-certificate
type: kubernetes.io/tls
stringData: {text}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  name: edge
spec:
  servers:
  - port:
      number: {port}
      name: https
      protocol: HTTPS
    hosts:
    - {host}
    tls:
      mode: SIMPLE
      credentialName: edge-certificate
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: edge
spec:
  hosts:
  - {host}
  gateways:
  - edge
  http:
  - directResponse:
      status: 200
      body:
        string: {'x' * 1024}
"""
