"""What likes and consent promise, on every database they can lie in."""

from duologue.chat.sessions import Sessions
from duologue.messages import Message


def a_chat(sessions: Sessions, *, user: str = "local") -> tuple[str, int, int]:
    session_id = sessions.create(character="mara", user=user)
    asked = sessions.append(session_id, Message("user", "Tea?"))
    replies = [
        sessions.append(
            session_id, Message("assistant", text), finish_reason="stop", parent_id=asked, is_generated=True
        )
        for text in ("Green.", "Black.")
    ]
    return session_id, *replies


def test_consent_is_asked_given_and_refused_and_counted_by_chat(sessions: Sessions) -> None:
    given, refused, _ = (a_chat(sessions, user=user)[0] for user in ("ana", "tom", "local"))
    assert sessions.marks.consent(given).state == ""
    sessions.marks.set_consent(given, "asked")
    asked_at = sessions.marks.consent(given).changed_at
    sessions.marks.set_consent(given, "given")
    sessions.marks.set_consent(refused, "refused")

    elsewhere = sessions.create(character="otto", user="ana")
    sessions.marks.set_consent(elsewhere, "given")

    assert asked_at.endswith("+00:00")
    assert sessions.marks.list_consented(character="otto") == (elsewhere,)
    assert sessions.marks.list_consented(character="mara") == (given,)
    assert sessions.marks.count_consents(character="mara") == {"given": 1, "refused": 1, "": 1}
    assert sessions.marks.count_consents(character="somebody else") == {}


def test_opinions_are_said_changed_and_taken_back_and_end_with_the_text(sessions: Sessions) -> None:
    session_id, first, second = a_chat(sessions)
    for message_id, is_liked in ((first, True), (second, True), (first, False), (999_999, True)):
        sessions.marks.set_opinion(message_id, is_liked)
    assert sessions.marks.opinions(session_id) == {first: False, second: True}
    sessions.marks.set_opinion(second, None)
    sessions.edit(first, "Green, with mint.")

    marks = sessions.marks.read(session_id)

    assert (marks.opinions, marks.num_outdated) == ({}, 1)
    assert marks.originals == {first: "Green."}
    assert (marks.text_by[first], marks.text_by[second]) == ("person", "model")


def test_a_users_message_cannot_be_liked(sessions: Sessions) -> None:
    session_id, *_ = a_chat(sessions)
    sessions.marks.set_opinion(sessions.path(session_id)[0].id, True)

    assert sessions.marks.opinions(session_id) == {}


def test_a_pick_knows_what_was_there_to_be_compared(sessions: Sessions) -> None:
    session_id, first, second = a_chat(sessions)
    sessions.marks.pick(first)
    sessions.append(session_id, Message("assistant", "White."), parent_id=sessions.path(session_id)[0].id)

    assert sessions.marks.read(session_id).picks == {first: second}


def test_marks_go_with_the_message_the_chat_and_the_user(sessions: Sessions) -> None:
    session_id, first, second = a_chat(sessions)
    for message_id in (first, second):
        sessions.marks.set_opinion(message_id, True)
        sessions.marks.pick(message_id)
        sessions.edit(message_id, f"Rewritten {message_id}.")
    sessions.marks.set_consent(session_id, "given")
    sessions.marks.leave_out(session_id, "edit 1")
    sessions.marks.leave_out(session_id, "edit 1")
    sessions.erase_message(second)
    marks = sessions.marks.read(session_id)
    assert (set(marks.picks), marks.originals, marks.left_out) == ({first}, {first: "Green."}, {"edit 1"})

    sessions.delete_user("local")

    gone = sessions.marks.read(session_id)
    assert not (gone.picks or gone.originals or gone.left_out or gone.opinions or gone.text_by)
    assert sessions.marks.consent(session_id).state == ""


def test_refusing_keeps_no_text_of_before_an_edit(sessions: Sessions) -> None:
    session_id, first, second = a_chat(sessions)
    sessions.edit(first, "Green, with mint.")
    sessions.marks.set_consent(session_id, "refused")
    sessions.edit(second, "Black, with milk.")

    assert sessions.marks.read(session_id).originals == {}
