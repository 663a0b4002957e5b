#!/usr/bin/env python3
"""One attacker: attacker.py NAME IP:PORT SECONDS. Floods a connection until the proxy ends it, then the next, until time is up; prints
{connections, closed, slowest_close_s, sent_bytes}. Started by floods.py in the attackers' pod."""
import json
import select
import socket
import sys
import time

from attacks import ATTACKS, BATCH

# Between two connections: how fast an attacker can dial is not the question.
REDIAL_SECONDS = 0.1
CHUNK = 65536


class Connection:
    def __init__(self, attack, address):
        self.attack = attack
        self.reads = "slow read" not in sys.argv[1]
        self.socket = socket.create_connection(address, timeout=5)
        self.socket.setblocking(False)
        self.out = attack.front
        self.step = 0
        self.sent = 0

    def more(self):
        """The next bytes; none when the attack only holds what it has."""
        if self.attack.steps is not None and self.step >= self.attack.steps:
            return b""
        count = 1 if self.attack.pause else BATCH
        out = b"".join(self.attack.step(self.step + i) for i in range(count))
        self.step += count
        return out

    def run(self, until):
        """True when the proxy ended it."""
        try:
            while time.monotonic() < until:
                if not self.out:
                    self.out = self.more()
                wait = self.attack.pause or (0.2 if not self.out else 1)
                readable, writable, _ = select.select([self.socket] if self.reads else [], [self.socket] if self.out else [], [], wait)
                if readable and not self.socket.recv(CHUNK):
                    return True
                if writable:
                    count = self.socket.send(self.out)
                    self.sent += count
                    self.out = self.out[count:]
                    if self.attack.pause and not self.out:
                        select.select([], [], [], self.attack.pause)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return False


def main():
    attack = ATTACKS[sys.argv[1]]
    host, port = sys.argv[2].rsplit(":", 1)
    until = time.monotonic() + float(sys.argv[3])
    result = {"connections": 0, "closed": 0, "slowest_close_s": 0.0, "sent_bytes": 0, "refused": 0}
    while time.monotonic() < until:
        try:
            connection = Connection(attack, (host, int(port)))
        except OSError:
            result["refused"] += 1
            select.select([], [], [], REDIAL_SECONDS)
            continue
        begun = time.monotonic()
        closed = connection.run(until)
        result["connections"] += 1
        result["sent_bytes"] += connection.sent
        if closed:
            result["closed"] += 1
            result["slowest_close_s"] = max(result["slowest_close_s"], time.monotonic() - begun)
        elif attack.closed:
            # Cut off by the end of the run.
            age = time.monotonic() - begun
            if age > 1:
                result["slowest_close_s"] = max(result["slowest_close_s"], age)
        connection.socket.close()
        select.select([], [], [], REDIAL_SECONDS)
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
