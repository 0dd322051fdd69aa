"""The account: faults kept small, counted by reason, and read back as they were written."""

import json

from hypothesis import given
from hypothesis import strategies as st

from duologue.data import Account, Fault, FileAccount
from duologue.data.account import DuplicateCounts, FaultList, SplitCounts, TokenCounts, account_from_json
from duologue.data.found import DUPLICATE_DROPPED, FILE_REFUSED, ROW_DROPPED, Note

ACTIONS = [FILE_REFUSED, ROW_DROPPED, DUPLICATE_DROPPED, "merged", "left out"]
notes = st.lists(
    st.builds(Note, st.integers(0, 2**40), st.text(max_size=5), st.text(max_size=5), st.sampled_from(ACTIONS))
)


def account_of(found):
    faults = FaultList("a.json", found)
    file = FileAccount("a.json", "messages", "0" * 64, 9, 7, 2, faults, {"bad": 2}, 0.5)
    tokens = TokenCounts(trained=5, context=6, padding=7, tokenizer="m")
    return Account((file,), 7, 12, 1, DuplicateCounts(1, 2, 1), {"email": 3}, SplitCounts(6, 1, 3), tokens)


@given(notes)
def test_faults_come_back_as_they_were_noted_in_the_order_of_the_rows(found):
    faults = FaultList("a.json", found)
    expected = [Fault("a.json", n.row, n.field, n.reason, n.action) for n in found]
    assert list(faults) == expected and faults == expected
    assert faults[-2:] == tuple(expected[-2:])
    faults.sort()
    assert list(faults) == sorted(expected, key=lambda fault: fault.row)
    assert sum(faults.reasons().values()) == len(found)


@given(notes)
def test_an_account_read_back_is_the_same_account(found):
    account = account_of(found)
    document = json.loads(json.dumps(account.as_json()))
    assert account_from_json(document) == account
    assert account_from_json(document).as_json() == document


@given(notes)
def test_refused_rows_are_counted_and_duplicates_are_no_fault(found):
    account = account_of(found)
    assert account.num_refused == sum(note.action in (FILE_REFUSED, ROW_DROPPED) for note in found)
    assert [fault.is_dropped for fault in account.faults] == [note.action in ACTIONS[:3] for note in found]
    assert sum(account.reasons().values()) == len(found)


def test_the_json_has_the_documented_keys_and_its_tokens_add_up():
    document = account_of([Note(2, "messages[0].role", "unknown role", ROW_DROPPED)]).as_json()
    assert set(document) >= {"files", "num_conversations", "num_turns", "num_tokens", "num_trained_tokens"}
    assert set(document) >= {"duplicates", "splits", "personal_data", "num_context_tokens", "num_padding_tokens"}
    [file] = document["files"]
    assert set(file) >= {"path", "format", "num_rows", "num_loaded", "num_dropped", "faults"}
    assert file["faults"] == [
        {"row": 2, "field": "messages[0].role", "reason": "unknown role", "action": "row dropped"}
    ]
    assert (
        document["num_tokens"]
        == 18
        == sum(document[f"num_{kind}_tokens"] for kind in ("trained", "context", "padding"))
    )
    assert document["duplicates"] == {"exact": 1, "near": 2, "groups": 1}
    assert document["splits"] == {"train": 6, "validation": 1, "train_per_epoch": 3}
