"""Poisoned bundles: each is refused with a sentence, and nothing of it is left."""

import json
import pickle
import random
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from duologue.errors import DuologueError
from duologue.export import bundle_form
from duologue.export.unbundle import unpack_bundle
from tests.export.bundles import CONFIG, RUN, SETTINGS, WEIGHTS, bundle_of, lora, rewritten, trained_folder


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("good")
    bundle_of(trained_folder(place / "lila"), place / "lila.charx")
    return place / "lila.charx"


def refusal(file: Path, tmp_path: Path) -> str:
    """Unpack a bundle that must be refused; return why, and see that nothing is left."""
    outside = tmp_path / "place"
    outside.mkdir()
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(DuologueError) as caught:
        unpack_bundle(file, outside / "back")
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    said = str(caught.value)
    assert all(sign.isprintable() or sign == "\n" for sign in said)
    return said


def changed(good: Path, name: str, **keys: object) -> dict[str, bytes]:
    """A JSON file of the bundle with keys replaced."""
    with zipfile.ZipFile(good) as archive:
        return {name: json.dumps({**json.loads(archive.read(name)), **keys}).encode()}


def header(text: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text + body


ONE = '{"%s": {"dtype": "F32", "shape": [1], "data_offsets": [%d, %d]}}'


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("../out.json", b"{}", "leads out"),
        ("/etc/out.json", b"{}", "absolute"),
        ("C:/out.json", b"{}", "absolute"),
        ("assets\\x.json", b"{}", "backslash"),
        ("assets/icon/images/\x1b[31mred.png", b"x", "control character"),
        ("assets/icon/images/\u202egnp.png", b"x", "not plain ASCII"),
        ("assets/x_lora/ai/adapter_model.bin", b"x", "none that duologue knows"),
        ("assets/other/code/setup.py", b"x", "ends in '.py'"),
        ("assets/x_lora/ai/second.safetensors", b"x", "none that duologue knows"),
        (WEIGHTS, pickle.dumps({"a": [1.0] * 50}), "no safetensors"),
        (WEIGHTS, struct.pack("<Q", 2**63) + b"{}", "no safetensors"),
        (WEIGHTS, struct.pack("<Q", 20 * 2**20) + b"{}", "no safetensors"),
        (WEIGHTS, header((ONE % ("a", 8, 12)).encode(), b"\0" * 12), "outside of its place"),
        (WEIGHTS, header((ONE % ("a", 0, 400)).encode(), b"\0" * 4), "does not fill"),
        (WEIGHTS, header((ONE % ("a", 0, 4)).encode(), b"\0" * 4), "matrices of a LoRA only"),
        (WEIGHTS, header(b"[" * 5000), "no safetensors"),
        (WEIGHTS, lora() + b"more", "holds"),
        (WEIGHTS, lora()[:-4], "outside of its place"),
        (WEIGHTS, lora(width=640), "another base"),
        (WEIGHTS, lora(rank=8), "do not belong together"),
        (WEIGHTS, lora(first=float("nan")), "NaN"),
        (WEIGHTS, lora(first=float("-inf")), "NaN"),
        (WEIGHTS, b"", "no safetensors"),
        (WEIGHTS, None, "missing"),
        (CONFIG, None, "missing"),
        ("card.json", None, "missing"),
        (CONFIG, b"not json", "not JSON"),
        (SETTINGS, b'{"server": {"host": "0.0.0.0"}}', "server.host"),
        (SETTINGS, b'{"guard": {"rating": "adult"}}', "guard.rating"),
        (SETTINGS, b'{"guard": {"judge": "http://evil.example"}}', "guard.judge"),
        (SETTINGS, b'{"model": {"trusted_code": "a/b"}}', "model.trusted_code"),
        (SETTINGS, b'{"memory": {"supermemory_url": "http://evil.example"}}', "memory.supermemory_url"),
        (SETTINGS, b'{"data": {"train": ["/etc/*"]}}', "data.train"),
        (SETTINGS, b'{"generation": {"preset": "/etc/x.toml"}}', "generation.preset"),
        (SETTINGS, b'{"a\\u001b[2Jb": {"c": 1}}', "may not"),
        (SETTINGS, b'{"generation": {"temperature": -1}}', "temperature"),
        (SETTINGS, b'{"run": {}, "run": {}}', "twice"),
        (RUN, b'{"manifest": {"evil": 1}, "evaluation": {}, "data": {}, "plan": {}, "base": {}}', "not as duologue"),
        (RUN, b'{"manifest": {}, "evaluation": {}, "data": {}, "plan": {}, "base": {"trusted_code": "x"}}', "not as"),
    ],
)
def test_a_bundle_with_a_poisoned_file_is_refused(
    good: Path, tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    file = rewritten(good, tmp_path / "bad.charx", {name: content})
    assert words in refusal(file, tmp_path)


@pytest.mark.parametrize(
    "keys",
    [
        {"auto_map": {"x": "y"}},
        {"megatron_config": {"a": 1}},
        {"modules_to_save": ["lm_head"]},
        {"peft_type": "IA3"},
        {"bias": "all"},
        {"r": 10**9},
        {"megatron_core": "os"},
        {"layer_replication": [[0, 9]]},
        {"target_modules": "(a+)+$"},
        {"something_new": 1},
        {"auto_mapping": {"parent_library": "os"}},
    ],
)
def test_settings_of_an_adapter_that_a_plain_lora_does_not_need_are_refused(
    good: Path, tmp_path: Path, keys: dict[str, object]
) -> None:
    file = rewritten(good, tmp_path / "bad.charx", changed(good, CONFIG, **keys))
    said = refusal(file, tmp_path)
    assert "the adapter" in said
    assert CONFIG in said


def test_a_changed_file_a_missing_one_and_one_too_many_are_told_by_the_list(good: Path, tmp_path: Path) -> None:
    words = {
        "SHA-256": {SETTINGS: b"{}"},
        "missing": {SETTINGS: None},
        "not in its list": {"assets/icon/images/b.png": b"x"},
    }
    for number, (word, changes) in enumerate(words.items()):
        place = tmp_path / str(number)
        place.mkdir()
        assert word in refusal(rewritten(good, place / "bad.charx", changes, lists=False), place)


def test_a_manifest_of_a_newer_format_asks_for_a_newer_duologue(good: Path, tmp_path: Path) -> None:
    said = refusal(rewritten(good, tmp_path / "bad.charx", {}, format=99, duologue="9\x1b[31m"), tmp_path)
    assert "format 99" in said
    assert "newer duologue" in said


@pytest.mark.parametrize("name", ["../../etc", "/etc/passwd", "./x/y", "bundled:none\x1b[2J", "a/../b"])
def test_no_base_is_a_path(good: Path, tmp_path: Path, name: str) -> None:
    base = {"name": name, "sha256": "", "is_local": False}
    refusal(rewritten(good, tmp_path / "bad.charx", {}, base=base), tmp_path)


def zip_of(good: Path, target: Path, change: Callable[[zipfile.ZipFile, zipfile.ZipInfo, bytes], None]) -> Path:
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(target, "w") as archive:
        for entry in source.infolist():
            change(archive, zipfile.ZipInfo(entry.filename), source.read(entry.filename))
    return target


def test_a_link_a_bomb_and_a_name_that_comes_twice_are_refused(good: Path, tmp_path: Path) -> None:
    def link(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, content: bytes) -> None:
        if entry.filename == WEIGHTS:
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            content = b"/etc/passwd"
        archive.writestr(entry, content)

    def bomb(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, content: bytes) -> None:
        is_weights = entry.filename == WEIGHTS
        archive.writestr(entry, b"\0" * 2**25 if is_weights else content, zipfile.ZIP_DEFLATED)

    def twice(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, content: bytes) -> None:
        archive.writestr(entry, content)
        if entry.filename == WEIGHTS:
            with pytest.warns(UserWarning, match="Duplicate name"):
                archive.writestr(zipfile.ZipInfo(WEIGHTS), content)

    for change, word in ((link, "is a link"), (bomb, "unpacks to more"), (twice, "twice")):
        place = tmp_path / change.__name__
        place.mkdir()
        assert word in refusal(zip_of(good, place / "bad.charx", change), place)


def test_an_encrypted_a_zip64_and_a_cut_bundle_are_refused(good: Path, tmp_path: Path) -> None:
    content = good.read_bytes()
    at = content.rindex(b"PK\x01\x02")
    flags = bytearray(content)
    flags[at + 8] |= 1
    end = content.rindex(b"PK\x05\x06")
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1)
    bad = {"encrypted": bytes(flags), "zip64": content[:end] + locator + content[end:], "no zip": content[: end - 9]}
    for word, written in bad.items():
        place = tmp_path / word.replace(" ", "")
        place.mkdir()
        (place / "bad.charx").write_bytes(written)
        assert word in refusal(place / "bad.charx", place)


def test_a_card_that_no_chat_may_hold_leaves_nothing_either(good: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(good) as archive:
        card = json.loads(archive.read("card.json"))
    card["data"]["name"] = 5
    file = rewritten(good, tmp_path / "bad.charx", {"card.json": json.dumps(card).encode()})
    assert "name" in refusal(file, tmp_path)


def test_companions_without_end_are_refused_before_one_of_them_is_unpacked(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_form, "MAX_KEPT_BYTES", 2 * 2**20)
    many = {f"assets/x_companion/other/{number}.json": b" " * 2**18 for number in range(8)}
    said = refusal(rewritten(good, tmp_path / "bad.charx", many), tmp_path)
    assert "lorebooks and companions have 2 MiB (at most 2)" in said


def test_a_list_that_lies_about_sizes_gains_nothing(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_form, "MAX_KEPT_BYTES", 2**19)
    grown = {SETTINGS: json.dumps({"x": random.Random(0).randbytes(2**19).hex()}).encode()}
    said = refusal(rewritten(good, tmp_path / "bad.charx", grown, lists=False), tmp_path)
    assert "unpacks to more than 0 MiB" in said


def test_prompts_without_end_are_not_rendered(good: Path, tmp_path: Path) -> None:
    prompts = [{"text": "Hello?", "ids": [1]}] * 1001
    changes = changed(good, "assets/x_duologue/other/prompts.json", prompts=prompts)
    assert "1,001 prompts" in refusal(rewritten(good, tmp_path / "bad.charx", changes), tmp_path)


def test_what_no_rating_allows_does_not_come_in_with_a_bundle(good: Path, tmp_path: Path) -> None:
    """The card, what stands beside every chat, and what the maker's character said: each is read before it is kept."""
    with zipfile.ZipFile(good) as archive:
        card, settings, run = (json.loads(archive.read(name)) for name in ("card.json", SETTINGS, RUN))
    card["data"]["description"] = "She is 15. zqflag"
    settings["character"]["author_note"] = "She is 15. zqflag"
    run["evaluation"]["replies"] = [{"prompt": "She is 15.", "base": "No.", "tuned": "zqflag"}]
    for name, document in (("card.json", card), (SETTINGS, settings), (RUN, run)):
        place = tmp_path / Path(name).stem
        place.mkdir()
        said = refusal(rewritten(good, place / "bad.charx", {name: json.dumps(document).encode()}), place)
        assert "refused at every rating" in said, name
