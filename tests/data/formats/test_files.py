"""The samples as files on disk, and the page that shows them."""

import json
import re
import tomllib

import pytest

from duologue.config import make_config
from duologue.data.formats import read_dialogues
from duologue.data.found import ROW_DROPPED, Dialogue
from duologue.data.read import open_rows
from tests.data.formats.samples import SAMPLES, read
from tests.data.formats.test_whatsapp import HEADS


def written(folder, name):
    """Write a sample as its program does: logs as text, JSONL by lines, a document in one piece."""
    container, rows, _ = SAMPLES[name]
    ending = {"text": ".txt", "json-lines": ".jsonl", "json": ".json"}[container]
    path = folder / f"{name}{ending}"
    lines = rows if container == "text" else [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def read_file(path):
    opened = open_rows(path)
    reading = read_dialogues(opened.rows(), container=opened.container)
    return list(reading), reading, opened.notes


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_gives_what_its_rows_give(tmp_path, name):
    container, rows, _ = SAMPLES[name]
    found, reading, notes = read_file(written(tmp_path, name))
    expected = read(rows, container)
    assert [item for item in found if isinstance(item, Dialogue)] == expected.dialogues
    assert (reading.num_rows, reading.formats) == (expected.reading.num_rows, expected.reading.formats)
    assert notes == []


@pytest.mark.parametrize("head", [head for head in HEADS if not head.startswith("[2023. ")])
def test_a_whatsapp_file_of_any_date_style_is_known_as_text(tmp_path, head):
    path = tmp_path / "_chat.txt"
    path.write_text(f"{head}Anna: Hi, you.\n{head}Lila: Ho, you.\n", encoding="utf-8")
    found, reading, _ = read_file(path)
    assert reading.formats == {"whatsapp": 2} and len(found) == 1


@pytest.mark.parametrize(
    "name, data_format, num_rows, num_dropped",
    [
        ("personachat_messages.jsonl", "messages", 968, 0),
        ("personachat_sharegpt.json", "sharegpt", 1000, 3),
        ("roleplay_alpaca.json", "alpaca", 1000, 0),
    ],
)
def test_real_data_sets_are_read_whole(shared_data, name, data_format, num_rows, num_dropped):
    found, reading, _ = read_file(shared_data / name)
    dropped = [item.reason for item in found if not isinstance(item, Dialogue) and item.action == ROW_DROPPED]
    assert (reading.formats, reading.num_rows) == ({data_format: num_rows}, num_rows)
    assert dropped == ["is empty; expected a list of messages"] * num_dropped


def test_the_rows_and_settings_on_the_page_work(repository):
    page = (repository / "docs/how-to/bring-your-conversations.md").read_text(encoding="utf-8")
    rows = [json.loads(text) for text in re.findall(r"\| `(\{.*\})` \|", page)]
    found = read(rows)
    assert list(found.reading.formats) == ["messages", "sharegpt", "alpaca", "prompt-completion"]
    assert found.dropped == []
    [settings] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    config = make_config({"model": {"base": "m"}, **tomllib.loads(settings)}, where="page")
    assert config.data.character_names == ("Lila",)
    [fault] = re.findall(r"chats\.jsonl:214: (\S+): (.*) \(row dropped\)", page)
    broken = {"messages": [*({"role": "user", "content": "x"},) * 3, {"role": "narrator", "content": "y"}]}
    [note] = read([broken]).notes
    assert (note.field, note.reason) == fault
