"""The proxy example, run as it is: a real nginx with TLS in front of a real server."""

import os
import shutil
import socket
import ssl
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.deploy.served import CHARACTER, free_port, make_character, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed (Debian: nginx-light)"),
]
_KEY = "a-key-for-this-test-only"


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for lila.example that nobody has signed but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lila.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("lila.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "lila.pem", folder / "lila.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret = serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret))
    return pem, private


def configuration(repository: Path, folder: Path, *, app_port: int, http_port: int, https_port: int) -> Path:
    """Write the example with this test's ports and certificate, inside the smallest frame nginx needs."""
    pem, private = make_certificate(folder)
    text = (repository / "deploy" / "nginx.conf").read_text(encoding="utf-8")
    for was, becomes in (
        ("127.0.0.1:7860", f"127.0.0.1:{app_port}"),
        ("listen 80;", f"listen 127.0.0.1:{http_port};"),
        ("listen [::]:80;", ""),
        ("listen 443 ssl http2;", f"listen 127.0.0.1:{https_port} ssl http2;"),
        ("listen [::]:443 ssl http2;", ""),
        ("/etc/ssl/lila.example.pem", str(pem)),
        ("/etc/ssl/lila.example.key", str(private)),
    ):
        assert was in text, was
        text = text.replace(was, becomes)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    file = folder / "nginx.conf"
    file.write_text(
        f"daemon off; {user} pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}\n{text}\n}}\n",
        encoding="utf-8",
    )
    return file


@pytest.fixture(scope="module")
def proxied(tmp_path_factory, repository_root):
    """Yield the address of nginx, the folder with its certificate, and the server behind it."""
    folder = tmp_path_factory.mktemp("proxy")
    app_port, http_port, https_port = free_port(), free_port(), free_port()
    file = configuration(repository_root, folder, app_port=app_port, http_port=http_port, https_port=https_port)
    checked = subprocess.run(["nginx", "-t", "-c", file], check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    keys = {"trusted_proxies": ["127.0.0.1"], "public_url": f"https://lila.example:{https_port}"}
    lila = make_character(folder / "lila", server=keys)
    with serving(lila, port=app_port, environment={"DUOLOGUE_API_KEY": _KEY}, engine="hf") as server:
        nginx = subprocess.Popen(["nginx", "-c", file])
        try:
            wait_until_open(https_port)
            yield https_port, http_port, folder, server
        finally:
            nginx.terminate()
            nginx.wait(timeout=30)


@pytest.fixture(scope="module")
def repository_root(request):
    return request.config.rootpath


def wait_until_open(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("nginx does not listen")


def client(proxied, *, key: str = _KEY, source: str = "127.0.0.1") -> httpx.Client:
    """Return a client that trusts the certificate and takes lila.example for this machine."""
    https_port, _, folder, _ = proxied
    context = ssl.create_default_context(cafile=folder / "lila.pem")
    headers = {"Host": f"lila.example:{https_port}", **({"Authorization": f"Bearer {key}"} if key else {})}
    return httpx.Client(
        base_url=f"https://127.0.0.1:{https_port}",
        headers=headers,
        transport=httpx.HTTPTransport(verify=context, local_address=source),
        timeout=60,
    )


def ask(proxied, text: str, **options):
    extensions = {"sni_hostname": "lila.example"}
    body = {"model": CHARACTER, "messages": [{"role": "user", "content": text}], "stream": True, "max_tokens": 400}
    with (
        client(proxied, **options) as caller,
        caller.stream("POST", "/v1/chat/completions", json=body, extensions=extensions) as answer,
    ):
        arrived = []
        for line in answer.iter_lines():
            if line:
                arrived.append((time.monotonic(), line))
        return answer, arrived


def test_plain_http_is_sent_to_https(proxied):
    _, http_port, _, _ = proxied
    answer = httpx.get(f"http://127.0.0.1:{http_port}/login", headers={"Host": "lila.example"}, timeout=10)

    assert (answer.status_code, answer.headers["location"]) == (301, "https://lila.example/login")


def test_a_reply_comes_through_piece_by_piece(proxied):
    """Few enough that a proxy that collects pieces would hold all of them back until the last."""
    https_port, _, folder, _ = proxied
    context = ssl.create_default_context(cafile=folder / "lila.pem")
    body = b'{"model":"%s","stream":true,"max_tokens":8,"messages":[{"role":"user","content":"Tell me of the moths"}]}'
    body = body % CHARACTER.encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: lila.example:{https_port}\r\nAuthorization: Bearer {_KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with (
        socket.create_connection(("127.0.0.1", https_port), timeout=120) as plain,
        context.wrap_socket(plain, server_hostname="lila.example") as secured,
    ):
        secured.sendall(head.encode() + body)
        records = []
        while piece := secured.recv(65536):
            records.append(piece)
    told = b"".join(records)

    assert told.startswith(b"HTTP/1.1 200")
    assert told.count(b"data: {") >= 3
    with_text = [record for record in records if b"data: {" in record]
    assert b"[DONE]" in told
    assert b"[DONE]" not in with_text[0]
    assert len(with_text) >= 3, "the pieces came together: something held them back"


def test_whoever_has_no_key_is_refused_behind_the_proxy_too(proxied):
    answer, _ = ask(proxied, "Hello", key="")

    assert answer.status_code == 401


def test_the_address_that_counts_is_the_visitors_and_nobody_can_invent_one(proxied):
    """Wrong keys from one address are soon refused for a while; another address is not touched by that."""
    statuses = []
    with client(proxied, key="wrong", source="127.0.0.2") as guesser:
        for number in range(40):
            claimed = {"X-Forwarded-For": f"203.0.113.{number}"}  # a lie that must not help
            extensions = {"sni_hostname": "lila.example"}
            statuses.append(guesser.get("/v1/models", headers=claimed, extensions=extensions).status_code)
    with client(proxied, source="127.0.0.3") as friend:
        kind = friend.get("/v1/models", extensions={"sni_hostname": "lila.example"}).status_code

    assert statuses[0] == 401
    assert statuses[-1] == 429
    assert kind == 200
