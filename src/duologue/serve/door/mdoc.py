"""Proofs in the format of mobile documents (ISO/IEC 18013-5): read, and checked to the last signature.

Nothing is believed before it is checked, and no network is asked: whether an issuer has withdrawn a single proof
(status lists) is not looked up. Proofs of age live for some months at most, which bounds that.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from duologue.errors import GuardError

MAX_BYTES = 65_536
_CLOCK_SKEW_SECONDS = 300.0
_ENCODED = 24  # the tag of CBOR that is wrapped in bytes
_ALGORITHM, _CERTIFICATES = 1, 33  # header labels of COSE
_MAX_CERTIFICATES = 4
# ISO/IEC 18013-5, annex B: what a certificate that signs documents is for. Those of the same authority that are for
# websites or people do not have it.
_SIGNS_DOCUMENTS = x509.ObjectIdentifier("1.0.18013.5.1.2")
_DIGESTS: Mapping[str, hashes.HashAlgorithm] = {
    "SHA-256": hashes.SHA256(),
    "SHA-384": hashes.SHA384(),
    "SHA-512": hashes.SHA512(),
}
_SIGNATURES: Mapping[int, tuple[type[ec.EllipticCurve], hashes.HashAlgorithm]] = {
    -7: (ec.SECP256R1, hashes.SHA256()),
    -35: (ec.SECP384R1, hashes.SHA384()),
    -36: (ec.SECP521R1, hashes.SHA512()),
}
_CURVES: Mapping[int, type[ec.EllipticCurve]] = {1: ec.SECP256R1, 2: ec.SECP384R1, 3: ec.SECP521R1}
_UNREADABLE = (  # what a certificate that is none raises when it is read
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a document must say.

    Attributes:
        doc_type: Its type.
        namespace: Where the element is.
        element: The element that must be true.
    """

    doc_type: str
    namespace: str
    element: str


def check_response(
    response: bytes, wanted: Wanted, *, transcript: object, trusted: Sequence[x509.Certificate], now: float
) -> None:
    """Check that a DeviceResponse holds one document whose element is true, for this transcript.

    Args:
        response: As it came.
        wanted: What it must say.
        transcript: The SessionTranscript of the request it answers.
        trusted: Certificates of issuers, or of those who certify them.
        now: Seconds since 1970.

    Raises:
        GuardError: With reason `age_unproven` and what is wrong.
    """
    if len(response) > MAX_BYTES:
        raise unproven(f"the answer has {len(response)} bytes, more than {MAX_BYTES}")
    answer = _map(_decoded(response), "the answer")
    if answer.get("status", 0) != 0:
        raise unproven("the app reports an error")
    documents = answer.get("documents")
    if not isinstance(documents, list | tuple) or len(documents) != 1:
        raise unproven("the answer does not hold exactly one document")
    document = _map(documents[0], "the document")
    if document.get("docType") != wanted.doc_type:
        raise unproven("the document is of another type")
    issued = _map(document.get("issuerSigned"), "what the issuer signed")
    security = _checked_issuer(issued.get("issuerAuth"), trusted, now=now)
    if security.get("docType") != wanted.doc_type:
        raise unproven("the issuer signed a document of another type")
    _check_device(_map(document.get("deviceSigned"), "what the device signed"), security, wanted, transcript)
    _check_element(_map(issued.get("nameSpaces"), "the elements"), security, wanted)


def unproven(fault: str) -> GuardError:
    """Return the refusal of a proof."""
    return GuardError(fault, reason="age_unproven", where="age")


def _checked_issuer(auth: object, trusted: Sequence[x509.Certificate], *, now: float) -> Mapping[Any, Any]:
    """Return the MobileSecurityObject, which a trusted issuer has signed and which is valid now."""
    protected, unprotected, payload, signature = _sign1(auth)
    certificate = _issuer(unprotected.get(_CERTIFICATES), trusted, now=now)
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise unproven("the issuer's key is of a kind that is not known")
    if not isinstance(payload, bytes):
        raise unproven("the issuer signed nothing")
    _check_signature(protected, payload, signature, key, by="the issuer's")
    security = _map(_decoded(_wrapped(_decoded(payload))), "the security object")
    validity = _map(security.get("validityInfo"), "the validity")
    signed, begin, end = (_moment(validity.get(name)) for name in ("signed", "validFrom", "validUntil"))
    if now + _CLOCK_SKEW_SECONDS < max(signed, begin):
        raise unproven("the proof is not valid yet")
    if now >= end:
        raise unproven("the proof has expired")
    if not (certificate.not_valid_before_utc.timestamp() <= signed <= certificate.not_valid_after_utc.timestamp()):
        raise unproven("the issuer's certificate was not valid when the proof was signed")
    return security


def _issuer(chain: object, trusted: Sequence[x509.Certificate], *, now: float) -> x509.Certificate:
    """Return the certificate of the signer: a trusted one, or one that a trusted one has issued."""
    given = [chain] if isinstance(chain, bytes) else chain
    if not isinstance(given, list | tuple) or not 1 <= len(given) <= _MAX_CERTIFICATES:
        raise unproven("the proof does not name its issuer's certificate")
    if not all(isinstance(part, bytes) for part in given):
        raise unproven("the issuer's certificate cannot be read")
    try:
        leaf = x509.load_der_x509_certificate(given[0])
        is_valid = _is_valid(leaf, now)
        anchor = next((found for found in trusted if found == leaf or _has_issued(found, leaf)), None)
    except _UNREADABLE as error:
        raise unproven("the issuer's certificate cannot be read") from error
    if anchor is None:
        raise unproven("the issuer is not one that this server trusts")
    if not is_valid or not _is_valid(anchor, now):
        raise unproven("the issuer's certificate is not valid now")
    return leaf


def _has_issued(issuer: x509.Certificate, leaf: x509.Certificate) -> bool:
    """Return whether a certificate that may sign others has signed this one, which may sign documents only."""
    if not _says(issuer, x509.BasicConstraints, "ca") or not _says(
        issuer, x509.KeyUsage, "key_cert_sign", default=True
    ):
        return False
    if _says(leaf, x509.BasicConstraints, "ca") or not _says(leaf, x509.KeyUsage, "digital_signature", default=True):
        return False
    if not _signs_documents(leaf):
        return False
    try:
        leaf.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _signs_documents(certificate: x509.Certificate) -> bool:
    try:
        return _SIGNS_DOCUMENTS in certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False


def _says(certificate: x509.Certificate, kind: type[Any], name: str, *, default: bool = False) -> bool:
    try:
        return bool(getattr(certificate.extensions.get_extension_for_class(kind).value, name))
    except x509.ExtensionNotFound:
        return default


def _is_valid(certificate: x509.Certificate, now: float) -> bool:
    return certificate.not_valid_before_utc.timestamp() <= now <= certificate.not_valid_after_utc.timestamp()


def _check_device(signed: Mapping[Any, Any], security: Mapping[Any, Any], wanted: Wanted, transcript: object) -> None:
    """Check that the device which the proof was issued to has signed this request."""
    auth = _map(signed.get("deviceAuth"), "the device's signature")
    if "deviceSignature" not in auth:
        raise unproven("the device has not signed the answer")
    protected, _, payload, signature = _sign1(auth["deviceSignature"])
    if payload is not None:
        raise unproven("the device signed something of its own")
    name_spaces = signed.get("nameSpaces")
    _wrapped(name_spaces)
    content = cbor2.dumps(["DeviceAuthentication", transcript, wanted.doc_type, name_spaces])
    detached = cbor2.dumps(cbor2.CBORTag(_ENCODED, content))
    info = _map(security.get("deviceKeyInfo"), "the device's key")
    _check_signature(protected, detached, signature, _public_key(info.get("deviceKey")), by="the device's")


def _check_element(name_spaces: Mapping[Any, Any], security: Mapping[Any, Any], wanted: Wanted) -> None:
    """Check every element against its digest, and that the wanted one is there, once, and true."""
    algorithm = _DIGESTS.get(str(security.get("digestAlgorithm")))
    if algorithm is None:
        raise unproven("the digests are of a kind that is not known")
    digests = _map(_map(security.get("valueDigests"), "the digests").get(wanted.namespace), "the digests")
    items = name_spaces.get(wanted.namespace)
    if not isinstance(items, list | tuple):
        raise unproven(f"'{wanted.element}' is not in the answer")
    values = []
    for item in items:
        digest = hashes.Hash(algorithm)
        digest.update(cbor2.dumps(cbor2.CBORTag(_ENCODED, _wrapped(item))))
        content = _map(_decoded(_wrapped(item)), "an element")
        expected = digests.get(_integer(content.get("digestID")))
        if not isinstance(expected, bytes) or not hmac.compare_digest(digest.finalize(), expected):
            raise unproven("an element is not what the issuer signed")
        if content.get("elementIdentifier") == wanted.element:
            values.append(content.get("elementValue"))
    if len(values) != 1:
        raise unproven(f"'{wanted.element}' is not in the answer")
    if values[0] is not True:
        raise unproven(f"'{wanted.element}' is not true")


def _check_signature(
    protected: bytes, payload: bytes, signature: bytes, key: ec.EllipticCurvePublicKey, *, by: str
) -> None:
    header = _map(_decoded(protected), "the header of a signature")
    found = _SIGNATURES.get(_integer(header.get(_ALGORITHM)))
    if found is None or not isinstance(key.curve, found[0]):
        raise unproven(f"{by} signature is of a kind that is not known")
    half = (key.curve.key_size + 7) // 8
    if len(signature) != 2 * half:
        raise unproven(f"{by} signature is wrong")
    numbers = (int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))
    signed = cbor2.dumps(["Signature1", protected, b"", payload])
    try:
        key.verify(encode_dss_signature(*numbers), signed, ec.ECDSA(found[1]))
    except InvalidSignature as error:
        raise unproven(f"{by} signature is wrong") from error


def _public_key(cose: object) -> ec.EllipticCurvePublicKey:
    key = _map(cose, "the device's key")
    curve, x, y = _CURVES.get(_integer(key.get(-1))), key.get(-2), key.get(-3)
    if key.get(1) != 2 or curve is None or not isinstance(x, bytes) or not isinstance(y, bytes):
        raise unproven("the device's key is of a kind that is not known")
    try:
        return ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve()).public_key()
    except ValueError as error:
        raise unproven("the device's key is not on its curve") from error


def _sign1(value: object) -> tuple[bytes, Mapping[Any, Any], bytes | None, bytes]:
    parts = value.value if isinstance(value, cbor2.CBORTag) and value.tag == 18 else value
    if isinstance(parts, list | tuple) and len(parts) == 4:
        protected, unprotected, payload, signature = parts
        if isinstance(protected, bytes) and isinstance(signature, bytes) and isinstance(payload, bytes | None):
            return protected, _map(unprotected, "the header of a signature"), payload, signature
    raise unproven("a signature cannot be read")


def _wrapped(value: object) -> bytes:
    if isinstance(value, cbor2.CBORTag) and value.tag == _ENCODED and isinstance(value.value, bytes):
        return value.value
    raise unproven("the answer is not built as it should be")


def _integer(value: object) -> int:
    return value if isinstance(value, int) else 0


def _moment(value: object) -> float:
    if not isinstance(value, datetime):
        raise unproven("a date of the proof cannot be read")
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()


def _map(value: object, what: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise unproven(f"{what} cannot be read")
    return value


def _decoded(data: bytes) -> object:
    try:
        return cbor2.loads(data, max_depth=16, allow_duplicate_keys=False)
    except (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError, RecursionError, ArithmeticError) as error:
        raise unproven("the answer is not CBOR") from error
