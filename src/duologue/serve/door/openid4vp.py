"""Wallets: a proof of age by OpenID for Verifiable Presentations 1.0, as the EU age verification profile asks for it.

The profile (eu-digital-identity-wallet/av-doc-technical-specification, Annex A): the request is sent by value, in a
link `av://`; it is neither signed nor encrypted, TLS protects it; the client is named by `redirect_uri:` and where the
answer goes; the answer is posted (`direct_post`) and holds an ISO mobile document of type `eu.europa.ec.av.1` with the
one element `age_over_18`.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import cbor2
from cryptography import x509

from duologue.errors import ConfigError
from duologue.serve.door.age import AgeRequest
from duologue.serve.door.mdoc import MAX_BYTES, Wanted, check_response, unproven

DOC_TYPE = NAMESPACE = "eu.europa.ec.av.1"
ELEMENT = "age_over_18"
CREDENTIAL = "proof_of_age"
_ADULT = Wanted(DOC_TYPE, NAMESPACE, ELEMENT)
_QUERY = {
    "credentials": [
        {
            "id": CREDENTIAL,
            "format": "mso_mdoc",
            "meta": {"doctype_value": DOC_TYPE},
            "claims": [{"path": [NAMESPACE, ELEMENT]}],
        }
    ]
}


@dataclass(frozen=True, slots=True)
class Wallets:
    """Asks a wallet or an age verification app for `age_over_18`.

    Attributes:
        trusted: Certificates of issuers, or of those who certify them.
    """

    trusted: tuple[x509.Certificate, ...]

    @classmethod
    def trusting(cls, files: Sequence[str]) -> "Wallets":
        """Return what believes the issuers in PEM files.

        Raises:
            ConfigError: There is none, or a file cannot be read.
        """
        if not files:
            raise ConfigError(
                "no issuer of proofs of age is trusted",
                where="age.trusted_issuers",
                needed="PEM files with the issuers' certificates",
                action="Take them from the trusted list of your country or of the provider you have chosen.",
            )
        return cls(tuple(certificate for file in files for certificate in _certificates(Path(file))))

    def link(self, request: AgeRequest) -> str:
        """Return the address that opens the wallet."""
        values = {
            "response_type": "vp_token",
            "response_mode": "direct_post",
            "client_id": client_id(request),
            "response_uri": request.answer_url,
            "dcql_query": json.dumps(_QUERY, separators=(",", ":")),
            "nonce": request.nonce,
            "state": request.id,
        }
        return f"av://authorize?{urlencode(values)}"

    def check(self, request: AgeRequest, fields: Mapping[str, str], *, now: float) -> None:
        """Refuse an answer that does not prove that the person is an adult.

        Raises:
            GuardError: With reason `age_unproven` and what is wrong with it.
        """
        if "error" in fields:
            raise unproven(f"the app answered '{fields['error'][:80]}'")
        response = _presentation(fields.get("vp_token", ""))
        check_response(response, _ADULT, transcript=transcript_of(request), trusted=self.trusted, now=now)


def client_id(request: AgeRequest) -> str:
    """Return who asks, as the wallet sees it."""
    return f"redirect_uri:{request.answer_url}"


def transcript_of(request: AgeRequest) -> list[object]:
    """Return the SessionTranscript of a request (OpenID4VP 1.0, B.2.6.1), which the device signs.

    The third part of the handover is the key that the answer is encrypted to; here it is not.
    """
    return session_transcript(client_id(request), request.nonce, None, request.answer_url)


def session_transcript(client: str, nonce: str, thumbprint: bytes | None, answer_url: str) -> list[object]:
    """Return a SessionTranscript of its four parts."""
    info = cbor2.dumps([client, nonce, thumbprint, answer_url])
    return [None, None, ["OpenID4VPHandover", hashlib.sha256(info).digest()]]


def _presentation(token: str) -> bytes:
    try:
        answer = json.loads(token) if len(token) <= 2 * MAX_BYTES else None
    except (ValueError, RecursionError) as error:
        raise unproven("the vp_token is not JSON") from error
    shown = answer.get(CREDENTIAL) if isinstance(answer, dict) else None
    if not isinstance(shown, list) or len(shown) != 1 or not isinstance(shown[0], str):
        raise unproven("the vp_token does not hold exactly one proof of age")
    try:
        return base64.b64decode(shown[0] + "=" * (-len(shown[0]) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise unproven("the proof of age is not base64url") from error


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"the file cannot be read ({error.strerror})", where=f"age.trusted_issuers: {path}"
        ) from error
    except ValueError as error:
        raise ConfigError(
            "the file holds no certificate",
            where=f"age.trusted_issuers: {path}",
            needed="PEM, which begins with -----BEGIN CERTIFICATE-----",
        ) from error
