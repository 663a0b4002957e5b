#!/usr/bin/env python3
"""The lint itself is tested: every rule passes a good tree and refuses a tree with one offence, naming the file."""
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
HEAD = "// A file of a fixture: what it is, who calls it.\n"
LONG_FUNCTION = "void f() {\n" + "  g();\n" * 60 + "}\n"

# Rule, file, text, must pass.
CASES = [
    ("include_rule", "userspace-proxy/session/a.cc", '#include "userspace-proxy/http/b.h"\n', True),
    ("include_rule", "userspace-proxy/http/a.cc", '#include "userspace-proxy/session/b.h"\n', False),
    ("include_rule", "userspace-proxy/net/a.cc", '#include "userspace-proxy/telemetry/outcome.h"\n', True),
    ("include_rule", "userspace-proxy/telemetry/a.cc", '#include "userspace-proxy/config/snapshot.h"\n', True),
    ("include_rule", "userspace-proxy/telemetry/a.cc", '#include "userspace-proxy/net/b.h"\n', False),
    ("include_rule", "userspace-proxy/main.cc", '#include "userspace-proxy/session/b.h"\n', True),
    ("include_rule", "userspace-proxy/net/a.cc", '#include "agent/feed/b.h"\n', False),
    ("include_rule", "base/a.h", '#include "proto/x.pb.h"\n', False),
    ("include_rule", "agent/a.cc", '#include "control-plane/control_plane.h"\n', True),
    ("include_rule", "agent/a.cc", '#include "agent/mesh/b.h"\n', True),
    ("include_rule", "agent/a.cc", '#include "control-plane/compile/b.h"\n', False),
    ("include_rule", "control-plane/compile/a.cc", '#include "control-plane/resource/b.h"\n', True),
    ("include_rule", "control-plane/a.cc", '#include "agent/b.h"\n', False),
    ("include_rule", "tools/weft/a.cc", '#include "agent/dataplane/dataplane.h"\n', True),
    ("include_rule", "tools/weft/a.cc", '#include "agent/mesh/b.h"\n', False),
    ("include_rule", "tools/bench/a.cc", '#include "tools/bench/b.h"\n', True),
    ("include_rule", "base/a.cc", '#include "../proto/x.h"\n', False),
    ("size_rule", "base/a.cc", "int x;\n" * 400, True),
    ("size_rule", "base/a.cc", "int x;\n" * 501, False),
    ("size_rule", "base/a.cc", LONG_FUNCTION, False),
    ("size_rule", "base/a.cc", "namespace a {\nclass B {\n" + "void f() { g(); }\n" * 100 + "};\n}\n", True),
    ("size_rule", "base/a.cc", "namespace a {\nclass B {\n" + LONG_FUNCTION + "};\n}\n", False),
    ("coroutine_rule", "base/a.cc", "T f() {\n  auto g = [x] { return x; };\n  co_await h(std::move(g));\n}\n", True),
    ("coroutine_rule", "base/a.cc", "T f() { co_await h([x] { return x; }); }\n", False),
    ("coroutine_rule", "base/a.cc", "T f() { co_await h(Request{.a = 1}); }\n", False),
    ("coroutine_rule", "base/a.cc", "T f() { co_await h({1, 2}); }\n", False),
    ("coroutine_rule", "base/a.cc", "T f() { if (co_await h(a[1])) { g(); } }\n", True),
    ("words_rule", "base/a.cc", "class PodTable {};\n", True),
    ("words_rule", "base/a.cc", "class PodManager {};\n", False),
    ("words_rule", "base/pod_utils.cc", "int x;\n", False),
    ("words_rule", "base/a.cc", "int x;  // TODO: later\n", False),
    ("words_rule", "base/a.cc", "#if 0\nint x;\n#endif\n", False),
    ("words_rule", "base/a.cc", "void f() { std::this_thread::sleep_for(a); }\n", False),
    ("words_rule", "base/a.cc", 'const char* s = "usleep";\n', True),
    ("words_rule", "base/a.cc", "void f() { throw 1; }\n", False),
    ("comment_rule", "base/a.cc", "int x;\n", True),
    ("comment_rule", "base/a.cc", None, False),
    ("comment_rule", "userspace-proxy/telemetry/outcome.h", 'X(kOk, "ok", 0, "It was complete.")\n', True),
    ("comment_rule", "userspace-proxy/telemetry/outcome.h", 'X(kOk, "ok", 0, "")\n', False),
    ("document_rule", "docs/a.md", "See `docs/a.md`, [it](a.md), `tests/NAME`.\n", True),
    ("document_rule", "docs/a.md", "See `agent/gone.cc`.\n", False),
    ("document_rule", "docs/a.md", "See [it](gone.md).\n", False),
    ("test_name_rule", "docs/a.md", "Nothing is named, .yaml files neither.\n", True),
    ("test_name_rule", "docs/a.md", "See `GoneTest.SaysSo`.\n", False),
    ("format_rule", "base/a.cc", "int x = 1;\n", True),
    ("format_rule", "base/a.cc", "int   x=1 ;\n", False),
]


class LintTest(unittest.TestCase):
    def test_every_rule_passes_the_good_and_refuses_the_bad(self):
        for rule, path, text, must_pass in CASES:
            with self.subTest(rule=rule, path=path, text=text and text[:80]), tempfile.TemporaryDirectory() as root:
                full = os.path.join(root, path)
                os.makedirs(os.path.dirname(full), exist_ok=True)
                with open(full, "w", encoding="utf-8") as f:
                    f.write("int x;\n" if text is None else HEAD + text)
                out = subprocess.run([sys.executable, "-B", os.path.join(HERE, rule + ".py"), root], text=True,
                                     capture_output=True)
                self.assertEqual(out.returncode == 0, must_pass, out.stdout + out.stderr)
                if not must_pass:
                    self.assertIn(path, out.stdout)

    def test_every_rule_has_a_case_that_must_fail(self):
        rules = {name[:-3] for name in os.listdir(HERE) if name.endswith("_rule.py")}
        self.assertEqual(rules, {rule for rule, _, _, must_pass in CASES if not must_pass})


if __name__ == "__main__":
    unittest.main()
