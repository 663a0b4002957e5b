"""Reads one dump of callgrind (valgrind manual, "Callgrind Format Specification"). Used by gate.py only."""
import collections
import re

NAME = re.compile(r"\((\d+)\)(?: (.*))?")
TRIGGER = "desc: Trigger: Client Request: "


class Dump:
    """What one thread spent between two points."""

    def __init__(self, path):
        self.trigger = ""  # what the program called this dump; empty: the rest, at its end
        self.own = collections.Counter()  # function -> instructions in it
        self.with_callees = collections.Counter()
        self.calls = collections.Counter()  # function -> how often called
        self.names = {}
        with open(path, encoding="utf-8", errors="replace") as f:
            self.read(f)

    @property
    def instructions(self):
        return sum(self.own.values())

    def name_of(self, text):
        """Names are written once as "(7) name" and then as "(7)"."""
        match = NAME.match(text)
        if not match:
            return text
        if match.group(2) is not None:
            self.names[match.group(1)] = match.group(2)
        return self.names[match.group(1)]

    def read(self, lines):
        function = callee = None
        for line in lines:
            line = line.rstrip("\n")
            if line.startswith(TRIGGER):
                self.trigger = line[len(TRIGGER):]
            elif line.startswith("fn="):
                function = self.name_of(line[3:])
            elif line.startswith("cfn="):
                callee = self.name_of(line[4:])
            elif line.startswith("calls="):
                self.calls[callee] += int(line[6:].split()[0])
            elif function and line[:1] in tuple("0123456789+-*"):
                cost = int(line.split()[1])
                if callee is None:
                    self.own[function] += cost
                    self.with_callees[function] += cost
                else:
                    # The line after calls= is what the callee cost, which is no work of the caller's own.
                    if callee != function:
                        self.with_callees[function] += cost
                    callee = None
