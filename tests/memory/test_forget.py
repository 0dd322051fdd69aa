"""Forgetting erases every byte, proves it, and keeps a receipt without the content."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from duologue.memory import MemoryStore, Scope, StoredLine
from duologue.memory.erasure import files_of, prove, scan_files, telling_words
from tests.memory.made import ANA, WordEmbedder, find, folder_bytes, recalled, source, tell, turns


@pytest.mark.parametrize("seed", [97, 113])
def test_forgetting_leaves_no_byte_in_any_file(tmp_path: Path, seed: int) -> None:
    # With these seeds readable copies stayed behind when only secure_delete and FTS5 'optimize' were used.
    rng = random.Random(seed)
    memory = MemoryStore.open(tmp_path / "memory.sqlite", embedder=WordEmbedder())
    path, marker_of = [], {}
    for number in range(240):
        marker_of[number] = "".join(rng.choices("bcdfghjklmnpqrstvwxyz", k=12))
        words = [
            "".join(rng.choices("aeioubdgklmnrst", k=rng.randint(2, 9))) for _ in range(rng.choice([1, 5, 30, 50]))
        ]
        words.insert(rng.randint(0, len(words)), marker_of[number])
        path.append(source(number, " ".join(words)[:400]))
    path = [entry for entry in path if marker_of[entry.message_id] in entry.text]
    memory.follow("first", path, scope=ANA)
    id_of = {line.message_id: line.memory_id for line in turns(memory)}
    vector_of = {row["memory_id"]: bytes(row["vector"]) for row in memory.database.read("SELECT * FROM vectors")}
    forgotten = rng.sample(sorted(id_of), 90)
    receipt = memory.forget([id_of[number] for number in forgotten])
    assert (receipt.num_lines, receipt.num_traces, receipt.num_found, receipt.is_proved) == (90, 0, 0, True)
    assert receipt.num_files >= 2 and receipt.num_bytes > 50_000
    raw = folder_bytes(tmp_path)
    # FTS5 stores a word without the letters it shares with the word before: the tail alone must be gone as well.
    assert [number for number in forgotten if marker_of[number][3:].encode() in raw] == []
    kept = [number for number in id_of if number not in forgotten]
    kept_vectors = {vector_of[id_of[number]] for number in kept}
    assert [n for n in forgotten if vector_of[id_of[n]] in raw and vector_of[id_of[n]] not in kept_vectors] == []
    assert all(marker_of[number].encode() in raw for number in kept)
    assert [len(memory.search(marker_of[number], scope=ANA, limit=9)) for number in kept] == [1] * len(kept)
    memory.close()
    assert not any(marker_of[number].encode() in folder_bytes(tmp_path) for number in forgotten)


def test_what_the_person_wrote_over_it_goes_as_well(memory: MemoryStore, tmp_path: Path) -> None:
    tell(memory, "The boat is called Perseverance")
    memory.edit(find(memory, "The boat is called Perseverance").memory_id, "Its captain is Bartholomew")
    assert b"Bartholomew" in folder_bytes(tmp_path)
    receipt = memory.forget([find(memory, "Its captain is Bartholomew").memory_id])
    assert receipt.is_proved
    raw = folder_bytes(tmp_path).lower()
    assert b"bartholomew" not in raw and b"perseverance" not in raw


def test_a_fact_takes_the_turn_that_says_it_and_copies_in_branches(memory: MemoryStore, tmp_path: Path) -> None:
    tell(memory, "I live in Reykjavik.", "Cold there?", "The soup is warm.", session_id="a")
    tell(memory, "I live in Reykjavik.", "Really?", session_id="a branch")
    receipt = memory.forget([find_first(memory, "I live in Reykjavik", "fact").memory_id])
    assert (receipt.num_lines, receipt.num_facts) == (2, 2)
    assert len(receipt.ids) == 4
    assert receipt.is_proved and b"reykjavik" not in folder_bytes(tmp_path).lower()
    assert {line.text for line in turns(memory)} == {"Cold there?", "The soup is warm.", "Really?"}


def find_first(memory: MemoryStore, text: str, kind: str) -> StoredLine:
    return next(line for line in memory.list_lines(scope=ANA) if line.text == text and line.kind == kind)


def test_a_word_that_others_say_as_well_is_no_trace(memory: MemoryStore) -> None:
    tell(memory, "The lighthouse keeper sleeps", "Which lighthouse keeper?")
    receipt = memory.forget([find(memory, "The lighthouse keeper sleeps").memory_id])
    assert receipt.is_proved


def test_a_trace_that_is_left_is_found_and_said(memory: MemoryStore, tmp_path: Path) -> None:
    tell(memory, "The password is Rumpelstiltskin")
    (tmp_path / "memory.sqlite.old-copy").write_bytes(b"\x00\x01 the word is RumpelstiltSkin \xff")
    receipt = memory.forget([find(memory, "The password is Rumpelstiltskin").memory_id])
    assert not receipt.is_proved and receipt.num_traces == 1


def test_a_trace_of_the_first_wording_and_one_in_a_backup_are_found_too(memory: MemoryStore, tmp_path: Path) -> None:
    tell(memory, "The boat is called Perseverance")
    memory.edit(find(memory, "The boat is called Perseverance").memory_id, "Its captain is Bartholomew")
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / "memory-copy-of-mine").write_bytes(b"perseverance")
    receipt = memory.forget([find(memory, "Its captain is Bartholomew").memory_id])
    assert (receipt.num_traces, receipt.is_proved) == (1, False)


def test_a_line_that_a_search_still_finds_is_said(memory: MemoryStore) -> None:
    tell(memory, "The lighthouse keeper sleeps", "Good night.")
    line = find(memory, "The lighthouse keeper sleeps")
    assert prove(memory.database, [line], hosted="none").num_found == 1
    assert memory.forget([line.memory_id]).num_found == 0


@pytest.mark.parametrize("left", ["Großmutter", "GROSSMUTTER", "Übermut", "Александр", "ἈΛΈΞΑΝΔΡΟΣ"])
@pytest.mark.parametrize("num_others", [0, 26])
def test_a_trace_is_found_however_its_letters_are_written(tmp_path: Path, left: str, num_others: int) -> None:
    file = tmp_path / "memory.sqlite"
    file.write_bytes(b"\x00\xff\x81 " + left.encode() + b" \xc3\x00")
    others = (f"absentword{chr(97 + n)}" for n in range(num_others))
    said = {"Großmutter", "übermut", "александр", "ἀλέξανδρος", *others}
    found = scan_files(files_of(file), telling_words(said)).found
    assert {word.casefold() for word in found} == {left.casefold()}


def test_words_too_short_to_be_looked_for_are_told(memory: MemoryStore) -> None:
    tell(memory, "I am 41", "Ah.", "The lighthouse keeper sleeps")
    [short] = [line for line in turns(memory) if line.text == "I am 41"]
    assert "No word of it is long enough" in " ".join(memory.forget([short.memory_id]).notes)
    assert memory.forget([find(memory, "The lighthouse keeper sleeps").memory_id]).notes == ()


def test_a_short_answer_said_elsewhere_too_is_no_copy(memory: MemoryStore) -> None:
    tell(memory, "Yes, please.", session_id="a")
    tell(memory, "Yes, please.", session_id="b")
    [first] = [line for line in turns(memory) if line.session_id == "a"]
    assert memory.forget([first.memory_id]).num_lines == 1
    assert [line.session_id for line in turns(memory)] == ["b"]


def test_what_another_user_or_character_was_told_in_the_same_words_stays(memory: MemoryStore) -> None:
    others = (Scope("ben", ANA.character), Scope(ANA.user, "otto"))
    for number, scope in enumerate((ANA, *others)):
        tell(memory, "The boat is called Perseverance", scope=scope, session_id=f"s{number}")
    assert memory.forget([find(memory, "The boat is called Perseverance").memory_id]).num_lines == 1
    assert [len(turns(memory, scope)) for scope in (ANA, *others)] == [0, 1, 1]
    memory.forget_scope(others[0])
    assert [len(turns(memory, scope)) for scope in others] == [0, 1]


def test_the_receipt_counts_lines_and_facts_apart(memory: MemoryStore) -> None:
    tell(memory, "I live in Reykjavik.", "Cold there?", "Yes.")
    receipt = memory.forget_session("first")
    assert (receipt.num_lines, receipt.num_facts) == (3, 1)


def test_backups_hold_nothing_of_it_either(tmp_path: Path) -> None:
    memory = MemoryStore.open(tmp_path / "memory.sqlite")
    tell(memory, "The treasure lies in Xanadu-by-the-Sea")
    memory.close()
    memory = MemoryStore.open(tmp_path / "memory.sqlite")
    memory.forget([find(memory, "The treasure lies in Xanadu-by-the-Sea").memory_id])
    memory.close()
    assert b"treasure" not in folder_bytes(tmp_path)


def test_receipts_are_kept_newest_first_without_content(memory: MemoryStore) -> None:
    tell(memory, "The boat is called Perseverance", "Good", session_id="a")
    tell(memory, "The house is called Tranquility", session_id="b")
    memory.forget_session("a")
    memory.forget_message(1, session_id="b")
    newest, oldest = memory.receipts()
    assert (newest.num_lines, oldest.num_lines) == (1, 2)
    assert newest.at >= oldest.at and newest.receipt_id > oldest.receipt_id
    stored = str([tuple(row) for row in memory.database.read("SELECT * FROM receipts")]).lower()
    assert "perseverance" not in stored and "tranquility" not in stored


def test_forgetting_a_message_a_session_or_a_scope_takes_exactly_its_lines(memory: MemoryStore) -> None:
    tell(memory, "quokka one", "quokka two", session_id="a")
    tell(memory, "quokka three", session_id="b")
    assert memory.forget_message(2, session_id="a").num_lines == 1
    assert {line.text for line in turns(memory)} == {"quokka one", "quokka three"}
    assert memory.forget_session("a").num_lines == 1
    assert recalled(memory, "quokka?") == ["quokka three"]
    assert memory.forget_scope(ANA).num_lines == 1
    assert memory.list_lines(scope=ANA) == ()


def test_forgetting_what_is_not_there_counts_nothing(memory: MemoryStore) -> None:
    tell(memory, "kept well")
    assert memory.forget([999, -5]).num_lines == 0
    assert memory.forget([]).is_proved
    assert recalled(memory, "what was kept?") == ["kept well"]


def test_copies_elsewhere_are_asked_to_go_and_the_answer_is_on_the_receipt(memory: MemoryStore) -> None:
    asked: list[str] = []

    def elsewhere(lines: Sequence[StoredLine]) -> str:
        asked.extend(line.original for line in lines)
        return "queued"

    memory.also_forget = elsewhere
    tell(memory, "The boat is green")
    receipt = memory.forget([find(memory, "The boat is green").memory_id])
    assert (asked, receipt.hosted) == (["The boat is green"], "queued")
    assert memory.receipts()[0].hosted == "queued"


def test_the_scan_finds_words_in_any_case_across_blocks_and_among_many(tmp_path: Path) -> None:
    file = tmp_path / "memory.sqlite"
    file.write_bytes(b"\x00" * ((1 << 24) - 3) + "Rumpelstilz und FLÜSTERN".encode() + b"\x00")
    few = scan_files(files_of(file), {"rumpelstilz", "flüstern", "nowhere"})
    assert few.found == {"rumpelstilz", "flüstern"}
    many = scan_files(files_of(file), {"rumpelstilz", *(f"absentword{chr(97 + n)}" for n in range(25))})
    assert many.found == {"rumpelstilz"}
    assert telling_words(["The lighthouse, the LIGHTHOUSE; a hut 1234567"]) == {"lighthouse"}
