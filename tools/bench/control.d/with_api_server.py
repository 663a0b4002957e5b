#!/usr/bin/env python3
"""Runs a command with `--kubeconfig FILE` behind it: of a kube-apiserver and an etcd on free ports of loopback, which end with it. No root."""
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path.insert(0, ROOT + "/tests/kubernetes")
import pki  # noqa: E402 pylint: disable=wrong-import-position

READY_SECONDS = 120


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def programs_folder():
    """Builds what is not there yet; it says what it does."""
    out = subprocess.run([ROOT + "/tests/kubernetes/programs/build.sh"], stdout=subprocess.PIPE, text=True, check=False)
    if out.returncode != 0:
        sys.exit(out.returncode)
    return out.stdout.strip()


class Servers:
    def __init__(self, folder):
        self.folder = folder
        self.pki = folder + "/pki"
        self.running = []

    def start(self, program, arguments):
        with open(f"{self.folder}/{os.path.basename(program)}.log", "w", encoding="utf-8") as log:
            self.running.append(subprocess.Popen([program, *arguments], stdout=log, stderr=log))  # pylint: disable=consider-using-with

    def start_all(self, programs):
        pki.make_authority(self.pki)
        pki.issue(self.pki, "apiserver", "/CN=kube-apiserver", "IP:127.0.0.1", "DNS:localhost")
        pki.issue(self.pki, "admin", "/O=system:masters/CN=admin")
        pki.make_account_key(self.pki)
        client, peer, port = free_port(), free_port(), free_port()
        self.start(programs + "/etcd", [
            f"--data-dir={self.folder}/etcd", "--unsafe-no-fsync", f"--listen-client-urls=http://127.0.0.1:{client}",
            f"--advertise-client-urls=http://127.0.0.1:{client}", f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}", f"--initial-cluster=default=http://127.0.0.1:{peer}"])
        file = (self.pki + "/{}").format
        self.start(programs + "/kube-apiserver", [
            f"--etcd-servers=http://127.0.0.1:{client}", "--bind-address=127.0.0.1", f"--secure-port={port}", "--advertise-address=127.0.0.1",
            "--tls-cert-file=" + file("apiserver.crt"), "--tls-private-key-file=" + file("apiserver.key"), "--client-ca-file=" + file("ca.crt"),
            "--authorization-mode=RBAC", "--service-cluster-ip-range=10.255.0.0/16", "--endpoint-reconciler-type=none",
            "--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + file("sa.pub"),
            "--service-account-signing-key-file=" + file("sa.key"), "--disable-admission-plugins=ServiceAccount",
            # A cluster of this size has more of them in flight than one writer here.
            "--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000"])
        url = f"https://127.0.0.1:{port}"
        self.wait_for(url)
        pki.write_kubeconfig(self.folder + "/kubeconfig", url, self.pki, "admin")
        return self.folder + "/kubeconfig"

    def wait_for(self, url):
        context = ssl.create_default_context(cafile=self.pki + "/ca.crt")
        context.load_cert_chain(self.pki + "/admin.crt", self.pki + "/admin.key")
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and all(server.poll() is None for server in self.running):
            try:
                with urllib.request.urlopen(url + "/readyz", context=context, timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise RuntimeError(f"the API server is not ready within {READY_SECONDS} s\n{self.last_words()}")

    def last_words(self):
        words = []
        for name in ("etcd", "kube-apiserver"):
            with open(f"{self.folder}/{name}.log", encoding="utf-8", errors="replace") as log:
                words.append(f"{name}: " + "".join(log.readlines()[-5:]))
        return "".join(words)

    def stop(self):
        # The API server before what it writes to.
        for server in reversed(self.running):
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def main():
    if len(sys.argv) < 3:
        print("usage: with_api_server.py FOLDER COMMAND...", file=sys.stderr)
        return 64
    folder, command = sys.argv[1], sys.argv[2:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    programs = programs_folder()
    servers = Servers(folder)
    try:
        kubeconfig = servers.start_all(programs)
        return subprocess.run([*command, "--kubeconfig", kubeconfig], check=False).returncode
    except RuntimeError as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        return 1
    finally:
        servers.stop()


if __name__ == "__main__":
    sys.exit(main())
