"""Images that the test cluster needs besides Weft's: what holds a pod's namespaces, and what stands in for an application. Made from files
of this machine by tools/image."""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT + "/tools/image")
import installed  # noqa: E402 pylint: disable=wrong-import-position
import oci  # noqa: E402 pylint: disable=wrong-import-position

PAUSE = "weft.test/pause:1"
APPLICATION = "weft.test/application:1"
OUT = ROOT + "/build/images"
# It answers with its version, which it has from the environment, and says it in a header for weft-bench-load.
NGINX = """daemon off; master_process off; user root; pid /tmp/nginx.pid; error_log stderr warn;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 100000000;
  client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi; uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
  server { listen 8080 backlog=4096; add_header x-version VERSION always; location / { return 200 "product-service VERSION\\n"; } }
}
"""
SERVE = """#!/bin/sh
sed "s/VERSION/$VERSION/g" /etc/nginx.conf > /tmp/nginx.conf
exec nginx -e stderr -c /tmp/nginx.conf
"""
TOOLS = ("sh", "sed", "cat", "sleep", "wget", "nc", "ip", "ls", "env", "grep", "true")


def add_tools(layer):
    layer.add_file_of_machine("/bin/busybox", "bin/busybox")
    for name in TOOLS:
        layer.add("bin/" + name, link="busybox")
    layer.add_folder("tmp", 0o1777)


def pause():
    """The archive of the image that every pod's sandbox runs."""
    layer = oci.Layer()
    add_tools(layer)
    archive = OUT + "/pause.tar"
    oci.write_archive(archive, PAUSE, [layer], {"Entrypoint": ["/bin/busybox", "sleep", "2147483647"], "Env": ["PATH=/bin"]})
    return archive


def application(bin_dir):
    """A server (`serve`, by VERSION in its environment) and a client (weft-bench-load)."""
    layer = oci.Layer()
    add_tools(layer)
    for program in ("/usr/sbin/nginx", bin_dir + "/weft-bench-load"):
        installed.add_program(layer, program, "bin/" + os.path.basename(program))
        for library in installed.libraries_of(program):
            layer.add_file_of_machine(library)
            layer.add_file_of_machine(os.path.realpath(library))
    for name in ("lib", "lib64"):
        layer.add(name, link="usr/" + name)
    layer.add("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    layer.add("etc/group", b"root:x:0:\n")
    layer.add("etc/nginx.conf", NGINX.encode())
    layer.add("bin/serve", SERVE.encode(), 0o755)
    for name in ("var/log/nginx", "var/lib/nginx"):
        layer.add_folder(name)
    archive = OUT + "/application.tar"
    oci.write_archive(archive, APPLICATION, [layer], {"Entrypoint": ["/bin/serve"], "Env": ["PATH=/bin", "VERSION=none"]})
    return archive
