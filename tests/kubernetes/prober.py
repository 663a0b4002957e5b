#!/usr/bin/env python3
"""Asks HTTP servers at these addresses, over and over until its input ends, and says on a line of its own whenever one answers otherwise than
before: ADDRESS absent (nobody has it), closed (refused, or ended without an answer), served (200) or another status. Run in the network of a
machine, which is not in the mesh, by start_story.py."""
import errno
import select
import socket
import sys
import threading

PORT = 8080
# How long an address that nobody has is waited for, and a server that took the connection.
CONNECT_SECONDS = 0.05
ANSWER_SECONDS = 5
PAUSE_SECONDS = 0.002


def ask(address):
    with socket.socket() as client:
        client.settimeout(CONNECT_SECONDS)
        try:
            client.connect((address, PORT))
        except OSError as error:
            return "closed" if error.errno in (errno.ECONNREFUSED, errno.ECONNRESET) else "absent"
        client.settimeout(ANSWER_SECONDS)
        try:
            client.sendall(b"GET / HTTP/1.1\r\nHost: fort\r\nConnection: close\r\n\r\n")
            answer = client.recv(4096)
        except OSError:
            return "closed"
        status = answer[9:12].decode("ascii", "replace")
        return {"": "closed", "200": "served"}.get(status, status)


def watch(address, ended, lock):
    before = None
    while not ended.wait(PAUSE_SECONDS):
        now = ask(address)
        if now != before:
            before = now
            with lock:
                print(address, now, flush=True)


def main():
    ended, lock = threading.Event(), threading.Lock()
    for address in sys.argv[1:]:
        threading.Thread(target=watch, args=(address, ended, lock), daemon=True).start()
    while select.select([sys.stdin], [], [])[0] and sys.stdin.buffer.read1(64):
        pass
    ended.set()


if __name__ == "__main__":
    main()
