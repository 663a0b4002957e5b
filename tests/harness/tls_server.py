#!/usr/bin/python3
"""A TLS server that nobody here wrote: Python's ssl. Used by origination_test.cc.

  tls_server.py PORT CERT KEY [CLIENT-CA]

Answers each HTTP/1.1 request with what it saw: the server name, the client's certificate (CLIENT-CA: one is required), the protocol
of ALPN and the version, a line each. A line on standard output says that a handshake failed, and why."""
import socket
import ssl
import sys
import threading


def serve(sock, context):
    try:
        connection = context.wrap_socket(sock, server_side=True)
    except (ssl.SSLError, OSError) as error:
        print(f"handshake failed: {error}", flush=True)
        sock.close()
        return
    names = (connection.getpeercert() or {}).get("subjectAltName", ())
    text = (f"sni={connection.seen}\nclient={','.join(value for _, value in names) or '-'}\n"
            f"alpn={connection.selected_alpn_protocol() or '-'}\nversion={connection.version()}\n").encode()
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text)
    held = b""
    try:
        while True:
            while b"\r\n\r\n" not in held:
                more = connection.recv(4096)
                if not more:
                    return
                held += more
            held = held.split(b"\r\n\r\n", 1)[1]
            connection.sendall(answer)
    except OSError:
        pass
    finally:
        connection.close()


def main(port, cert, key, client_ca=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["http/1.1"])
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED

    class Seen(ssl.SSLSocket):
        seen = "-"

    def note(connection, name, _):
        connection.seen = name or "-"

    context.sslsocket_class = Seen
    context.sni_callback = note
    listener = socket.create_server(("", int(port)), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock, context), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
