#!/usr/bin/env python3
"""tools/image/build: the same input gives the same digest, what it writes is what the image specification says, its programs run with
nothing but what is in the image, and an image in which they would not is refused."""
import argparse
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN_DIR = ROOT + "/build/release/bin"
IMAGES = {"weft-agent": ("weft-agent", "weft"), "weft-proxy": ("weft-proxy",), "weft-control": ("weft-control", "weft")}
USERS = {"weft-agent": "0:0", "weft-proxy": "0:0", "weft-control": "65534:65534"}


def build(out, *arguments):
    return subprocess.run([ROOT + "/tools/image/build", "--out", out, *arguments], text=True, capture_output=True, check=False)


def blobs(archive):
    with tarfile.open(archive) as files:
        return {name.removeprefix("blobs/sha256/"): files.extractfile(name).read() for name in files.getnames()
                if name.startswith("blobs/sha256/")}, json.load(files.extractfile("index.json"))


def blob(held, descriptor):
    data = held[descriptor["digest"].removeprefix("sha256:")]
    assert len(data) == descriptor["size"]
    return data


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="weft-image-")
        out = build(cls.folder + "/one", "--bin-dir", BIN_DIR)
        assert out.returncode == 0, out.stderr

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def archive(self, name):
        return f"{self.folder}/one/{name}.tar"

    def test_the_same_programs_give_the_same_bytes(self):
        # Copies have other times, owners and places.
        os.mkdir(self.folder + "/bin")
        for program in ("weft-agent", "weft", "weft-cni", "weft-proxy", "weft-control"):
            shutil.copyfile(f"{BIN_DIR}/{program}", f"{self.folder}/bin/{program}")
            os.chmod(f"{self.folder}/bin/{program}", 0o700)
        out = build(self.folder + "/two", "--bin-dir", self.folder + "/bin")
        self.assertEqual(out.returncode, 0, out.stderr)
        for name in IMAGES:
            with open(self.archive(name), "rb") as one, open(f"{self.folder}/two/{name}.tar", "rb") as two:
                self.assertEqual(hashlib.sha256(one.read()).hexdigest(), hashlib.sha256(two.read()).hexdigest(), name)

    def test_digests_are_those_of_what_they_name(self):
        for name in IMAGES:
            held, index = blobs(self.archive(name))
            for digest, data in held.items():
                self.assertEqual(hashlib.sha256(data).hexdigest(), digest)
            manifest = json.loads(blob(held, index["manifests"][0]))
            config = json.loads(blob(held, manifest["config"]))
            self.assertEqual(len(config["rootfs"]["diff_ids"]), len(manifest["layers"]))
            self.assertEqual(config["config"]["User"], USERS[name])
            for layer, plain in zip(manifest["layers"], config["rootfs"]["diff_ids"]):
                data = subprocess.run(["gzip", "-dc"], input=blob(held, layer), capture_output=True, check=True).stdout
                self.assertEqual("sha256:" + hashlib.sha256(data).hexdigest(), plain)

    def test_programs_run_with_nothing_else(self):
        for name, programs in IMAGES.items():
            root = f"{self.folder}/root-{name}"
            os.mkdir(root)
            held, index = blobs(self.archive(name))
            for layer in json.loads(blob(held, index["manifests"][0]))["layers"]:
                with tarfile.open(fileobj=io.BytesIO(blob(held, layer)), mode="r:gz") as files:
                    for entry in files:
                        self.assertEqual((entry.uid, entry.gid, entry.mtime), (0, 0, 0))
                        self.assertFalse(entry.isfile() and entry.mode & 0o6022, f"{entry.name} is setuid or can be written by others")
                    files.extractall(root)  # ours, made a moment ago
            for program in programs:
                out = subprocess.run(["chroot", root, "/usr/bin/" + program, "--version"], text=True, capture_output=True, check=False)
                self.assertEqual(out.returncode, 0, f"{name}: {program}: {out.stderr}")
            self.assertFalse(os.path.lexists(root + "/usr/bin/sh"))
            self.assertTrue(os.path.exists(root + "/usr/share/doc/libc6/copyright"))

    def test_a_missing_library_is_named_with_its_package(self):
        lists = self.folder + "/lists"
        shutil.copytree(ROOT + "/tools/image", lists)
        with open(lists + "/weft-agent.packages", encoding="ascii") as f:
            text = f.read()
        with open(lists + "/weft-agent.packages", "w", encoding="ascii") as f:
            f.write("".join(line for line in text.splitlines(True) if not line.startswith("libgrpc++")))
        out = build(self.folder + "/three", "--bin-dir", BIN_DIR, "--lists", lists)
        self.assertEqual(out.returncode, 1)
        self.assertRegex(out.stderr, r"libgrpc\+\+.*add libgrpc\+\+1\.51")
        self.assertFalse(os.path.exists(self.folder + "/three/weft-agent.tar"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin-dir", default=BIN_DIR)
    options, rest = parser.parse_known_args()
    BIN_DIR = os.path.abspath(options.bin_dir)
    if os.geteuid() != 0:
        print("*** SKIPPED, NOTHING WAS TESTED: not root ***")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *rest])
