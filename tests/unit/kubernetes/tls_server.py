#!/usr/bin/python3
"""An API server that nobody here wrote the protocol of: Python's ssl and the package h2. Used by tls_test.cc.

  tls_server.py FOLDER

Makes an authority (ca.pem), a certificate for 127.0.0.1, one for a client (client.pem, client.key), one that follows it (rotated.pem,
rotated.key) and an authority that signed nothing here (other.pem) in FOLDER with openssl(1), then serves streamed lists of core kinds over HTTP/2 to clients that show the certificate. Prints "port N", then a line for each
request: number of the connection, path, whether a token came, common name of the client. A line on standard input is a new
version of the Service shop/web with that port, told to every watch of services; "end" ends these; its end ends the server."""
import json
import os
import socket
import ssl
import subprocess
import sys
import threading

import h2.config
import h2.connection
import h2.events

CORE = {"/api/v1/namespaces", "/api/v1/nodes", "/api/v1/pods", "/api/v1/services",
        "/apis/discovery.k8s.io/v1/endpointslices"}


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_certificates(folder):
    os.chdir(folder)
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test-authority", "-days", "1")
    openssl("req", "-x509", *new, "-keyout", "other.key", "-out", "other.pem", "-subj", "/CN=other-authority", "-days", "1")
    for name, extension in (("server", "subjectAltName=IP:127.0.0.1"), ("client", "extendedKeyUsage=clientAuth"),
                            ("rotated", "extendedKeyUsage=clientAuth")):
        openssl("req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN=test-{name}")
        with open(f"{name}.ext", "w") as file:
            file.write(extension + "\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1",
                "-extfile", f"{name}.ext", "-out", f"{name}.pem")


def line(kind, thing):
    return json.dumps({"type": kind, "object": thing}).encode() + b"\n"


def service(port, version):
    return {"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "namespace": "shop", "resourceVersion": str(version)},
            "spec": {"clusterIP": "10.0.0.1", "ports": [{"port": port}]}}


class Connection:
    def __init__(self, sock, number):
        self.sock, self.number = sock, number
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.lock = threading.Lock()
        self.watches = []
        subject = dict(pair[0] for pair in sock.getpeercert()["subject"])
        self.client = subject["commonName"]

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def request(self, stream, headers):
        path = headers[b":path"].decode()
        token = "token" if b"authorization" in headers else "no-token"
        print("request", self.number, path, token, self.client, flush=True)
        path = path.split("?")[0]
        head = [(":status", "200" if path in CORE else "404"), ("content-type", "application/json")]
        self.h2.send_headers(stream, head, end_stream=path not in CORE)
        if path not in CORE:
            return
        if path == "/api/v1/services":
            self.watches.append(stream)
            self.h2.send_data(stream, line("ADDED", service(80, 1)))
        end = {"metadata": {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}}
        self.h2.send_data(stream, line("BOOKMARK", end))

    def tell(self, port, version):
        with self.lock:
            for stream in self.watches:
                self.h2.send_data(stream, line("MODIFIED", service(port, version)))
            self.flush()

    def end_watches(self):
        with self.lock:
            for stream in self.watches:
                self.h2.end_stream(stream)
            self.watches.clear()
            self.flush()

    def serve(self):
        with self.lock:
            self.h2.initiate_connection()
            self.flush()
        while data := self.sock.recv(65536):
            with self.lock:
                for event in self.h2.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        self.request(event.stream_id, dict(event.headers))
                    elif isinstance(event, h2.events.StreamReset) and event.stream_id in self.watches:
                        self.watches.remove(event.stream_id)
                self.flush()


def serve_all(listener, context, connections):
    while True:
        plain, _ = listener.accept()
        try:
            connection = Connection(context.wrap_socket(plain, server_side=True), len(connections) + 1)
        except (ssl.SSLError, OSError):
            plain.close()
            continue
        connections.append(connection)
        threading.Thread(target=connection.serve, daemon=True).start()


def main():
    make_certificates(sys.argv[1])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("server.pem", "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations("ca.pem")
    context.set_alpn_protocols(["h2"])
    listener = socket.create_server(("127.0.0.1", 0))
    connections = []
    threading.Thread(target=serve_all, args=(listener, context, connections), daemon=True).start()
    print("port", listener.getsockname()[1], flush=True)
    for version, text in enumerate(sys.stdin, 2):
        for connection in list(connections):
            if text.strip() == "end":
                connection.end_watches()
            else:
                connection.tell(int(text), version)


main()
