"""What each page of how-tos finds in its folder when its commands are run, and how they are run."""

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as arrow
from PIL import Image
from pyarrow import parquet

from duologue.characters import LILA_FOLDER, lila_data_files, load_card, save_card
from duologue.config import make_folder

PAIRS = [(f"What is at stop {number}?", f"A bakery and {number} lamps, passenger.") for number in range(1, 13)]
PASSWORDS = ("four random grey words", "five other random grey words")


def write_data_sets(place: Path) -> None:
    """The formats of data sets, in the names that the pages use."""
    messages = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in PAIRS]
    share = [{"conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]} for q, a in PAIRS]
    lines = "".join(json.dumps(row) + "\n" for row in messages)
    (place / "messages.jsonl").write_text(lines, encoding="utf-8")
    (place / "chats.jsonl").write_text(_numbered(messages, 20), encoding="utf-8")
    (place / "my_chats.json").write_text(json.dumps(messages), encoding="utf-8")
    (place / "sharegpt.json").write_text(json.dumps(share), encoding="utf-8")
    (place / "sharegpt.json.gz").write_bytes(gzip.compress(json.dumps(share).encode()))
    table = "instruction,input,output\n" + "".join(f'{q},,"{a}"\n' for q, a in PAIRS)
    (place / "alpaca.csv").write_text(table, encoding="utf-8")
    parquet.write_table(arrow.Table.from_pylist(messages), place / "messages.parquet")


def _numbered(rows: list[dict[str, list[dict[str, str]]]], times: int) -> str:
    """Return rows so many times as JSON lines; each asks about another day, so that none is a duplicate."""
    asked = (
        {"messages": [{**first, "content": f"Day {day}. {first['content']}"}, *rest]}
        for day in range(times)
        for first, *rest in (row["messages"] for row in rows)
    )
    return "".join(json.dumps(row) + "\n" for row in asked)


def write_exports(place: Path) -> None:
    """A chat of SillyTavern, one of Telegram, and a log of WhatsApp."""
    head = {"user_name": "Anna", "character_name": "Lila", "create_date": "2026-03-01@18h00m00s"}
    tavern = [head]
    telegram = {"name": "Lila", "type": "personal_chat", "id": 1, "messages": []}
    log = []
    for number, (said, answer) in enumerate(PAIRS):
        for at, (name, text) in enumerate((("Anna", said), ("Lila", answer))):
            tavern.append({"name": name, "is_user": not at, "mes": text, "send_date": "March 1, 2026 6:00pm"})
            when = f"2026-03-01T18:{number:02}:{at:02}"
            row = {"id": 2 * number + at, "type": "message", "date": when, "from": name, "from_id": name, "text": text}
            telegram["messages"].append(row)
            log.append(f"01/03/2026, 18:{number:02} - {name}: {text}")
    lines = "".join(json.dumps(row) + "\n" for row in tavern)
    (place / "Lila - 2026-03-01@18h00m00s.jsonl").write_text(lines, encoding="utf-8")
    (place / "result.json").write_text(json.dumps(telegram), encoding="utf-8")
    (place / "log.txt").write_text("\n".join(log) + "\n", encoding="utf-8")


def write_cards(place: Path) -> None:
    """Lila's card in each form, and a picture."""
    card = load_card(LILA_FOLDER / "character.png")
    for name in ("lila.png", "ada.png", "lila.charx", "lila.json"):
        save_card(card, place / name)
    Image.new("RGB", (64, 96), "slategray").save(place / "portrait.jpg")


def write_passwords(place: Path) -> None:
    """Two passwords."""
    for name, text in zip(("password.txt", "new-password.txt"), PASSWORDS, strict=True):
        (place / name).write_text(text + "\n", encoding="utf-8")


def write_environment(place: Path) -> None:
    """What `. .venv/bin/activate` reads: the program is on the path already."""
    (place / ".venv" / "bin").mkdir(parents=True)
    (place / ".venv" / "bin" / "activate").write_text(":\n", encoding="utf-8")


def make_lila(place: Path) -> None:
    """Lila's folder, not trained."""
    make_folder(place / "lila", recipe="quickstart", data=lila_data_files(), card=LILA_FOLDER / "character.png")


def make_home(place: Path) -> None:
    """A home with Lila in it."""
    (place / "home").mkdir()
    make_lila(place / "home")


@dataclass(frozen=True, slots=True)
class Scene:
    """How a page's commands are run.

    Attributes:
        makes: What writes the files that the page takes for granted.
        is_trained: Whether it takes for granted that `lila` was trained.
        is_slow: Whether it trains or asks a model.
        in_order: Whether its fences follow one another; else each begins anew.
        allowed: Exit codes of a fence that are no fault.
    """

    makes: tuple[Callable[[Path], None], ...] = ()
    is_trained: bool = False
    is_slow: bool = False
    in_order: bool = False
    allowed: tuple[int, ...] = (0,)


def trained(**more: object) -> Scene:
    """Return a scene with a trained Lila."""
    return Scene(is_trained=True, is_slow=True, **more)


SCENES = {
    "README.md": Scene((write_data_sets, write_cards, write_environment), is_slow=True),
    "docs/how-to/bring-your-character.md": Scene((write_cards,)),
    "docs/how-to/bring-your-conversations.md": Scene((write_data_sets, write_exports)),
    "docs/how-to/connect-other-apps.md": Scene((make_lila,), in_order=True),
    "docs/how-to/host-on-hugging-face.md": trained(in_order=True),
    "docs/how-to/keep-memory-elsewhere.md": Scene(),
    "docs/how-to/know-before-you-spend.md": Scene(allowed=(0, 4)),  # one of its plans does not fit, and says so
    "docs/how-to/know-it-is-better.md": trained(),
    "docs/how-to/look-at-your-data.md": Scene((write_data_sets, write_exports)),
    "docs/how-to/run-in-docker.md": Scene(is_slow=True),
    "docs/how-to/serve-it-to-friends.md": Scene((make_home, write_passwords), in_order=True),
    "docs/how-to/share-a-character.md": trained(in_order=True),
    "docs/how-to/take-it-elsewhere.md": trained(in_order=True),
    "docs/how-to/talk-in-the-terminal.md": trained(),
    "docs/how-to/when-it-does-not-fit.md": Scene((make_lila,), is_slow=True, in_order=True),
}


def copy_into(place: Path, scene: Scene, shelf: Path | None) -> None:
    """Write what a scene needs into an empty folder."""
    for make in scene.makes:
        make(place)
    if scene.is_trained:
        assert shelf is not None
        shutil.copytree(shelf / "lila", place / "lila")
