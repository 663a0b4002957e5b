"""gRPC peer of the integration tests, in another language than the proxy's: a server and clients on grpcio, without
generated code (messages are bytes). `grpc_peer.py serve PORT`; `grpc_peer.py call IP:PORT CASE...` prints "ok", or what
went wrong with exit code 1."""

import hashlib
import queue
import sys
import threading
import traceback
from concurrent import futures

import grpc

SERVICE = "weft.test.Peer"
MIB = 1 << 20
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
DEADLINE = 60.0  # of a call that must not hang; seconds


class Peer:
    """The methods. One object for all generations of the server, so that what one saw can be asked of the next."""

    def __init__(self, port):
        self.port = port
        self.generation = 0
        self.server = None
        self.changed = threading.Condition()
        self.begun = 0  # Wait calls that have reached the server
        self.ended = 0  # of them, those that it saw end

    def start(self):
        self.generation += 1
        threads = futures.ThreadPoolExecutor(max_workers=300)
        server = grpc.server(threads, options=UNLIMITED + [("grpc.so_reuseport", 1)])
        generation = self.generation
        handlers = {
            "Echo": grpc.unary_unary_rpc_method_handler(self.echo),
            "Generation": grpc.unary_unary_rpc_method_handler(lambda request, context: b"%d" % generation),
            "Restart": grpc.unary_unary_rpc_method_handler(self.restart),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Remaining": grpc.unary_unary_rpc_method_handler(lambda request, context: b"%f" % context.time_remaining()),
            "Wait": grpc.unary_unary_rpc_method_handler(self.wait),
            "Counts": grpc.unary_unary_rpc_method_handler(lambda request, context: b"%d %d" % (self.begun, self.ended)),
            "Begun": grpc.unary_unary_rpc_method_handler(lambda request, context: self.seen("begun", int(request))),
            "Ended": grpc.unary_unary_rpc_method_handler(lambda request, context: self.seen("ended", int(request))),
            "Repeat": grpc.unary_stream_rpc_method_handler(self.repeat),
            "Sum": grpc.stream_unary_rpc_method_handler(self.sum),
            "Refuse": grpc.stream_unary_rpc_method_handler(self.refuse),
            "Converse": grpc.stream_stream_rpc_method_handler(self.converse),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        if server.add_insecure_port("[::]:%d" % self.port) == 0:
            raise RuntimeError("cannot listen on port %d" % self.port)
        server.start()
        self.server = server

    def echo(self, request, context):
        for key, value in context.invocation_metadata():
            if key == "x-echo":
                context.send_initial_metadata((("x-initial", value),))
            if key == "x-data-bin":
                context.set_trailing_metadata((("x-trailing-bin", value), ("x-trailing", "end")))
        return request

    def restart(self, request, context):
        """The next generation listens beside this one, which says GOAWAY and ends its streams in peace."""
        old = self.server
        self.start()
        old.stop(DEADLINE)
        return b""

    def fail(self, request, context):
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not like this: ü 100%")

    def wait(self, request, context):
        over = threading.Event()
        context.add_callback(over.set)
        self.count("begun")
        over.wait(DEADLINE)
        self.count("ended")
        return b""

    def count(self, what):
        with self.changed:
            setattr(self, what, getattr(self, what) + 1)
            self.changed.notify_all()

    def seen(self, what, wanted):
        with self.changed:
            return b"yes" if self.changed.wait_for(lambda: getattr(self, what) >= wanted, DEADLINE) else b"no"

    def repeat(self, request, context):
        count, size = (int(word) for word in request.split())
        for number in range(count):
            yield b"%08d" % number + bytes(size)

    def sum(self, requests, context):
        digest, count = hashlib.sha256(), 0
        for message in requests:
            digest.update(message)
            count += 1
        return b"%d %s" % (count, digest.hexdigest().encode())

    def refuse(self, requests, context):
        next(requests)
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "one is enough")

    def converse(self, requests, context):
        for message in requests:
            yield message


class Client:
    def __init__(self, target):
        self.channel = grpc.insecure_channel(target, options=UNLIMITED + [("grpc.enable_retries", 0)])

    def unary(self, method, request=b"", timeout=DEADLINE, metadata=None):
        call = self.channel.unary_unary("/%s/%s" % (SERVICE, method))
        return call.with_call(request, timeout=timeout, metadata=metadata)

    def start(self, method, request=b"", timeout=DEADLINE):
        return self.channel.unary_unary("/%s/%s" % (SERVICE, method)).future(request, timeout=timeout)

    def stream(self, kind, method):
        return getattr(self.channel, kind)("/%s/%s" % (SERVICE, method))

    def counts(self):
        return [int(word) for word in self.unary("Counts")[0].split()]


def expect(what, got, wanted):
    if got != wanted:
        raise AssertionError("%s: got %r, wanted %r" % (what, got, wanted))


def expect_code(call, code, details=None):
    try:
        call()
    except grpc.RpcError as error:
        expect("status", error.code(), code)
        if details is not None:
            expect("details", error.details(), details)
        return
    raise AssertionError("the call succeeded, wanted %s" % code)


def case_unary(client):
    for number in range(100):
        response, call = client.unary("Echo", b"%d" % number)
        expect("response", response, b"%d" % number)
        expect("status", call.code(), grpc.StatusCode.OK)


def case_empty(client):
    expect("response", client.unary("Echo")[0], b"")


def case_large(client):
    message = bytes(range(256)) * (16 * MIB // 256)
    expect("digest", hashlib.sha256(client.unary("Echo", message)[0]).hexdigest(), hashlib.sha256(message).hexdigest())


def case_metadata(client):
    data = bytes(range(256))
    _, call = client.unary("Echo", b"", metadata=(("x-echo", "some text"), ("x-data-bin", data)))
    initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
    expect("initial", initial.get("x-initial"), "some text")
    expect("trailing", trailing.get("x-trailing"), "end")
    expect("binary trailing", trailing.get("x-trailing-bin"), data)


def case_status(client):
    expect_code(lambda: client.unary("Fail"), grpc.StatusCode.INVALID_ARGUMENT, "not like this: ü 100%")
    expect_code(lambda: client.unary("NoSuchMethod"), grpc.StatusCode.UNIMPLEMENTED)


def case_server_stream(client):
    for count, size in ((1000, 10), (200, 64 * 1024), (0, 0)):
        messages = client.stream("unary_stream", "Repeat")(b"%d %d" % (count, size), timeout=DEADLINE)
        expect("messages", [int(message[:8]) for message in messages], list(range(count)))


def case_client_stream(client):
    messages = [b"%d" % number * 5000 for number in range(500)]
    wanted = b"500 " + hashlib.sha256(b"".join(messages)).hexdigest().encode()
    expect("sum", client.stream("stream_unary", "Sum")(iter(messages), timeout=DEADLINE), wanted)


def case_bidi(client):
    """Each answer is awaited before the next message: nothing may be held back until there is more."""
    outgoing = queue.Queue()
    answers = client.stream("stream_stream", "Converse")(iter(outgoing.get, None), timeout=DEADLINE)
    for number in range(300):
        outgoing.put(b"%d" % number)
        expect("answer", next(answers), b"%d" % number)
    outgoing.put(None)
    expect("end", list(answers), [])


def case_early_end(client):
    """The server answers while the client still has much to say."""
    endless = (bytes(64 * 1024) for _ in range(10_000))
    refused = client.stream("stream_unary", "Refuse")
    expect_code(lambda: refused(endless, timeout=DEADLINE), grpc.StatusCode.RESOURCE_EXHAUSTED, "one is enough")


def case_cancel(client):
    begun, ended = client.counts()
    for number in range(1, 4):
        call = client.start("Wait")
        expect("reached the server", client.unary("Begun", b"%d" % (begun + number))[0], b"yes")
        call.cancel()
    stream = client.stream("unary_stream", "Repeat")(b"1000000 1000", timeout=DEADLINE)
    next(stream)
    stream.cancel()
    expect_code(lambda: list(stream), grpc.StatusCode.CANCELLED)
    expect("end seen by the server", client.unary("Ended", b"%d" % (ended + 3))[0], b"yes")


def case_deadline(client):
    remaining = float(client.unary("Remaining", timeout=30)[0])
    if not 0 < remaining <= 31:  # clients round up
        raise AssertionError("the server saw a deadline in %f s, wanted about 30" % remaining)
    begun, ended = client.counts()
    call = client.start("Wait", timeout=3)
    expect("reached the server", client.unary("Begun", b"%d" % (begun + 1))[0], b"yes")
    expect_code(call.result, grpc.StatusCode.DEADLINE_EXCEEDED)
    expect("end seen by the server", client.unary("Ended", b"%d" % (ended + 1))[0], b"yes")


def case_concurrent(client):
    """More calls at a time than either side allows streams on a connection."""
    calls = [client.start("Echo", b"%d" % number * 1000) for number in range(1000)]
    for number, call in enumerate(calls):
        expect("response", call.result(), b"%d" % number * 1000)


def case_concurrent_streams(client):
    """Streams that are open at the same time, each of which has to move for the others to end."""
    queues = [queue.Queue() for _ in range(80)]
    streams = [client.stream("stream_stream", "Converse")(iter(outgoing.get, None), timeout=DEADLINE) for outgoing in queues]
    for turn in range(10):
        for outgoing in queues:
            outgoing.put(b"%d" % turn * 1000)
        for stream in streams:
            expect("answer", next(stream), b"%d" % turn * 1000)
    for outgoing in queues:
        outgoing.put(None)
    for stream in streams:
        expect("end", list(stream), [])


def case_goaway(client):
    """The server goes with GOAWAY: the stream that is open goes on, new calls find the next generation, none fails."""
    outgoing = queue.Queue()
    answers = client.stream("stream_stream", "Converse")(iter(outgoing.get, None), timeout=DEADLINE)
    for generation in range(2, 6):
        outgoing.put(b"before")
        expect("answer", next(answers), b"before")
        client.unary("Restart")
        seen = {client.unary("Generation")[0] for _ in range(50)}
        expect("generations", seen, {b"%d" % generation})
        outgoing.put(b"after")
        expect("answer", next(answers), b"after")
    outgoing.put(None)
    expect("end", list(answers), [])


def case_unavailable(client):
    """Nobody listens: an answer of the proxy."""
    expect_code(lambda: client.unary("Echo"), grpc.StatusCode.UNAVAILABLE)


CASES = {name[5:]: function for name, function in sorted(globals().items()) if name.startswith("case_")}


def call(target, names):
    client = Client(target)
    for name in names:
        try:
            CASES[name](client)
        except Exception as error:  # whatever it is, the test wants to read it
            traceback.print_exc()
            print("%s: %s" % (name, error))
            return 1
    print("ok")
    return 0


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "serve":
        Peer(int(arguments[1])).start()
        threading.Event().wait()
    if len(arguments) >= 3 and arguments[0] == "call" and set(arguments[2:]) <= set(CASES):
        return call(arguments[1], arguments[2:])
    print(__doc__, "\nCASE: " + " ".join(CASES), file=sys.stderr)
    return 64


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
