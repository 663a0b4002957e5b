"""Idle clients of a gateway that ends TLS, for the Weft arms: the manifests of such a gateway, and connections that have made one request.
Used by measures.py."""
import http.client
import os
import socket
import ssl
import subprocess

import arms
import weft_manifests

HOST = "web.example.com"
START_SECONDS = 20
WARM = 16


def certificate(folder):
    """(certificate, key) in PEM, signed by itself."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj",
                    f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", folder + "/tls.key", "-out", folder + "/tls.crt"],
                   check=True, capture_output=True)
    texts = []
    for name in ("tls.crt", "tls.key"):
        with open(f"{folder}/{name}", encoding="ascii") as f:
            texts.append(f.read())
    return texts


def connect(port):
    """A connection that is encrypted and has had the answer to one request."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    client = context.wrap_socket(socket.create_connection(("127.0.0.1", port), 5), server_hostname=HOST)
    client.sendall(f"GET /b1k HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    answer = http.client.HTTPResponse(client)
    answer.begin()
    answer.read()
    if answer.status != 200:
        client.close()
        raise ConnectionError(f"{answer.status} {answer.reason}")
    return client


def first(arm, port):
    """The first connection, once the gateway is there."""
    problem = None
    for _ in range(START_SECONDS):
        try:
            return connect(port)
        except (OSError, http.client.HTTPException) as failed:
            problem = failed
        arm.world.pause(1)
    raise arms.Unavailable(f"{arm.name}: its gateway does not answer: {problem}")


def idle_memory(chosen, many, anonymous_kb):
    """{arm: KB per idle client connection with TLS}, beyond what a gateway has that served some. `anonymous_kb`: of a process, by its id."""
    cost = {}
    for arm in chosen:
        if not arm.gateway_flags:
            continue
        port = arms.free_port()
        path = arm.root + "/config/gateway.yaml"
        with open(path, "w", encoding="utf-8") as f:
            f.write(weft_manifests.tls_gateway(HOST, port, *certificate(arm.root)))
        clients = []
        try:
            clients.append(first(arm, port))
            clients += [connect(port) for _ in range(WARM)]
            before = anonymous_kb(arm.proxy.pid)
            clients += [connect(port) for _ in range(many)]
            cost[arm.name] = (anonymous_kb(arm.proxy.pid) - before) / many
        except OSError as failed:
            raise arms.Unavailable(f"{arm.name}: {len(clients)} of {many} connections were opened: {failed}") from failed
        finally:
            for client in clients:
                client.close()
            os.remove(path)
    return cost
