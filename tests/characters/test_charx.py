"""CharX: read with limits, written again with every file, and moved to and from the other forms."""

import base64
import contextlib
import io
import json
import stat
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from duologue.characters import (
    Card,
    Character,
    find_form,
    load_card,
    load_character,
    load_picture,
    parse_card,
    save_card,
)
from duologue.characters.charx import MAX_ENTRIES, MAX_RATIO
from duologue.characters.png import chunk
from duologue.errors import ConfigError

DATA = {
    "name": "Ada",
    "first_mes": "Grüße 🕰",
    "group_only_greetings": [],
    "extensions": {"x": [1]},
    "character_book": {"entries": [{"keys": ["watch"], "content": "It ticks.", "enabled": True}]},
    "assets": [
        {"type": "icon", "uri": "embeded://assets/icon/images/main.png", "name": "main", "ext": "png"},
        {"type": "emotion", "uri": "embedded://assets/emotion/images/glad.webp", "name": "glad", "ext": "webp"},
        {"type": "x_lora", "uri": "embeded://assets/x_lora/ai/ada.safetensors", "name": "ada", "ext": "safetensors"},
        {"type": "background", "uri": "https://example.org/shop.png", "name": "main", "ext": "png"},
    ],
}
CARD = {"spec": "chara_card_v3", "spec_version": "3.0", "data": DATA, "x_top": True}


def png(colour="red"):
    out = io.BytesIO()
    Image.new("RGB", (6, 4), colour).save(out, format="PNG")
    return out.getvalue()


FILES = {
    "assets/icon/images/main.png": png(),
    "assets/emotion/images/glad.webp": b"any bytes \x00\xff",
    "assets/x_lora/ai/ada.safetensors": bytes(range(256)) * 8,
    "app.json": b'{"theirs": 1}',
}


def write_zip(path, entries, *, card=CARD, prefix=b""):
    """Write a zip of names (or prepared infos) and contents."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        if card is not None:
            archive.writestr("card.json", json.dumps(card))
        for name, content in entries:
            archive.writestr(name, content)
    path.write_bytes(prefix + out.getvalue())
    return path


@pytest.fixture
def charx(tmp_path):
    return write_zip(tmp_path / "ada.charx", FILES.items())


def refusal(path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_card(path)
    assert caught.value.where == str(path)
    return caught.value.sentence()


def test_a_charx_is_read_with_its_lorebook(charx):
    character = load_character(charx)

    assert (character.name, character.greeting, character.warnings) == ("Ada", "Grüße 🕰", ())
    assert character.lorebook.entries[0].content == "It ticks."
    assert find_form(charx) == "charx"


def test_a_charx_behind_a_picture_or_a_program_is_read(tmp_path):
    photo = io.BytesIO()
    Image.new("RGB", (8, 8)).save(photo, format="JPEG")
    for name, prefix in (("ada.jpg", photo.getvalue()), ("ada.exe", b"MZ" + b"\0" * 500)):
        path = write_zip(tmp_path / name, FILES.items(), prefix=prefix)

        assert find_form(path) == "charx"
        assert load_card(path).files == FILES


def test_a_charx_written_again_has_every_file_and_every_field(tmp_path, charx):
    card = load_card(charx)

    assert save_card(card, tmp_path / "again.charx") == ()

    again = load_card(tmp_path / "again.charx")
    assert again.files == FILES
    assert again.character.as_v3() == card.character.as_v3()
    with zipfile.ZipFile(tmp_path / "again.charx") as archive:
        written = json.loads(archive.read("card.json"))
    assert {key: written["data"][key] for key in DATA} == DATA
    assert written["x_top"] is True


def test_the_same_card_makes_the_same_bytes(tmp_path, charx):
    for name in ("one.charx", "two.charx"):
        save_card(load_card(charx), tmp_path / name)

    assert (tmp_path / "one.charx").read_bytes() == (tmp_path / "two.charx").read_bytes()


def assets_of(path):
    """The content of the card's assets by type, wherever they are."""
    card = load_card(path)
    found = {}
    for asset in card.character.as_v3()["data"]["assets"]:
        uri = asset["uri"]
        if uri.startswith("data:"):
            found[asset["type"]] = base64.b64decode(uri.partition(",")[2])
        elif uri == "ccdefault:":
            found[asset["type"]] = card.picture
        elif "://assets" in uri:
            found[asset["type"]] = card.files[uri.partition("://")[2]]
        else:
            found[asset["type"]] = uri
    return found


@pytest.mark.parametrize(
    "way", [("png",), ("json",), ("png", "charx"), ("json", "png", "charx"), ("png", "charx", "json")]
)
def test_files_of_a_card_are_the_same_in_every_form(tmp_path, charx, way):
    path, left_out = charx, []
    for number, form in enumerate(way):
        to = tmp_path / f"{number}.{form}"
        left_out += save_card(load_card(path), to)
        path = to

    assert assets_of(path) == assets_of(charx)
    assert "app.json" in left_out
    assert load_character(path).lorebook.entries == load_character(charx).lorebook.entries


@settings(max_examples=30, deadline=None)
@given(content=st.binary(max_size=2000), name=st.text(min_size=1, max_size=20), ext=st.text(max_size=6))
def test_any_file_survives_every_form(tmp_path_factory, content, name, ext):
    folder = tmp_path_factory.mktemp("any", numbered=True)
    uri = f"data:application/x;base64,{base64.b64encode(content).decode()}"
    asset = {"type": "x_own", "uri": uri, "name": name, "ext": ext}
    first = Card(parse_card({**CARD, "data": {**DATA, "assets": [asset]}}, where="test"))

    save_card(first, folder / "a.charx")
    save_card(load_card(folder / "a.charx"), folder / "b.png")
    save_card(load_card(folder / "b.png"), folder / "c.charx")
    save_card(load_card(folder / "c.charx"), folder / "d.json")

    assert assets_of(folder / "d.json")["x_own"] == content
    assert content in load_card(folder / "c.charx").files.values()
    kept = load_character(folder / "d.json").as_v3()["data"]["assets"][0]
    assert (kept["name"], kept["ext"], kept["type"]) == (name, ext, "x_own")


def test_the_picture_of_a_png_becomes_the_icon_of_a_charx(tmp_path):
    picture = tmp_path / "picture.png"
    picture.write_bytes(png("blue"))
    save_card(Card(Character("Ada")), tmp_path / "ada.png", image=picture)

    save_card(load_card(tmp_path / "ada.png"), tmp_path / "ada.charx")

    assert load_card(tmp_path / "ada.charx").files == {"assets/icon/images/main.png": png("blue")}


def test_a_new_picture_of_a_charx_is_its_main_icon_and_the_old_file_stays(tmp_path, charx):
    picture = tmp_path / "picture.png"
    picture.write_bytes(png("green"))

    save_card(load_card(charx), tmp_path / "new.charx", image=picture)

    assert assets_of(tmp_path / "new.charx")["icon"] == png("green")
    assert FILES.items() <= load_card(tmp_path / "new.charx").files.items()


def test_old_asset_chunks_of_a_png_are_read_and_kept(tmp_path):
    card = {
        **CARD,
        "data": {**DATA, "assets": [{"type": "emotion", "uri": "__asset:0", "name": "glad", "ext": "webp"}]},
    }
    parts = [
        chunk(b"tEXt", b"ccv3\0" + base64.b64encode(json.dumps(card).encode())),
        chunk(b"tEXt", b"chara-ext-asset_:0\0" + base64.b64encode(b"glad")),
        chunk(b"tEXt", b"chara-ext-asset_1\0" + base64.b64encode(b"loose")),
    ]
    raw = png()
    path = tmp_path / "old.png"
    path.write_bytes(raw[:-12] + b"".join(parts) + raw[-12:])

    assert load_card(path).files == {"0": b"glad", "1": b"loose"}
    assert save_card(load_card(path), tmp_path / "again.png") == ()
    assert load_card(tmp_path / "again.png").files == {"0": b"glad", "1": b"loose"}
    save_card(load_card(path), tmp_path / "new.charx")
    assert {b"glad", b"loose", png()} == set(load_card(tmp_path / "new.charx").files.values())
    assert save_card(load_card(path), tmp_path / "new.json") == ("1", "the picture")


def test_a_file_that_the_card_names_and_the_charx_lacks_is_told(tmp_path):
    path = write_zip(tmp_path / "ada.charx", [])

    warnings = load_character(path).warnings

    assert len(warnings) == 3
    assert "does not hold 'assets/icon/images/main.png'" in warnings[0]


def test_a_card_with_an_icon_that_no_png_can_be_made_of_gets_a_plain_picture(tmp_path):
    card = {**CARD, "data": {**DATA, "assets": DATA["assets"][:1]}}
    path = write_zip(tmp_path / "ada.charx", [("assets/icon/images/main.png", b"<svg/>")], card=card)

    save_card(load_card(path), tmp_path / "ada.png")

    assert assets_of(tmp_path / "ada.png") == {"icon": b"<svg/>"}
    with Image.open(tmp_path / "ada.png") as image:
        assert image.size == (400, 600)


# -------------------------------------------------------------------------------------------------------------- limits


def info(name, **changes):
    made = zipfile.ZipInfo(name)
    made.compress_type = zipfile.ZIP_DEFLATED
    for key, value in changes.items():
        setattr(made, key, value)
    return made


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/etc/evil", "C:/evil", "a\\b", "a/./b", "a//b", "evil\x07", "..", "x" * 600],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    assert "the file name" in refusal(write_zip(tmp_path / "a.charx", [(name, b"x")]))


def test_a_name_with_a_nul_is_refused_although_python_cuts_it_off(tmp_path):
    path = write_zip(tmp_path / "a.charx", [("good.txt#evil", b"x")])
    path.write_bytes(path.read_bytes().replace(b"good.txt#evil", b"good.txt\0evil"))

    assert "control character" in refusal(path)


def test_links_are_refused(tmp_path):
    link = info("link", external_attr=(stat.S_IFLNK | 0o777) << 16)

    assert "'link' in the CharX is a link" in refusal(write_zip(tmp_path / "a.charx", [(link, b"/etc/passwd")]))


def test_encrypted_files_are_refused(tmp_path):
    path = write_zip(tmp_path / "a.charx", [("secret", b"x")])
    raw = bytearray(path.read_bytes())
    entry = raw.rfind(b"PK\1\2")
    raw[entry + 8] |= 1
    path.write_bytes(raw)

    assert "is encrypted" in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_given_twice_are_refused(tmp_path):
    assert "'a' is in the CharX twice" in refusal(write_zip(tmp_path / "a.charx", [("a", b"1"), ("a", b"2")]))


def test_unusual_methods_of_packing_are_refused(tmp_path):
    packed = info("a", compress_type=zipfile.ZIP_LZMA)

    assert "unusual method" in refusal(write_zip(tmp_path / "a.charx", [(packed, b"x")]))


def test_a_zip_bomb_is_refused_by_what_comes_out(tmp_path):
    path = write_zip(tmp_path / "a.charx", [("bomb", b"\0" * 100 * 2**20)])
    assert path.stat().st_size < 2**18

    assert f"at most {MAX_RATIO} times its packed size" in refusal(path)
    assert load_character(path).name == "Ada"  # who does not ask for the files does not unpack them


def test_a_card_that_is_a_bomb_is_refused(tmp_path):
    card = {"name": "Ada", "description": "a" * 40 * 2**20}

    with pytest.raises(ConfigError, match="unpacks to more than"):
        load_character(write_zip(tmp_path / "a.charx", [], card=card))


def test_all_files_together_have_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("duologue.characters.charx.MAX_UNPACKED_BYTES", 3000)
    path = write_zip(tmp_path / "a.charx", [(f"{number}", bytes([number]) * 1000) for number in range(4)])

    assert "unpacks to more than" in refusal(path)


def test_a_header_that_lies_about_the_size_gains_nothing(tmp_path):
    path = write_zip(tmp_path / "a.charx", [("file", b"\0" * 50_000)])
    raw = path.read_bytes()
    at = raw.rfind(b"PK\1\2")
    path.write_bytes(raw[: at + 24] + struct.pack("<I", 10) + raw[at + 28 :])

    assert "damaged" in refusal(path)


def test_more_files_than_a_card_needs_are_refused_before_their_list_is_read(tmp_path):
    few = write_zip(tmp_path / "few.charx", [(f"{number:05}", b"") for number in range(MAX_ENTRIES + 1)])
    assert f"at most {MAX_ENTRIES:,}" in refusal(few)

    many = write_zip(tmp_path / "many.charx", [(f"{number:0200}", b"") for number in range(12_000)])
    assert "the list of files in the CharX is" in refusal(many)


def test_a_zip64_is_refused(tmp_path):
    path = write_zip(tmp_path / "a.charx", [])
    raw = path.read_bytes()
    end = raw.rfind(b"PK\5\6")
    path.write_bytes(raw[:end] + b"PK\6\7" + b"\0" * 16 + raw[end:])

    assert "zip64" in refusal(path)


def test_a_zip_inside_is_a_file_like_any_other(tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", b"\0" * 10 * 2**20)
    path = write_zip(tmp_path / "a.charx", [("inner.zip", inner.getvalue())])

    assert load_card(path).files["inner.zip"] == inner.getvalue()


def test_a_zip_without_a_card_and_a_card_in_a_folder_are_refused(tmp_path):
    assert "holds no 'card.json'" in refusal(write_zip(tmp_path / "a.charx", [("folder/card.json", b"{}")], card=None))


@pytest.mark.parametrize("keep", [10, 100, 400, -1, -30])
def test_a_charx_cut_anywhere_is_refused(charx, keep):
    charx.write_bytes(charx.read_bytes()[:keep])

    refusal(charx)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3000), st.integers(0, 255))
def test_a_charx_with_any_byte_changed_is_read_or_refused_in_house_style(tmp_path_factory, at, value):
    path = write_zip(tmp_path_factory.getbasetemp() / "changed.charx", FILES.items())
    raw = bytearray(path.read_bytes())
    raw[at % len(raw)] = value
    path.write_bytes(raw)
    with contextlib.suppress(ConfigError):  # any other error fails the test
        assert load_card(path)


def test_the_picture_of_a_card_is_found_in_every_form(tmp_path, charx):
    assert load_picture(charx) == FILES["assets/icon/images/main.png"]
    for form in ("png", "json"):
        save_card(load_card(charx), tmp_path / f"ada.{form}")
        assert load_picture(tmp_path / f"ada.{form}") == png()

    save_card(Card(Character("Ada")), tmp_path / "plain.json")
    assert load_picture(tmp_path / "plain.json") is None
    no_picture = [("assets/icon/images/main.png", b"<svg/>")]
    assert load_picture(write_zip(tmp_path / "svg.charx", no_picture)) is None
