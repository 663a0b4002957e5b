"""OCI image archives without a daemon and without a registry: layers from files of this machine, always with the same bytes for the same
files. Used by ./build and by tests/kubernetes."""
import gzip
import hashlib
import io
import json
import os
import stat
import tarfile

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Layer:
    """Files by their path in the image. Owners are root, times are 1970, the order is that of the names."""

    def __init__(self):
        self.entries = {}  # path without leading slash -> (tarfile.TarInfo, bytes or None)

    def add(self, path, data=None, mode=0o644, link=None):
        path = path.strip("/")
        parent = os.path.dirname(path)
        if parent and parent not in self.entries:
            self.add_folder(parent)
        info = tarfile.TarInfo(path)
        info.mode = mode
        if link is not None:
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, link, 0o777
        else:
            info.size = len(data)
        self.entries[path] = (info, data)

    def add_folder(self, path, mode=0o755):
        path = path.strip("/")
        if path in self.entries:
            return
        if os.path.dirname(path):
            self.add_folder(os.path.dirname(path))
        info = tarfile.TarInfo(path)
        info.type, info.mode = tarfile.DIRTYPE, mode
        self.entries[path] = (info, None)

    def add_file_of_machine(self, source, path=None):
        """A file or link as it is here; where its folder really is, as on a system whose /lib is a link."""
        path = path or os.path.join(os.path.realpath(os.path.dirname(source)), os.path.basename(source))
        status = os.lstat(source)
        if stat.S_ISLNK(status.st_mode):
            self.add(path, link=os.readlink(source))
        elif stat.S_ISREG(status.st_mode):
            with open(source, "rb") as f:
                # Neither setuid nor writable by others.
                self.add(path, f.read(), 0o755 if status.st_mode & 0o111 else 0o644)

    def has(self, path):
        return path.strip("/") in self.entries

    def tar(self):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for path in sorted(self.entries):
                info, data = self.entries[path]
                archive.addfile(info, io.BytesIO(data) if data is not None else None)
        return out.getvalue()


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def write_archive(path, reference, layers, config):
    """`config`: Entrypoint, Cmd, User, Labels … as in the image specification. The digest of its manifest, by which a registry knows it,
    and what the layers take when they are unpacked."""
    blobs, descriptors, plain_digests, unpacked = {}, [], [], 0

    def blob(kind, data):
        digest = digest_of(data)
        blobs[digest] = data
        return {"mediaType": kind, "digest": digest, "size": len(data)}

    for layer in layers:
        plain = layer.tar()
        unpacked += len(plain)
        plain_digests.append(digest_of(plain))
        descriptors.append(blob(LAYER, gzip.compress(plain, 6, mtime=0)))
    machine = os.uname().machine
    image = {"created": "1970-01-01T00:00:00Z", "architecture": ARCHITECTURES.get(machine, machine), "os": "linux", "config": config,
             "rootfs": {"type": "layers", "diff_ids": plain_digests},
             "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "tools/dev image"} for _ in layers]}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": blob(CONFIG, json.dumps(image, sort_keys=True).encode()),
                "layers": descriptors}
    entry = blob(MANIFEST, json.dumps(manifest, sort_keys=True).encode())
    entry["annotations"] = {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference.rsplit(":", 1)[1]}
    index = {"schemaVersion": 2, "manifests": [entry]}
    archive = Layer()
    archive.add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    archive.add("index.json", json.dumps(index, sort_keys=True).encode())
    for digest, data in blobs.items():
        archive.add("blobs/" + digest.replace(":", "/"), data)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    # Whole or not at all.
    with open(path + ".new", "wb") as f:
        f.write(archive.tar())
    os.rename(path + ".new", path)
    return entry["digest"], unpacked
