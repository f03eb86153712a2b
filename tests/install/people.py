"""Who may sign in at the installed platform: three people of an institution with a provider and a CA of its own."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.oidc.served import CLIENT_ID, CLIENT_SECRET, Secured, Served, serve

PROVIDER = "Planck Lab"
PREMIUM = "premium"
PEOPLE = {"Elena": "Elena Marchetti", "Ravi": "Ravi Nair", "Ada": "Ada Okafor"}
DAYS = 2


def write_accounts(file: Path) -> None:
    """The provider's accounts; Elena is in the group of those who get more."""
    accounts = [
        {
            "login": given.lower(), "password": f"{given.lower()}-pw", "sub": f"2{number}", "name": name,
            "email": f"{given.lower()}@example.org", "email_verified": True,
            "groups": [PREMIUM] if given == "Elena" else [],
        }
        for number, (given, name) in enumerate(PEOPLE.items())
    ]  # fmt: skip
    file.write_text(json.dumps(accounts))


def write_certificate(address: str, certificate: Path, key: Path) -> None:
    """A certificate that signs itself, for an address of a network."""
    made = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, PROVIDER)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(made.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(made, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    words = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key.write_bytes(made.private_bytes(*words))


@contextmanager
def provider(folder: Path, address: str, public_url: str) -> Iterator[Served]:
    """The provider at that address, which knows the platform's callback."""
    secured = Secured(address, folder / "provider.crt", folder / "provider.key", folder / "accounts.json")
    write_certificate(address, secured.certificate, secured.key)
    write_accounts(secured.accounts)
    with serve(f"{public_url}/auth/lab/callback", secured=secured) as served:
        yield served


def sign_in_settings(served: Served) -> dict[str, str]:
    """The settings of signing in, for the Secret that the role web gets."""
    lab = {
        "id": "lab",
        "name": PROVIDER,
        "issuer": served.issuer,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "scopes": ["openid", "email", "profile", "groups"],
        "allowed": "everybody",
        "tiers": [{"claim": "groups", "contains": PREMIUM, "tier": "premium"}],
    }
    return {"CMB_OIDC_PROVIDERS": json.dumps([lab])}
