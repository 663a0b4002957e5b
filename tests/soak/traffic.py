"""The soak's odd clients, in a client pod: `traffic.py HTTP_TARGET TCP_TARGET SECONDS`. Each kind below goes on for that long and says at
the end, as JSON, how often it did its thing and the first of what was not as it must be."""
import asyncio
import base64
import json
import os
import random
import socket
import struct
import sys
import time

# How many clients of a kind there are at a time.
CLIENTS = 2
PATIENCE = 60


class Wrong(Exception):
    """What came is not what must come."""


def must(condition, what):
    if not condition:
        raise Wrong(what)


async def dial(target, small=False):
    made = socket.socket()
    if small:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.setblocking(False)
    await asyncio.get_running_loop().sock_connect(made, target)
    return await asyncio.open_connection(sock=made, limit=1 << 16)


def reset(writer):
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def read_head(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    return int(head.split(" ")[1]), head.lower()


async def read_message(reader):
    status, head = await read_head(reader)
    length = next((int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length:")), 0)
    return status, await reader.readexactly(length)


def request(path, method="GET", more=""):
    return f"{method} {path} HTTP/1.1\r\nHost: peer\r\n{more}\r\n".encode()


async def keep_alive_and_pipelining(http, _tcp):
    reader, writer = await dial(http)
    try:
        writer.write(request("/a") * 3)
        for _ in range(3):
            status, body = await read_message(reader)
            must((status, body) == (200, b"0"), f"pipelined: {status} {body}")
        writer.write(request("/chunked"))
        status, head = await read_head(reader)
        must(status == 200 and "chunked" in head, f"chunked: {status}")
        must((await reader.readuntil(b"\r\n\r\n")).endswith(b"0\r\nX-End: 1\r\n\r\n"), "no trailers")
    finally:
        writer.close()


async def uploads(http, _tcp):
    reader, writer = await dial(http)
    try:
        body = os.urandom(random.randrange(1, 300000))
        writer.write(request("/up", "POST", f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n"))
        status, _ = await read_head(reader)
        must(status == 100, f"instead of continue: {status}")
        writer.write(body)
        status, answer = await read_message(reader)
        must((status, answer) == (200, str(len(body)).encode()), f"upload: {status} {answer}")
        writer.write(request("/up", "POST", "Transfer-Encoding: chunked\r\n"))
        for _ in range(10):
            writer.write(b"400;x=y\r\n" + b"c" * 1024 + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\nX-Sum: 1\r\n\r\n")
        status, answer = await read_message(reader)
        must((status, answer) == (200, b"10240"), f"chunked upload: {status} {answer}")
    finally:
        writer.close()


async def short_and_ends(http, _tcp):
    reader, writer = await dial(http)
    writer.write(request("/a", more="Connection: close\r\n"))
    status, _ = await read_message(reader)
    must(status == 200 and await reader.read(1) == b"", f"close: {status}")
    writer.close()
    reader, writer = await dial(http)
    writer.write(request("/early", "POST", "Content-Length: 1000000\r\n") + b"y" * 1000)
    status, _ = await read_message(reader)
    must(status == 413, f"early answer: {status}")
    writer.close()
    reader, writer = await dial(http)
    writer.write(request("/cut"))
    status, _ = await read_head(reader)
    must(status == 200 and await reader.read(200) == b"half", f"cut answer: {status}")
    writer.close()


async def aborts(http, tcp):
    """Clients that go away at the worst moments."""
    for text in (b"GET / HT", request("/slow"), request("/big"), request("/up", "POST", "Content-Length: 90000\r\n") + b"z" * 5000, b""):
        for target in (http, tcp):
            reader, writer = await dial(target)
            writer.write(text)
            await writer.drain()
            await asyncio.sleep(random.random() * 0.1)
            if random.random() < 0.5:
                reset(writer)
            else:
                writer.close()
            del reader


async def slow_clients(http, _tcp):
    reader, writer = await dial(http, small=True)
    try:
        for byte in request("/slow"):
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
        status, body = await read_message(reader)
        must((status, len(body)) == (200, 200), f"slow: {status} {len(body)}")
        writer.write(request("/big"))
        status, _ = await read_head(reader)
        left = 4 << 20
        for _ in range(40):
            left -= len(await reader.read(4096))
            await asyncio.sleep(0.02)
        while left > 0:
            data = await reader.read(left)
            must(data, f"cut with {left} bytes left")
            left -= len(data)
    finally:
        writer.close()


def frame(payload):
    """A masked binary frame (RFC 6455 section 5.2) whose mask changes nothing."""
    return b"\x82" + bytes([0x80 | 126]) + struct.pack(">H", len(payload)) + b"\0\0\0\0" + payload


async def websockets(http, _tcp):
    reader, writer = await dial(http)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(request("/ws", more=f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"))
    status, head = await read_head(reader)
    must(status == 101 and "sec-websocket-accept" in head, f"upgrade: {status}")
    for _ in range(20):
        sent = frame(os.urandom(random.randrange(200, 20000)))
        writer.write(sent)
        must(await reader.readexactly(len(sent)) == sent, "another frame came back")
    if random.random() < 0.3:
        return reset(writer)
    writer.write_eof()
    must(await reader.read(1) == b"", "more than the end")
    writer.close()
    return None


async def streams(_http, tcp):
    reader, writer = await dial(tcp)
    sent = os.urandom(random.choice((1, 1000, 100000, 3000000)))

    async def send():
        writer.write(sent)
        await writer.drain()
        writer.write_eof()
    sending = asyncio.create_task(send())
    got = await reader.read(-1)
    await sending
    must(got == sent, f"{len(got)} of {len(sent)} bytes came back")
    writer.close()


KINDS = (keep_alive_and_pipelining, uploads, short_and_ends, aborts, slow_clients, websockets, streams)


async def go_on(kind, targets, until, counts):
    while time.monotonic() < until:
        try:
            await asyncio.wait_for(kind(*targets), PATIENCE)
            counts[kind.__name__]["done"] += 1
        except (Wrong, OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, ValueError) as wrong:
            counts[kind.__name__]["wrong"] += 1
            counts[kind.__name__].setdefault("first", f"{type(wrong).__name__}: {wrong}")
        await asyncio.sleep(random.random() * 0.2)


async def main():
    targets = tuple((address, int(port)) for address, port in (target.split(":") for target in sys.argv[1:3]))
    until = time.monotonic() + float(sys.argv[3])
    counts = {kind.__name__: {"done": 0, "wrong": 0} for kind in KINDS}
    await asyncio.gather(*(go_on(kind, targets, until, counts) for kind in KINDS for _ in range(CLIENTS)))
    print(json.dumps(counts))


if __name__ == "__main__":
    asyncio.run(main())
