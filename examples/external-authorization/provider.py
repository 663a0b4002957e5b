#!/usr/bin/env python3
"""A provider for policies of action CUSTOM, by HTTP: lets in who sends `x-pass: open`, and tells the application who that is.

    provider.py [PORT]        (9000)
"""
import http.server
import sys


class Provider(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("content-length", "0"))
        self.rfile.read(length)
        allowed = self.headers.get("x-pass") == "open"
        body = b"" if allowed else b"ask at the desk\n"
        self.send_response(200 if allowed else 401)
        self.send_header("x-user" if allowed else "x-desk", "guest" if allowed else "ground floor")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def log_message(self, *_):
        """Says nothing: what it is asked about may be secret."""


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


if __name__ == "__main__":
    Server(("", int(sys.argv[1]) if len(sys.argv) > 1 else 9000), Provider).serve_forever()
