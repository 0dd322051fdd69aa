"""An issuer of proofs of age and a wallet that shows them, as the EU age verification profile describes both.

Written against the standards and not against the server's own code: only the CBOR library is shared.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import cbor2
import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

DOC_TYPE = "eu.europa.ec.av.1"


def wrapped(value: Any) -> cbor2.CBORTag:
    return cbor2.CBORTag(24, cbor2.dumps(value))


def sign1(key: ec.EllipticCurvePrivateKey, payload: bytes, *, unprotected: dict | None = None, detached: bool = False):
    protected = cbor2.dumps({1: -7})
    der = key.sign(cbor2.dumps(["Signature1", protected, b"", payload]), ec.ECDSA(hashes.SHA256()))
    r, s = decode_dss_signature(der)
    return [protected, unprotected or {}, None if detached else payload, r.to_bytes(32) + s.to_bytes(32)]


SIGNS_DOCUMENTS = x509.ObjectIdentifier("1.0.18013.5.1.2")


def certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    issuer: str = "",
    issuer_key: ec.EllipticCurvePrivateKey | None = None,
    is_ca: bool = False,
    days: tuple[int, int] = (-30, 365),
    purposes: Sequence[x509.ObjectIdentifier] = (),
) -> x509.Certificate:
    now = datetime.now(UTC)
    named = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (name, issuer or name)]
    built = (
        x509.CertificateBuilder()
        .subject_name(named[0])
        .issuer_name(named[1])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    if purposes:
        built = built.add_extension(x509.ExtendedKeyUsage(purposes), critical=True)
    return built.sign(issuer_key or key, hashes.SHA256())


@dataclass
class Issuer:
    """Somebody who certifies those who sign proofs of age, and one of these."""

    root_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    signer_days: tuple[int, int] = (-20, 300)
    signer_purposes: Sequence[x509.ObjectIdentifier] = (SIGNS_DOCUMENTS,)

    def __post_init__(self) -> None:
        self.root = certificate("Proofs of age, root", self.root_key, is_ca=True)
        self.signer = certificate(
            "Proofs of age, signer",
            self.key,
            issuer="Proofs of age, root",
            issuer_key=self.root_key,
            days=self.signer_days,
            purposes=self.signer_purposes,
        )

    def pem(self) -> bytes:
        return self.root.public_bytes(serialization.Encoding.PEM)

    def issue(self, **changes: Any) -> "Wallet":
        """Issue a proof to a new device; `changes` are those of `Claims`."""
        claims = replace(Claims(), **changes)
        device_key = ec.generate_private_key(ec.SECP256R1())
        numbers = device_key.public_key().public_numbers()
        items = [
            wrapped(
                {
                    "digestID": number,
                    "random": secrets.token_bytes(16),
                    "elementIdentifier": name,
                    "elementValue": value,
                }
            )
            for number, (name, value) in enumerate(claims.elements.items())
        ]
        digests = {n: hashlib.sha256(cbor2.dumps(item)).digest() for n, item in enumerate(items)}
        now = datetime.now(UTC).replace(microsecond=0)
        security = {
            "version": "1.0",
            "digestAlgorithm": "SHA-256",
            "docType": claims.signed_doc_type,
            "valueDigests": {DOC_TYPE: digests},
            "deviceKeyInfo": {"deviceKey": {1: 2, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)}},
            "validityInfo": {
                "signed": now + timedelta(days=claims.days[0]),
                "validFrom": now + timedelta(days=claims.days[0]),
                "validUntil": now + timedelta(days=claims.days[1]),
            },
        }
        der = self.signer.public_bytes(serialization.Encoding.DER)
        auth = sign1(self.key, cbor2.dumps(wrapped(security)), unprotected={33: der})
        return Wallet(device_key, items, auth)


@dataclass(frozen=True)
class Claims:
    """What an issuer says."""

    elements: dict[str, Any] = field(default_factory=lambda: {"age_over_18": True})
    signed_doc_type: str = DOC_TYPE
    days: tuple[int, int] = (-1, 90)


@dataclass
class Asked:
    """A request as the wallet reads it from the link."""

    client_id: str
    answer_url: str
    nonce: str
    state: str
    query: dict[str, Any]

    @classmethod
    def read(cls, link: str) -> "Asked":
        parts = urlsplit(link)
        assert parts.scheme == "av"
        values = {name: found[0] for name, found in parse_qs(parts.query).items()}
        assert values["response_type"] == "vp_token"
        assert values["response_mode"] == "direct_post"
        assert values["client_id"] == f"redirect_uri:{values['response_uri']}"
        return cls(
            values["client_id"],
            values["response_uri"],
            values["nonce"],
            values["state"],
            json.loads(values["dcql_query"]),
        )


@dataclass
class Wallet:
    """A device with one proof of age. Its fields may be changed to make it lie.

    Attributes:
        device_key: The key the proof was issued to.
        items: What the issuer's digests are of.
        issuer_auth: What the issuer signed.
        doc_type: Of the document it shows.
        device_auth: Replaces the device's signature; None signs as it should.
    """

    device_key: ec.EllipticCurvePrivateKey
    items: list[Any]
    issuer_auth: list[Any]
    doc_type: str = DOC_TYPE
    device_auth: dict[str, Any] | None = None

    def response(self, asked: Asked) -> bytes:
        """Return the DeviceResponse to a request."""
        info = cbor2.dumps([asked.client_id, asked.nonce, None, asked.answer_url])
        transcript = [None, None, ["OpenID4VPHandover", hashlib.sha256(info).digest()]]
        name_spaces = wrapped({})
        signed = cbor2.dumps(wrapped(["DeviceAuthentication", transcript, self.doc_type, name_spaces]))
        auth = self.device_auth
        if auth is None:
            auth = {"deviceSignature": sign1(self.device_key, signed, detached=True)}
        document = {
            "docType": self.doc_type,
            "issuerSigned": {"nameSpaces": {DOC_TYPE: self.items}, "issuerAuth": self.issuer_auth},
            "deviceSigned": {"nameSpaces": name_spaces, "deviceAuth": auth},
        }
        return cbor2.dumps({"version": "1.0", "documents": [document], "status": 0})

    def fields(self, asked: Asked) -> dict[str, str]:
        """Return the form that answers a request."""
        [wanted] = asked.query["credentials"]
        assert wanted["format"] == "mso_mdoc"
        assert wanted["meta"] == {"doctype_value": DOC_TYPE}
        assert wanted["claims"] == [{"path": [DOC_TYPE, "age_over_18"]}]
        shown = base64.urlsafe_b64encode(self.response(asked)).rstrip(b"=").decode()
        return {"vp_token": json.dumps({wanted["id"]: [shown]}), "state": asked.state}

    def post(self, asked: Asked, **changes: str) -> httpx.Response:
        """Answer a request as the app does: from a device that is logged in nowhere."""
        return httpx.post(asked.answer_url, data={**self.fields(asked), **changes}, timeout=30)
