"""Faults 18 and 19: pictures and archives that are bombs, through the routes that take files."""

import io
import json
import struct
import zipfile
import zlib

import pytest

from tests.faults.test_texts import require_no_server_error


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, size: int = 1) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(min((size + 1) * 64, 10**6))))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def archive(files: dict[str, bytes], *, kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", kind) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return target.getvalue()


CARD = json.dumps(
    {"spec": "chara_card_v3", "spec_version": "3.0", "data": {"name": "Ada", "description": "x"}}
).encode()
BOMBS = {
    "many pixels.png": lambda: png(size=20_000),
    "most pixels.png": lambda: png(size=2**31 - 1),
    "packed text.png": lambda: png(chunk(b"zTXt", b"chara\0\0" + zlib.compress(b"A" * 50_000_000))),
    "long text.png": lambda: png(chunk(b"tEXt", b"chara\0" + b"A" * 800_000)),
    "many chunks.png": lambda: png(*[chunk(b"tEXt", b"a\0b")] * 40_000),
    "a lying length.png": lambda: png() + struct.pack(">I", 2**31 - 1) + b"tEXtchara",
    "no picture.png": lambda: b"\x89PNG\r\n\x1a\n" + bytes(1_000),
    "large inside.charx": lambda: archive({"card.json": CARD, "assets/x.bin": bytes(200_000_000)}),
    "large card.charx": lambda: archive({"card.json": b" " * 100_000_000}),
    "many files.charx": lambda: archive({"card.json": CARD} | {f"a/{n}": b"" for n in range(9_000)}),
    "up.charx": lambda: archive({"card.json": CARD, "../../../escaped.txt": b"x", "/absolute.txt": b"x"}),
    "no archive.charx": lambda: b"PK\x03\x04" + bytes(1_000),
    "deep.json": lambda: b"[" * 500_000,
    "packed.json.gz": lambda: zlib.compress(b"[" * 50_000_000, wbits=31),
}
REFUSED_AS_CARDS = [name for name in BOMBS if name not in ("up.charx", "packed.json.gz", "many chunks.png")]


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_is_a_bomb_is_refused_and_the_server_goes_on(home, name):
    sent = home.client.post("/page/uploads", params={"name": name}, content=BOMBS[name]())
    require_no_server_error(sent, name)
    if sent.is_success:
        upload = sent.json()["id"]
        shown = home.client.get(f"/page/cards/{upload}")
        require_no_server_error(shown, f"{name} as a card")
        made = home.client.post("/page/characters", json={"upload": upload})
        require_no_server_error(made, f"{name} as a character")
        if name in REFUSED_AS_CARDS:
            assert not made.is_success, f"{name}: {made.text[:200]}"
    assert not list(home.root.parent.rglob("escaped.txt"))
    assert home.client.get("/health").status_code == 200
