"""A log is cut into conversations where nobody wrote for long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.data.formats import PAUSE_HOURS
from duologue.data.formats.chat_log import Moment, cut_at_pauses, seconds_of
from duologue.data.formats.tally import Tally
from duologue.data.found import Dialogue, Note, Turn

HOUR = 3600.0


def log(*lines):
    """Moments of `(pause in hours, speaker)`; a speaker of None is a message without text."""
    return [
        Moment(pause * HOUR, Turn(None, speaker, f"t{row}", row, "text") if speaker else None)
        for row, (pause, speaker) in enumerate(lines, start=1)
    ]


def cut(moments, **how):
    tally = Tally()
    found = list(cut_at_pauses(moments, **{"pause_hours": PAUSE_HOURS, "tally": tally, **how}))
    rows = [[turn.row for turn in item.turns] for item in found if isinstance(item, Dialogue)]
    return rows, [note.reason for note in tally.notes()]


def test_a_pause_of_six_hours_ends_a_conversation():
    moments = log((0, "Anna"), (1, "Lila"), (6, "Anna"), (0, "Lila"), (5.9, "Anna"), (0.1, "Lila"))
    assert cut(moments) == ([[1, 2], [3, 4, 5, 6]], ["pauses of 6 h or longer: 1"])
    assert cut(moments, pause_hours=1) == ([[1, 2], [3, 4], [5, 6]], ["pauses of 1 h or longer: 2"])
    assert cut(moments, pause_hours=24) == ([[1, 2, 3, 4, 5, 6]], [])


def test_one_who_speaks_alone_is_not_cut_off():
    assert cut(log((0, "Anna"), (9, "Lila"), (9, "Anna"), (9, "Lila")))[0] == [[1, 2], [3, 4]]
    assert cut(log((0, "Anna"), (9, "Anna"), (9, "Anna"), (1, "Lila")))[0] == [[1, 2, 3, 4]]
    assert cut(log((0, "Anna"), (0, "Lila"), (9, "Lila")))[0] == [[1, 2, 3]]
    assert cut(log((0, "Anna"), (9, "Anna")))[0] == [[1, 2]]


def test_a_message_without_text_is_a_sign_of_life():
    assert cut(log((0, "Anna"), (1, "Lila"), (4, None), (4, "Anna"), (0, "Lila")))[0] == [[1, 2, 3 + 1, 5]]
    assert cut(log((0, "Anna"), (1, "Lila"), (7, None), (0, "Anna"), (0, "Lila")))[0] == [[1, 2], [4, 5]]


def test_notes_pass_through_and_an_empty_log_gives_nothing():
    note = Note(1, "", "a sticker", "row left out")
    assert list(cut_at_pauses([note], pause_hours=6, tally=Tally())) == [note]


@given(st.lists(st.tuples(st.floats(0, 12), st.sampled_from(["Anna", "Lila", "Carl", None]))))
def test_no_message_is_lost_doubled_or_moved(lines):
    rows, notes = cut(log(*lines))
    spoken = [row for row, (_, speaker) in enumerate(lines, start=1) if speaker]
    assert [row for part in rows for row in part] == spoken
    assert len(rows) - 1 <= sum(pause >= PAUSE_HOURS for pause, _ in lines)
    assert notes == ([f"pauses of 6 h or longer: {len(rows) - 1}"] if len(rows) > 1 else [])
    names = [{lines[row - 1][1] for row in part} for part in rows]
    assert len(rows) < 2 or all(len(speakers) > 1 for speakers in names)


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("1970-01-01T00:00:10", 10.0),
        ("1970-01-01T01:00:10.5000000+01:00", 10.5),
        ("1970-01-01T00:00:10Z", 10.0),
        ("yesterday", None),
        ("", None),
        (5, None),
        (None, None),
    ],
)
def test_times_are_read_with_their_zone(text, seconds):
    assert seconds_of(text) == seconds
