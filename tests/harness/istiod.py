#!/usr/bin/python3
"""A stand-in for istiod's certificate service, in another language than the agent's and without its messages: bytes are read as
the wire format has them. Used by istio_authority_test.cc and istiod_test.cc.

  istiod.py FOLDER PORT

makes an authority in FOLDER, or goes on with the one that is there (root.crt, as istiod publishes it; also signs its own certificate, for
localhost and 127.0.0.1), writes a certificate as ztunnel would get one for a pod (peer.crt, peer.key), listens on 127.0.0.1:PORT, prints
"listening", and then one JSON line for each request: what came. Where FOLDER/accepts is a file, that token alone may ask.
FOLDER/mode, read for each request, says what is done:
  sign SECONDS    a certificate that lives so long (no file: sign 3600)
  refuse          UNAUTHENTICATED, as for everybody who may not ask
  hang            no answer, until the caller gives up
  expired | early | other-key | other-identity | no-roots | other-roots | ed448 | nonsense    an answer that must not be taken"""
import datetime
import ipaddress
import json
import os
import sys
import threading
from concurrent import futures

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wire import field, fields

METHOD = "istio.v1.auth.IstioCertificateService"
PEER = "spiffe://cluster.local/ns/default/sa/default"
REFUSED = "request authenticate failure"


def struct(message):
    """google.protobuf.Struct of strings."""
    out = {}
    for _, entry in fields(message):
        parts = dict(fields(entry))
        out[parts[1].decode()] = dict(fields(parts[2]))[3].decode()
    return out


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def secret_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


class Authority:
    def __init__(self, name, key=None):
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])
        builder = self.builder(self.key.public_key(), self.name, -60, 86400)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = self.finish(builder)

    def builder(self, key, subject, begin, end):
        now = datetime.datetime.utcnow()
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key)
                .serial_number(x509.random_serial_number())
                .not_valid_before(now + datetime.timedelta(seconds=begin))
                .not_valid_after(now + datetime.timedelta(seconds=end)))

    def finish(self, builder):
        return builder.sign(self.key, None if isinstance(self.key, ed448.Ed448PrivateKey) else hashes.SHA256())

    def leaf(self, key, names, begin, end):
        builder = self.builder(key, x509.Name([]), begin, end)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        return self.finish(builder.add_extension(usage, critical=False))


class Istiod:
    def __init__(self, folder):
        self.folder = folder
        self.root = self.keep("root", Authority("root"))
        # As istiod has it with a plugged-in authority: what signs is an intermediate.
        self.issuer = self.keep("issuer", self.below(Authority("issuer")))
        self.edwards = self.below(Authority("edwards", ed448.Ed448PrivateKey.generate()))
        self.other = Authority("other")

    def below(self, authority):
        """It, with a certificate of the root."""
        builder = self.root.builder(authority.key.public_key(), authority.name, -60, 86400)
        authority.certificate = self.root.finish(
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True))
        return authority

    def keep(self, name, made):
        """What was kept under the name before; else what was made, from now on."""
        base = os.path.join(self.folder, name)
        if os.path.exists(base + ".key"):
            with open(base + ".key", "rb") as key, open(base + ".crt", "rb") as certificate:
                made.key = serialization.load_pem_private_key(key.read(), None)
                made.certificate = x509.load_pem_x509_certificate(certificate.read())
        write(base + ".crt", pem(made.certificate))
        write(base + ".key", secret_pem(made.key))
        return made

    def read(self, name):
        try:
            with open(os.path.join(self.folder, name), encoding="utf-8") as file:
                return file.read().split()
        except FileNotFoundError:
            return []

    def create(self, request, context):
        asked = dict(fields(request))
        metadata = {key: value for key, value in context.invocation_metadata()}
        csr = x509.load_pem_x509_csr(asked[1])
        extensions = list(csr.extensions)
        print(json.dumps({
            "numbers": sorted(asked), "validity": asked.get(3, 0), "metadata": struct(asked.get(4, b"")),
            "authorization": metadata.get("authorization"), "clusterid": metadata.get("clusterid"),
            "signature": csr.is_signature_valid, "curve": csr.public_key().curve.name,
            "hash": csr.signature_hash_algorithm.name, "subject": csr.subject.rfc4514_string(),
            "extensions": [[each.oid.dotted_string, each.critical] for each in extensions],
            "uris": [name for each in extensions for name in each.value.get_values_for_type(x509.UniformResourceIdentifier)],
        }), flush=True)
        return self.answer(csr, context)

    def answer(self, csr, context):
        mode = self.read("mode") or ["sign", "3600"]
        accepts = self.read("accepts")
        shown = dict(context.invocation_metadata()).get("authorization")
        if mode[0] == "refuse" or (accepts and shown != "Bearer " + accepts[0]):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, REFUSED)
        if mode[0] == "hang":
            gone = threading.Event()
            context.add_callback(gone.set)
            gone.wait()
        if mode[0] == "nonsense":
            return field(1, b"no certificate") + field(1, b"and no roots")
        begin, end = {"expired": (-7200, -3600), "early": (3600, 7200)}.get(mode[0], (-60, int(mode[1]) if mode[0] == "sign" else 3600))
        names = list(csr.extensions)[0].value
        if mode[0] == "other-identity":
            names = [x509.UniformResourceIdentifier("spiffe://cluster.local/ns/shop/sa/other")]
        key = self.other.key.public_key() if mode[0] == "other-key" else csr.public_key()
        issuer = self.edwards if mode[0] == "ed448" else self.issuer
        chain = [issuer.leaf(key, list(names), begin, end), issuer.certificate]
        if mode[0] != "no-roots":
            chain.append(self.other.certificate if mode[0] == "other-roots" else self.root.certificate)
        else:
            chain = chain[:1]
        return b"".join(field(1, pem(each)) for each in chain)

    def serve(self, port):
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = self.root.leaf(key.public_key(), names, -60, 86400)
        peer = ec.generate_private_key(ec.SECP256R1())
        leaf = self.issuer.leaf(peer.public_key(), [x509.UniformResourceIdentifier(PEER)], -60, 3600)
        write(os.path.join(self.folder, "peer.crt"), pem(leaf) + pem(self.issuer.certificate))
        write(os.path.join(self.folder, "peer.key"), secret_pem(peer))
        secret = secret_pem(key)
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=[("grpc.so_reuseport", 0)])
        handlers = {"CreateCertificate": grpc.unary_unary_rpc_method_handler(self.create)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(METHOD, handlers),))
        if server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([(secret, pem(certificate))])) == 0:
            sys.exit(f"cannot listen on port {port}")
        server.start()
        print("listening", flush=True)
        server.wait_for_termination()


if __name__ == "__main__":
    Istiod(sys.argv[1]).serve(int(sys.argv[2]))
