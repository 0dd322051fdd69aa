"""Chats of WhatsApp."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.data.formats.whatsapp_clock import Clock, Stamp
from duologue.data.found import FILE_REFUSED, Row, RowFault
from tests.data.formats.samples import WHATSAPP_ANDROID, WHATSAPP_IOS, read, read_rows, read_text


def test_an_android_export_gives_what_people_wrote():
    found = read_text(WHATSAPP_ANDROID)
    assert found.turns == [
        [
            ("Anna", "Still awake?"),
            ("Lila", "Of course:\nthe fireworks\n\nare too loud."),
            ("Anna", "Happy new year"),
            ("Lila", "You too"),
        ],
        [("Anna", "Our street this morning"), ("Lila", "Poor street")],
    ]
    assert [turn.row for dialogue in found.dialogues for turn in dialogue.turns] == [2, 3, 8, 10, 11, 13]
    assert found.left_out == [
        (1, "a notice of WhatsApp"),
        (7, "a message with media only"),
        (9, "a deleted message"),
    ]
    assert found.of_file == [
        ("edited messages: 1", "the mark is removed"),
        ("messages with media: 1", "only their text is used"),
        ("pauses of 6 h or longer: 1", "cut into conversations there"),
    ]
    assert found.reading.formats == {"whatsapp": 9}


def test_an_ios_export_gives_what_people_wrote():
    found = read_text(WHATSAPP_IOS)
    assert found.turns == [
        [
            ("Anna", "Still awake?"),
            ("Lila", "Of course:\nthe fireworks are too loud."),
            ("Anna", "Our street"),
            ("Lila", "Poor street"),
        ]
    ]
    assert found.left_out == [(1, "a notice of WhatsApp"), (5, "a message with media only")]


HEADS = [
    "12/31/23, 11:59 PM - ",
    "12/31/23, 11:59\u202fPM - ",
    "31/12/2023, 23:59 - ",
    "31/12/2023 23:59 - ",
    "31/12/23, 11:59 p. m. - ",
    "31/12/23, 11:59 p.\u00a0m. - ",
    "31.12.23, 23:59 - ",
    "31.12.23 23.59 - ",
    "31/12/23 23.59 - ",
    "31-12-2023 23:59 - ",
    "2023-12-31 23:59 - ",
    "2023/12/31 23:59 - ",
    "31.12.23 \u0433., 23:59 \u0447. - ",
    "31.12.23, 23:59 \u2013 ",
    "31/12/2023 à 23:59 - ",
    "2023. 12. 31. 23:59 - ",
    "2023/12/31 下午11:59 - ",
    "2023. 12. 31. 오후 11:59 - ",
    "31/12/23, 11:59 μ.μ. - ",
    "٣\u0661/\u0661٢/٢٠٢٣، \u0661\u0661:٥٩ م - ",
    "[31.12.23, 23:59:58] ",
    "[31/12/2023, 23:59:58] ",
    "[12/31/23, 11:59:58\u202fPM] ",
    "\u200e[12/31/23, 11:59:58 PM] ",
    "[2023-12-31, 23:59:58] ",
    "[2023/12/31 23:59:58] ",
    "[31-12-23 23:59:58] ",
    "[2023. 12. 31. 오후 11:59:58] ",
    "[2023/12/31 下午11:59:58] ",
    "12/31/17, 11:59:58 PM: ",
]


@pytest.mark.parametrize("head", HEADS)
def test_the_date_styles_of_many_languages_are_read(head):
    later = head.replace("11:59", "11:58").replace("23:59", "23:58")  # the order does not matter
    found = read_text(f"{head}Anna: It is late.\nAnd cold.\n{later}Lila: Note: it is December.\n")
    assert found.turns == [[("Anna", "It is late.\nAnd cold."), ("Lila", "Note: it is December.")]]
    assert found.of_file == []


def test_a_korean_android_export_is_read():
    found = read_text("2023년 12월 31일 오후 11:59, Anna : It is late.\n2023년 12월 31일 오후 11:59, Lila : Yes.")
    assert found.turns == [[("Anna", "It is late."), ("Lila", "Yes.")]]


@pytest.mark.parametrize(
    "words",
    [
        "<Media omitted>",
        "<Medien ausgeschlossen>",
        "<Multimedia omitido>",
        "\u200eimage omitted",
        "\u200e<attached: 1.opus>",
        "IMG-20240101-WA0001.jpg (file attached)",
        "\u200ePTT-20240101-WA0001.opus (Datei angehängt)",
        "plan for may.pdf (file attached)",
        "plan.pdf • \u200e3 pages \u200edocument omitted",
        "This message was deleted",
        "You deleted this message.",
        "\u200eYou deleted this message.",
        "Diese Nachricht wurde gelöscht.",
        "\u200eMissed voice call",
        "null",
        "",
        "\u200e",
    ],
)
def test_what_the_app_says_is_left_out(words):
    found = read_text(f"31.12.23, 23:58 - Anna: Hm?\n31.12.23, 23:58 - Lila: {words}\n31.12.23, 23:59 - Lila: Ah.\n")
    assert found.turns == [[("Anna", "Hm?"), ("Lila", "Ah.")]]
    assert [row for row, _ in found.left_out] == [2]


@pytest.mark.parametrize(
    "words",
    [
        "I said image omitted yesterday",
        "This message was deleted by mistake, sorry",
        "see example.org (file attached there)",
        "a < b and b > a",
        "x <3",
        "<b>bold</b> words",
        "12/31/23 was a Sunday",
        "null and void",
    ],
)
def test_what_a_person_says_stays(words):
    found = read_text(f"31.12.23, 23:58 - Anna: {words}\n31.12.23, 23:59 - Lila: Ah.\n")
    assert found.turns == [[("Anna", words), ("Lila", "Ah.")]]


@pytest.mark.parametrize(
    "notice",
    ["Anna added Carl", 'Anna changed the subject to "Trip: day 1"', "Anna created group “Trip: 2024”", "+49 170 left"],
)
def test_a_notice_is_left_out_even_with_a_colon_in_it(notice):
    found = read_text(f"31.12.23, 23:58 - {notice}\n31.12.23, 23:58 - Anna: Hi.\n31.12.23, 23:59 - Lila: Ho.\n")
    assert (found.turns, found.left_out) == ([[("Anna", "Hi."), ("Lila", "Ho.")]], [(1, "a notice of WhatsApp")])


def test_a_line_of_another_style_was_written_by_a_person():
    text = "[31.12.23, 23:58:00] Anna: He wrote:\n31.12.23, 23:50 - Carl: hello\n[31.12.23, 23:59:00] Lila: Oh.\n"
    assert read_text(text).turns == [[("Anna", "He wrote:\n31.12.23, 23:50 - Carl: hello"), ("Lila", "Oh.")]]


def test_a_number_as_sender_loses_its_marks():
    text = "31.12.23, 23:58 - \u202a+49 170 0000000\u202c: Hi.\n31.12.23, 23:59 - Lila: Ho."
    assert read_text(text).turns[0][0] == ("+49 170 0000000", "Hi.")


def test_lines_above_the_first_message_are_left_out():
    found = read_text("My chat\n\n31.12.23, 23:58 - Anna: Hi.\n31.12.23, 23:59 - Lila: Ho.")
    assert found.left_out == [(1, "a line before the first message")]


def test_a_text_of_another_kind_is_refused_once():
    found = read_text("Once upon a time\nthere was a lamp.\n12:30 - nobody came.\n")
    assert found.dialogues == []
    [note] = found.notes
    assert (note.row, note.action) == (0, FILE_REFUSED)


def test_an_empty_text_gives_nothing():
    assert read([], "text").notes == read([""], "text").notes == []


def test_a_line_that_is_no_text_is_refused_alone():
    found = read(["31.12.23, 23:58 - Anna: Hi\0.", "31.12.23, 23:59 - Lila: Ho.", RowFault("", "bad bytes")], "text")
    assert found.dropped == [(1, ""), (3, "")]
    assert found.turns == [[("Lila", "Ho.")]]


def test_a_row_may_be_the_whole_text_and_empty_lines_may_be_missing():
    assert read([WHATSAPP_ANDROID], "text").turns == read_text(WHATSAPP_ANDROID).turns
    lines = [Row(n, line) for n, line in enumerate(WHATSAPP_ANDROID.split("\n"), start=1) if line]
    assert read_rows(lines, "text").turns == read_text(WHATSAPP_ANDROID).turns


def test_carriage_returns_at_the_ends_of_lines_go():
    assert read_text(WHATSAPP_ANDROID.replace("\n", "\r\n")).turns == read_text(WHATSAPP_ANDROID).turns


def test_a_long_line_takes_no_time():
    line = "31.12.23, 23:58 - Anna: " + "a " * 500_000 + "<" * 1000
    assert read_text(f"{line}\n31.12.23, 23:59 - Lila: Ho.").dialogues[0].rows == 2
    assert read_text("1" * 200_000 + "\n" + "[" * 200_000 + "\n31.12.23, 23:58 - Anna: Hi.").reading.num_rows == 3


def stamps(text):
    """Stamps of `date hour:minute` lines."""
    for line in text:
        date, time = line.split(" ")
        first, second, third = (int(part) for part in date.replace(".", "/").split("/"))
        hour, minute = (int(part) for part in time.split(":"))
        yield Stamp((first, second, third), (hour, minute, 0))


def pauses(*lines):
    clock = Clock()
    return [clock.pause_seconds(stamp) for stamp in stamps(lines)]


@pytest.mark.parametrize(
    "before, after",
    [
        ("31/12/23 23:50", "01/01/24 00:10"),
        ("12/31/23 23:50", "1/1/24 00:10"),
        ("2023/12/31 23:50", "2024/1/1 00:10"),
        ("01/02/24 23:50", "02/02/24 00:10"),
        ("28.02.23 23:50", "01.03.23 00:10"),
    ],
)
def test_twenty_minutes_over_midnight_are_twenty_minutes_in_any_order(before, after):
    assert pauses(before, after) == [0.0, 1200.0]


def test_a_day_is_a_day_in_any_order():
    assert pauses("01/02/24 12:00", "02/02/24 12:00")[1] == 86400.0
    assert pauses("12/30/23 12:00", "12/31/23 12:00")[1] == 86400.0


def test_a_date_that_is_none_has_no_pause():
    assert pauses("31/12/23 12:00", "99/99/23 12:00", "31/12/23 13:00") == [0.0, None, 3600.0]


@given(st.datetimes(min_value=datetime(2010, 1, 1), max_value=datetime(2080, 1, 1)), st.lists(st.floats(60, 3e6)))
def test_a_pause_is_never_longer_than_it_was(start, steps):
    times = [start]
    for step in steps:
        times.append(times[-1] + timedelta(seconds=step))
    for order in ("{0.day}/{0.month}/{0.year}", "{0.month}/{0.day}/{0.year}", "{0.year}/{0.month}/{0.day}"):
        found = pauses(*(f"{order.format(time)} {time.hour}:{time.minute}" for time in times))
        for pause, step in zip(found[1:], steps, strict=True):
            assert pause is not None and 0 <= pause < step + 60
