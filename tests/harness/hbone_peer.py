#!/usr/bin/python3
"""A peer of HBONE that nobody here wrote the protocol of: Python's ssl and the package h2. Used by hbone_test.cc.

  hbone_peer.py call   CERT KEY ROOTS HOST:PORT AUTHORITY EXPECTED-ID REQUEST
  hbone_peer.py serve  CERT KEY ROOTS EXPECTED-ID ANSWER

`call` opens a tunnel to AUTHORITY by way of HOST:15008, sends REQUEST (with \\r and \\n written out) and prints the status,
then what came back. `serve` listens on 15008, takes tunnels, prints who asked for what, reads up to an
empty line and sends ANSWER."""
import socket
import ssl
import sys
import threading

import h2.config
import h2.connection
import h2.events


def identity_of(connection):
    names = connection.getpeercert().get("subjectAltName", ())
    return [value for kind, value in names if kind == "URI"]


def context_for(purpose, cert, key, roots):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if purpose == "server" else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(roots)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["h2"])
    return context


class Tunnel:
    """One HTTP/2 connection on which one CONNECT stream is open at a time."""

    def __init__(self, sock, client):
        self.sock = sock
        # The package knows no CONNECT without :path, which RFC 9113 8.5 demands: it must not look at heads.
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=client, header_encoding="utf-8", validate_outbound_headers=False, validate_inbound_headers=False))
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.sock.sendall(data)

    def events(self):
        data = self.sock.recv(65536)
        if not data:
            return None
        found = self.h2.receive_data(data)
        for event in found:
            if isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self.flush()
        return found


def call(cert, key, roots, target, authority, expected, request):
    host, port = target.rsplit(":", 1)
    raw = socket.create_connection((host, int(port)), timeout=10)
    sock = context_for("client", cert, key, roots).wrap_socket(raw)
    if expected not in identity_of(sock):
        sys.exit(f"the server is {identity_of(sock)}")
    tunnel = Tunnel(sock, True)
    stream = tunnel.h2.get_next_available_stream_id()
    tunnel.h2.send_headers(stream, [(":method", "CONNECT"), (":authority", authority)])
    tunnel.flush()
    body = b""
    while True:
        events = tunnel.events()
        if events is None:
            break
        ended = False
        for event in events:
            if isinstance(event, h2.events.ResponseReceived):
                status = dict(event.headers)[":status"]
                print("status", status, flush=True)
                if status == "200":
                    tunnel.h2.send_data(stream, request.encode().decode("unicode_escape").encode())
                    tunnel.flush()
            elif isinstance(event, h2.events.DataReceived):
                body += event.data
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset, h2.events.ConnectionTerminated)):
                ended = True
        if ended:
            break
    print(body.decode(errors="replace"))


def serve(cert, key, roots, expected, answer):
    context = context_for("server", cert, key, roots)
    listener = socket.create_server(("", 15008), backlog=16)
    print("listening", flush=True)
    while True:
        raw, _ = listener.accept()
        try:
            sock = context.wrap_socket(raw, server_side=True)
        except (ssl.SSLError, OSError) as error:
            print("refused", error, flush=True)
            continue
        print("caller", ",".join(identity_of(sock)), flush=True)
        if expected not in identity_of(sock):
            sock.close()
            continue
        # A connection that its caller keeps must not hold up the next one.
        threading.Thread(target=serve_connection, args=(sock, answer), daemon=True).start()


def serve_connection(sock, answer):
    with sock:
        serve_tunnels(Tunnel(sock, False), answer)


def serve_tunnels(tunnel, answer):
    asked = {}
    while True:
        try:
            events = tunnel.events()
        except OSError:
            return
        if events is None:
            return
        for event in events:
            if isinstance(event, h2.events.RequestReceived):
                head = dict(event.headers)
                print(head[":method"], head[":authority"], flush=True)
                asked[event.stream_id] = b""
                tunnel.h2.send_headers(event.stream_id, [(":status", "200")])
            elif isinstance(event, h2.events.DataReceived):
                asked[event.stream_id] += event.data
                if b"\r\n\r\n" in asked[event.stream_id]:
                    tunnel.h2.send_data(event.stream_id, answer.encode().decode("unicode_escape").encode())
                    asked[event.stream_id] = b""
            elif isinstance(event, h2.events.ConnectionTerminated):
                return
        tunnel.flush()


if __name__ == "__main__":
    {"call": call, "serve": serve}[sys.argv[1]](*sys.argv[2:])
