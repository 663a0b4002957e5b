"""Configuration texts of the upstream and of the rivals: one worker, access logs off, connections kept alive on both sides, limits
out of the way, nothing that the others do not do too. Used by arms.py."""
import json

# What every proxy of a run listens on in its pod, and what the upstream serves.
H1_PORT, H2_TO_H1_PORT, H2_TO_H2_PORT = 8000, 8001, 8002
UPSTREAM_H1_PORT, UPSTREAM_H2_PORT = 8080, 8081
# Path -> bytes of the body.
BODIES = {"/b0": 0, "/b1k": 1024, "/b64k": 65536, "/b1m": 1048576}
GRPC_PATH = "/bench.Echo/Call"
# Of each process; bench.py raises it as far as it may.
descriptors = 20000


def connections():
    """What a proxy can serve with one descriptor on each side and some to spare."""
    return descriptors // 2 - 300


def temporary_paths(root):
    return "".join(f"{kind}_temp_path {root}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))


def nginx_frame(root, http):
    return f"""daemon off; master_process off; user root; pid {root}/pid; error_log stderr crit;
worker_rlimit_nofile {descriptors};
events {{ worker_connections {descriptors}; }}
http {{
  access_log off; tcp_nodelay on; sendfile on; client_max_body_size 0;
  keepalive_requests 1000000000; keepalive_timeout 2h; http2_max_concurrent_streams 256;
  {temporary_paths(root)}
{http}
}}
"""


def upstream(root):
    """nginx as the service: fixed bodies over HTTP/1.1 and HTTP/2, and a gRPC answer of one message with trailers."""
    for path, size in BODIES.items():
        with open(root + path, "wb") as f:
            f.write(b"x" * size)
    with open(root + "/grpc", "wb") as f:
        f.write(b"\0" + (100).to_bytes(4, "big") + b"g" * 100)
    small = "".join(f'    location = {path} {{ return 200 "{"x" * BODIES[path]}"; }}\n' for path in ("/b0", "/b1k"))
    # A file answers no POST; the error page of the 405 does.
    grpc = f"""    location = {GRPC_PATH} {{ default_type application/grpc; error_page 405 =200 /grpc; return 405; }}
    location = /grpc {{ default_type application/grpc; add_trailer grpc-status 0; }}
"""
    return nginx_frame(root, f"""  server {{ listen {UPSTREAM_H1_PORT} backlog=4096; root {root};
{small}  }}
  server {{ listen {UPSTREAM_H2_PORT} http2 backlog=4096; root {root};
{small}{grpc}  }}
""")


def nginx(root, upstream_address):
    return nginx_frame(root, f"""  upstream h1 {{ server {upstream_address}:{UPSTREAM_H1_PORT}; keepalive 1024;
    keepalive_requests 1000000000; keepalive_timeout 2h; }}
  upstream h2 {{ server {upstream_address}:{UPSTREAM_H2_PORT}; keepalive 1024;
    keepalive_requests 1000000000; keepalive_timeout 2h; }}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; proxy_max_temp_file_size 0;
  server {{ listen {H1_PORT} backlog=4096; location / {{ proxy_pass http://h1; }} }}
  server {{ listen {H2_TO_H1_PORT} http2 backlog=4096; location / {{ proxy_pass http://h1; }} }}
  server {{ listen {H2_TO_H2_PORT} http2 backlog=4096; location / {{ grpc_pass grpc://h2; }} }}
""")


def haproxy(upstream_address):
    return f"""global
  nbthread 1
  maxconn {connections()}
  tune.h2.max-concurrent-streams 256
defaults
  mode http
  timeout connect 10s
  timeout client 2h
  timeout server 2h
  timeout http-keep-alive 2h
  http-reuse always
  backlog 4096
frontend h1
  bind *:{H1_PORT}
  default_backend h1
frontend h2_to_h1
  bind *:{H2_TO_H1_PORT} proto h2
  default_backend h1
frontend h2_to_h2
  bind *:{H2_TO_H2_PORT} proto h2
  default_backend h2
backend h1
  server s {upstream_address}:{UPSTREAM_H1_PORT} pool-max-conn -1 pool-purge-delay 2h
backend h2
  server s {upstream_address}:{UPSTREAM_H2_PORT} proto h2 pool-max-conn -1 pool-purge-delay 2h
"""


def envoy_listener(port, codec, cluster):
    return {
        "name": f"on_{port}",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": port}},
        "tcp_backlog_size": 4096,
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": f"on_{port}", "codec_type": codec, "stream_idle_timeout": "0s",
                "common_http_protocol_options": {"idle_timeout": "7200s"},
                "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
                "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                    {"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "0s"}}]}]},
            }}]}],
    }


def envoy_cluster(name, address, port, options):
    thresholds = {kind: 1000000 for kind in ("max_connections", "max_pending_requests", "max_requests")}
    return {
        "name": name, "type": "STATIC", "connect_timeout": "10s", "circuit_breakers": {"thresholds": [thresholds]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {
            "socket_address": {"address": address, "port_value": port}}}}]}]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "common_http_protocol_options": {"idle_timeout": "7200s"},
            "explicit_http_config": {options: {}}}},
    }


def envoy(upstream_address):
    return json.dumps({"static_resources": {
        "listeners": [envoy_listener(H1_PORT, "HTTP1", "h1"), envoy_listener(H2_TO_H1_PORT, "HTTP2", "h1"),
                      envoy_listener(H2_TO_H2_PORT, "HTTP2", "h2")],
        "clusters": [envoy_cluster("h1", upstream_address, UPSTREAM_H1_PORT, "http_protocol_options"),
                     envoy_cluster("h2", upstream_address, UPSTREAM_H2_PORT, "http2_protocol_options")],
    }})
