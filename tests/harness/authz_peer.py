"""A provider of Envoy's external authorization (envoy.service.auth.v3) on grpcio, without generated code: it reads and writes the bytes
of protobuf by hand, and so knows only what the wire has. `authz_peer.py PORT`. Lets in whose request has the header field
`x-pass: open`, sets `x-user` to the client's principal or "nobody", and removes `x-pass`."""

import sys
from concurrent import futures

import grpc

from wire import field, fields, varint


def first(data, *path):
    for number in path:
        data = next((value for at, value in fields(data) if at == number), b"")
    return data


def check(request, _context):
    attributes = first(request, 1)
    http = first(attributes, 4, 2)
    headers = {first(entry, 1): first(entry, 2) for number, entry in fields(http) if number == 3}
    if headers.get(b"x-pass") != b"open":
        desk = field(1, field(1, b"x-desk") + field(2, first(http, 4)))
        denied = field(1, b"\x08" + varint(429)) + field(2, desk) + field(3, b"later\n")
        return field(1, b"\x08\x07") + field(2, denied)
    user = field(1, field(1, b"x-user") + field(2, first(attributes, 1, 4) or b"nobody"))
    return field(1, b"") + field(3, field(2, user) + field(5, b"x-pass"))


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    handler = grpc.unary_unary_rpc_method_handler(check)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("envoy.service.auth.v3.Authorization", {"Check": handler}),))
    assert server.add_insecure_port(f"0.0.0.0:{sys.argv[1]}") == int(sys.argv[1])
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
