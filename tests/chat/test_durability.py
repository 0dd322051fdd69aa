"""What was acknowledged survives kill -9 and a power cut, whole and in order, wherever either comes."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import duologue
from duologue.chat.session_schema import MIGRATIONS
from duologue.chat.sessions import Sessions
from duologue.messages import Message
from duologue.store import open_database

SECTOR = 512
NUM_KILLS = 100

# One process that forks a writer for each kill: an interpreter would take longer to start than the writing takes.
KILLS = """
import json, os, random, signal, sqlite3, sys, time
from pathlib import Path
from duologue.chat.sessions import Sessions
from duologue.messages import Message

folder, num_kills = Path(sys.argv[1]), int(sys.argv[2])
chance = random.Random(int(sys.argv[3]))
path = folder / "chats.sqlite"


def write_on(session_id, pipe, seed):
    chance = random.Random(seed)
    sessions = Sessions.open(path)

    def acknowledge(*what):
        os.write(pipe, (json.dumps(what) + "\\n").encode())

    while True:
        question = f"question {chance.random()} " + "rain " * chance.randrange(200)
        question_id = sessions.append(session_id, Message("user", question))
        acknowledge("append", question_id, question)
        reply = "The lantern"
        reply_id = sessions.append(session_id, Message("assistant", reply))
        acknowledge("append", reply_id, reply)
        for _ in range(chance.randrange(4)):  # it grows
            reply += " sways" * chance.randrange(1, 100)
            sessions.update(reply_id, reply, "")
            acknowledge("grow", reply_id, reply)
        if chance.random() < 0.3:
            again = sessions.append(session_id, Message("assistant", "Once more."), parent_id=question_id)
            acknowledge("append", again, "Once more.")
            sessions.delete_message(reply_id)
            acknowledge("delete", reply_id, "")


def kill_one(session_id, seed):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        write_on(session_id, writing, seed)
    os.close(writing)
    heard = os.read(reading, 1)  # the first acknowledgement: the writer is at work
    time.sleep(chance.uniform(0, 0.02))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while piece := os.read(reading, 1 << 16):
        heard += piece
    os.close(reading)
    return [json.loads(line) for line in heard.decode().splitlines(keepends=True) if line.endswith("\\n")]


def check(session_id, acknowledged, unsure):
    sessions = Sessions.open(path)
    tree = {message.id: message.message.content for message in sessions.tree(session_id).messages}
    order = [message.id for message in sessions.path(session_id)]
    info = sessions.info(session_id)
    [verdict] = sessions._database.read("PRAGMA quick_check")
    problems = [] if verdict[0] == "ok" else [verdict[0]]
    sessions.close()
    deleted = {what[1] for what in acknowledged if what[0] == "delete"}
    last = {what[1]: what[2] for what in acknowledged if what[0] != "delete"}
    for message_id, text in last.items():
        found = tree.get(message_id)
        if message_id in deleted:
            problems += [f"{message_id} is back"] * (found is not None)
        elif found is None:
            problems += [f"{message_id} is lost"] * (message_id not in unsure)
        elif not found.startswith(text) or (found != text and message_id not in unsure):
            problems.append(f"{message_id} has another text")
    if order != sorted(order) or len(order) != info.num_messages:
        problems.append("the order is wrong")
    return problems


num_acknowledged, problems = 0, []
for number in range(num_kills):
    if number % 10 == 0:
        sessions = Sessions.open(path)
        session_id, acknowledged, unsure = sessions.create(character="nyx"), [], set()
        sessions.close()
    heard = kill_one(session_id, chance.random())
    num_acknowledged += len(heard)
    acknowledged += heard
    # What the writer did next may be there although it came to acknowledge it no more: the newest reply may have grown
    # or be deleted.
    unsure |= {what[1] for what in heard[-2:]}
    problems += check(session_id, acknowledged, unsure)
print(json.dumps({"num_acknowledged": num_acknowledged, "problems": problems}))
"""


def test_100_kills_at_random_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(duologue.__file__).parents[1])}
    command = [sys.executable, "-c", KILLS, str(tmp_path), str(NUM_KILLS), str(random.randrange(10**9))]
    outcome = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert outcome.returncode == 0, outcome.stderr
    report = json.loads(outcome.stdout)
    assert report["problems"] == [], command[-1]
    assert report["num_acknowledged"] >= NUM_KILLS


def power_cut(before: dict[str, bytes], after: dict[str, bytes], chance: random.Random) -> dict[str, bytes]:
    """Return what a disk may hold after a power cut between two acknowledgements.

    SQLite brings the log to the disk before it changes the database, and the database before it begins the log anew. So
    either only the log is half written, or the log is whole and the database is half written; sectors reach the disk in
    any order.
    """
    torn = "a.sqlite-wal" if chance.random() < 0.7 else "a.sqlite"
    old, new = before[torn], after[torn]
    sectors = []
    for at in range(0, max(len(old), len(new)), SECTOR):
        source = new if chance.random() < 0.5 else old
        sectors.append(source[at : at + SECTOR].ljust(SECTOR, b"\0"))
    content = b"".join(sectors)[
        : chance.choice([len(old), len(new), chance.randrange(min(len(old), len(new)), max(len(old), len(new)) + 1)])
    ]
    other = before["a.sqlite"] if torn == "a.sqlite-wal" else after["a.sqlite-wal"]
    return {torn: content, ("a.sqlite" if torn == "a.sqlite-wal" else "a.sqlite-wal"): other}


def test_a_power_cut_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    chance = random.Random(7)
    sessions = Sessions.open(tmp_path / "a.sqlite")
    sessions._database.read("PRAGMA wal_autocheckpoint = 8")  # so that the log is merged and begun anew often
    session_id = sessions.create(character="nyx")
    files = ("a.sqlite", "a.sqlite-wal")
    texts: list[str] = []
    num_merged = 0
    for number in range(40):
        before = {name: (tmp_path / name).read_bytes() for name in files}
        text = f"message {number} " + "rain " * chance.randrange(1500)
        sessions.append(session_id, Message("user", text))
        after = {name: (tmp_path / name).read_bytes() for name in files}
        num_merged += before["a.sqlite"] != after["a.sqlite"]
        for cut in range(2):
            folder = tmp_path / f"{number}-{cut}"
            folder.mkdir()
            for name, content in power_cut(before, after, chance).items():
                (folder / name).write_bytes(content)
            database = open_database(folder / "a.sqlite", migrations=["SELECT 1;"] * len(MIGRATIONS))
            rows = database.read("SELECT content FROM messages ORDER BY id")
            assert [row["content"] for row in rows] in (texts, [*texts, text])
            assert database.read("PRAGMA quick_check")[0][0] == "ok"
            database.close()
        texts.append(text)
    assert num_merged >= 3
    sessions.close()


def test_a_reply_that_was_growing_is_there_as_far_as_it_was_saved(tmp_path: Path) -> None:
    sessions = Sessions.open(tmp_path / "a.sqlite")
    session_id = sessions.create(character="nyx")
    sessions.append(session_id, Message("user", "Tell me of the sea"))
    reply = sessions.append(session_id, Message("assistant", "It was"))
    sessions.update(reply, "It was grey and", "")
    # No close: the process is gone. Another one opens the same files.
    again = Sessions.open(tmp_path / "a.sqlite")
    [_, stored] = again.path(session_id)
    assert (stored.message.content, stored.finish_reason, stored.revision) == ("It was grey and", "", 1)
    again.close()
    sessions.close()
