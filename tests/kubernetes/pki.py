"""Keys and certificates of the test cluster, by openssl. They live as long as the cluster does."""
import os
import subprocess


def openssl(folder, *arguments):
    out = subprocess.run(["openssl", *arguments], cwd=folder, text=True, capture_output=True, check=False)
    if out.returncode != 0:
        raise RuntimeError(f"openssl {' '.join(arguments)}: {out.stderr.strip()}")


def make_authority(folder):
    os.makedirs(folder, mode=0o700)
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.crt",
            "-days", "30", "-subj", "/CN=weft-test-cluster", "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")


def issue(folder, name, subject, *alternatives):
    """name.crt and name.key, good for both ends of a connection."""
    with open(f"{folder}/{name}.ext", "w", encoding="ascii") as f:
        f.write("extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=" + ",".join(alternatives or (f"DNS:{name}",)) + "\n")
    openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name + ".key", "-out", name + ".csr",
            "-subj", subject)
    openssl(folder, "x509", "-req", "-in", name + ".csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
            "-out", name + ".crt", "-extfile", name + ".ext")


def make_account_key(folder):
    """What ServiceAccount tokens are signed with."""
    openssl(folder, "genrsa", "-out", "sa.key", "2048")
    openssl(folder, "rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub")


def write_kubeconfig(path, server, folder, name):
    """For the holder of name.crt. `folder` is where the reader finds the certificates."""
    with open(path, "w", encoding="ascii") as f:
        f.write(f"""apiVersion: v1
kind: Config
clusters: [{{name: test, cluster: {{server: "{server}", certificate-authority: {folder}/ca.crt}}}}]
users: [{{name: {name}, user: {{client-certificate: {folder}/{name}.crt, client-key: {folder}/{name}.key}}}}]
contexts: [{{name: test, context: {{cluster: test, user: {name}}}}}]
current-context: test
""")
