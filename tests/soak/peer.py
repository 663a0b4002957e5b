"""The service behind the soak's odd traffic, in its pod: `peer.py IP ECHO_PORT HTTP_PORT`. ECHO_PORT sends back what comes and its end;
HTTP_PORT speaks HTTP/1.1: /ws is a WebSocket that echoes, /slow a body in small pieces, /big one of 4 MB, /early answers before the
request is whole and closes, /chunked has trailers, /cut ends in the middle, all else answers with the length of the request's body."""
import asyncio
import base64
import hashlib
import sys

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
BIG = b"x" * (4 << 20)


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
    await reader.read(1)


def answer(body, status="200 OK", more=""):
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


async def read_body(reader, fields):
    if b"chunked" not in fields.get(b"transfer-encoding", b""):
        length = int(fields.get(b"content-length", b"0"))
        await reader.readexactly(length)
        return length
    total = 0
    while size := int((await reader.readline()).split(b";")[0], 16):
        total += size
        await reader.readexactly(size + 2)
    while (await reader.readline()).strip():
        pass
    return total


async def websocket(reader, writer, fields):
    accept = base64.b64encode(hashlib.sha1(fields[b"sec-websocket-key"] + GUID).digest()).decode()
    writer.write(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
    # Frames go back as they come: masked, which this client does not mind.
    await echo(reader, writer)


async def slow(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n")
    for _ in range(20):
        writer.write(b"0123456789")
        await writer.drain()
        await asyncio.sleep(0.05)


async def respond(path, fields, reader, writer):
    """False: the connection is over."""
    if path == b"/early":
        writer.write(answer(b"no", "413 Content Too Large", "Connection: close\r\n"))
        return False
    length = await read_body(reader, fields)
    if path == b"/slow":
        await slow(writer)
    elif path == b"/big":
        writer.write(answer(BIG))
    elif path == b"/chunked":
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-End: 1\r\n\r\n")
    elif path == b"/cut":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        return False
    else:
        writer.write(answer(str(length).encode()))
    await writer.drain()
    return True


async def http(reader, writer):
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        path = head[0].split(b" ")[1]
        fields = {}
        for line in head[1:]:
            if b":" in line:
                name, value = line.split(b":", 1)
                fields[name.lower()] = value.strip()
        if path == b"/ws":
            return await websocket(reader, writer, fields)
        if b"expect" in fields:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not await respond(path, fields, reader, writer) or fields.get(b"connection") == b"close":
            return None


def ended(serve):
    async def one(reader, writer):
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            pass
        finally:
            writer.close()
    return one


async def main():
    address, echo_port, http_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    servers = [await asyncio.start_server(ended(serve), address, port, backlog=1024)
               for serve, port in ((echo, echo_port), (http, http_port))]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main())
