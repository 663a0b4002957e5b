"""How fast the end of one side of a TCP connection reaches the other through the proxy. Both sides run this file, in their pods, and
print a line `NAME NANOSECONDS` of CLOCK_MONOTONIC, which all namespaces share, for each end that they cause or see; bench.py
subtracts. `closing.py serve IP PORT`, `closing.py dial IP PORT ROUNDS`."""
import socket
import struct
import sys
import time

# What happens in one round, in this order; each needs a connection of its own.
ENDS = ("client-fin", "server-fin", "client-rst", "server-rst")


def note(name):
    print(name, time.clock_gettime_ns(time.CLOCK_MONOTONIC), flush=True)


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def see_end(connection, name):
    """Blocks until the other side has ended; a reset must not look like a FIN, nor a FIN like a reset."""
    try:
        kind = "fin" if connection.recv(1) == b"" else "byte"
    except ConnectionResetError:
        kind = "rst"
    note(f"{name}-seen-as-{kind}")


def serve_one(connection):
    end = connection.recv(32).decode().strip()
    connection.sendall(b"k")
    if end.startswith("client"):
        see_end(connection, end)
        connection.close()
    elif end == "server-fin":
        # The client asks for it when it is ready to look.
        connection.recv(1)
        note(end)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
        connection.close()
    else:
        connection.recv(1)
        note(end)
        reset(connection)


def serve(address, port):
    with socket.create_server((address, port), backlog=128) as listener:
        while True:
            connection, _ = listener.accept()
            serve_one(connection)


def dial_one(address, port, end):
    connection = socket.create_connection((address, port), timeout=10)
    connection.sendall(end.ljust(31).encode() + b"\n")
    connection.recv(1)
    if end.startswith("server"):
        connection.sendall(b"g")
        see_end(connection, end)
        connection.close()
    elif end == "client-fin":
        note(end)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
        connection.close()
    else:
        note(end)
        reset(connection)


def main():
    what, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if what == "serve":
        serve(address, port)
    for _ in range(int(sys.argv[4])):
        for end in ENDS:
            dial_one(address, port, end)


if __name__ == "__main__":
    main()
