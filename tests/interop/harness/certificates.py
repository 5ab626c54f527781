"""Certificates for servers other than the reference cloud, which makes its own."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LIFE = datetime.timedelta(days=2)


def issue(directory, name):
    """Writes server.pem and server.key for a DNS name; the authority's certificate (PEM), which is to be trusted."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the front's authority")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    ca = _sign(issuer, authority, issuer, authority, x509.BasicConstraints(ca=True, path_length=0))
    leaf = _sign(subject, key, issuer, authority, x509.SubjectAlternativeName([x509.DNSName(name)]))
    (directory / "server.pem").write_text(_pem(leaf))
    (directory / "server.key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return _pem(ca)


def _sign(subject, key, issuer, authority, extension):
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
               .serial_number(x509.random_serial_number()).not_valid_before(now - LIFE).not_valid_after(now + LIFE)
               .add_extension(extension, critical=False))
    return builder.sign(authority, hashes.SHA256())


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
