"""What of the distribution goes into an image: the files of installed packages, and which of them a program needs. Used by ./build."""
import os
import re
import subprocess
import tempfile

# Needed by no program of ours. Licences stay.
LEFT_OUT = re.compile(r"^/usr/(share/(man|info|locale|lintian|bug|gcc|gdb|bash-completion|zsh|doc/[^/]+/(?!copyright$))|lib/[^/]+/(gconv|audit|engines-3)/)"
                      r"|^/etc/|^/usr/share/doc-base/")
RESOLVED = re.compile(r"=> (/\S+)|^\s(/\S*ld-linux\S*)", re.M)


class ImageError(Exception):
    """There will be no image; the message says what to do about it."""


def read_list(path):
    """One package per line; of alternatives with | the first that is installed."""
    chosen = []
    with open(path, encoding="ascii") as f:
        lines = [line.split("#")[0].strip() for line in f]
    for line in filter(None, lines):
        names = [name for name in line.split("|") if version_of(name)]
        if not names:
            raise ImageError(f"{path}: '{line}' is not installed; run: tools/dev build, which installs what a build needs")
        chosen.append(names[0])
    return chosen


def version_of(package):
    out = subprocess.run(["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}", package], text=True, capture_output=True,
                         check=False)
    status, _, version = out.stdout.partition(" ")
    return version if status == "installed" else None


def add_package(layer, package):
    """Its files, and its entry of the kind that scanners of images read (var/lib/dpkg/status.d)."""
    listed = subprocess.run(["dpkg-query", "--listfiles", package], text=True, capture_output=True, check=True).stdout
    for path in listed.splitlines():
        real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        if not LEFT_OUT.match(real) and os.path.lexists(real) and not (os.path.isdir(real) and not os.path.islink(real)):
            layer.add_file_of_machine(real, real)
    altered = subprocess.run(["dpkg", "--verify", package], text=True, capture_output=True, check=False).stdout
    # A machine on which documentation was left out is not altered.
    altered = [line for line in altered.splitlines() if "missing" not in line and not LEFT_OUT.match(line.split()[-1])]
    if altered:
        raise ImageError(f"{package} is not as it was installed; run: apt-get install --reinstall {package}\n" + "\n".join(altered))
    entry = subprocess.run(["dpkg-query", "--status", package], text=True, capture_output=True, check=True).stdout
    kept = [line for line in entry.splitlines() if line.startswith(("Package:", "Version:", "Architecture:", "Source:", "Maintainer:", "Status:"))]
    layer.add(f"var/lib/dpkg/status.d/{package}", ("\n".join(kept) + "\n").encode())


def libraries_of(program):
    """Absolute paths of the shared libraries that it is linked with, as the loader would find them."""
    out = subprocess.run(["ldd", program], text=True, capture_output=True, check=False).stdout
    if "not found" in out:
        raise ImageError(f"{program}: a library is missing:\n{out}")
    return [os.path.join(os.path.realpath(os.path.dirname(found)), os.path.basename(found))
            for found in (a or b for a, b in RESOLVED.findall(out))]


def package_of(path):
    out = subprocess.run(["dpkg-query", "--search", os.path.realpath(path)], text=True, capture_output=True, check=False).stdout
    if not out:
        # Packages from before /lib became a link.
        out = subprocess.run(["dpkg-query", "--search", os.path.realpath(path).removeprefix("/usr")], text=True, capture_output=True,
                             check=False).stdout
    return out.split(":")[0] or "no package"


def check_libraries(layers, programs):
    """Every library that a program needs is in the image."""
    missing = set()
    for program in programs:
        for library in libraries_of(program):
            real = os.path.realpath(library)
            if not any(layer.has(library) for layer in layers) or not any(layer.has(real) for layer in layers):
                missing.add(f"{os.path.basename(program)} needs {library}: add {package_of(library)} to the list")
    if missing:
        raise ImageError("\n".join(sorted(missing)))


def add_program(layer, program, at):
    """Without symbols."""
    with tempfile.NamedTemporaryFile() as stripped:
        out = subprocess.run(["strip", "--strip-all", "-o", stripped.name, program], text=True, capture_output=True, check=False)
        if out.returncode != 0:
            raise ImageError(f"strip {program}: {out.stderr.strip()}")
        # strip replaces the file, so that one is read.
        with open(stripped.name, "rb") as f:
            layer.add(at, f.read(), 0o755)


def add_base(layer):
    """What every image has: the links of a merged /usr, two users, folders."""
    for name in ("bin", "sbin", "lib", "lib64"):
        if os.path.islink("/" + name):
            layer.add(name, link=os.readlink("/" + name))
            layer.add_folder("usr/" + name)
    layer.add("etc/passwd", b"root:x:0:0:root:/root:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n")
    layer.add("etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    layer.add_folder("tmp", 0o1777)
    layer.add_folder("run")
