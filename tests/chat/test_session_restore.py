"""Sessions of a damaged file: what is left of a chat is one chat, and its messages can be gone on with."""

import threading
from pathlib import Path

from duologue.chat.sessions import Sessions, SessionTree
from duologue.chat.tree import TreeMessage
from duologue.messages import Message

PAGE = 4096


def line(num: int) -> SessionTree:
    roles = ("user", "assistant")
    return SessionTree(
        tuple(TreeMessage(n + 1, n, Message(roles[n % 2], f"message {n} " + "rain " * 60)) for n in range(num))
    )


def test_a_chat_with_a_lost_page_is_one_chat_again(tmp_path: Path) -> None:
    path = tmp_path / "chats.sqlite"
    sessions = Sessions.open(path)
    session_id = sessions.add_tree(line(40), character="nyx")
    sessions.close()
    Sessions.open(path).close()  # makes the backup with 40 messages
    sessions = Sessions.open(path)
    for number in range(40, 400):
        sessions.append(session_id, Message("user", f"message {number} " + "rain " * 60))
    swiped = sessions.append(
        session_id, Message("assistant", "the last one"), parent_id=sessions.path(session_id)[-1].id
    )
    sessions.close()
    content = bytearray(path.read_bytes())
    page = next(n for n in range(len(content) // PAGE) if b"message 200 rain" in content[n * PAGE : (n + 1) * PAGE])
    content[page * PAGE : (page + 1) * PAGE] = b"\xff" * PAGE
    path.write_bytes(content)

    told: list[str] = []
    sessions = Sessions.open(path, notify=told.append)
    [notice] = told
    assert "restored from the backup" in notice
    found = [int(entry.message.content.split()[1]) for entry in sessions.path(session_id)[:-1]]
    assert found == sorted(found)
    assert found[:40] == list(range(40))
    assert 5 < 400 - len(found) < 20  # only the messages of that page
    assert sessions.path(session_id)[-1].id == swiped
    assert sessions.info(session_id).num_messages == len(found) + 1
    depths = [row["depth"] for row in sessions._database.read("SELECT depth FROM messages ORDER BY depth")]
    assert depths == list(range(1, len(found) + 2))
    assert len(sessions.search("message", limit=1000)) == len(found)
    assert sessions.append(session_id, Message("user", "goes on")) > swiped
    sessions.close()


def test_a_deleted_session_does_not_come_back_with_a_restored_file(tmp_path: Path) -> None:
    path = tmp_path / "chats.sqlite"
    sessions = Sessions.open(path)
    gone, kept = sessions.add_tree(line(60), character="nyx"), sessions.add_tree(line(3), character="nyx")
    sessions.close()
    Sessions.open(path).close()
    sessions = Sessions.open(path)
    sessions.delete(gone)
    sessions.close()
    path.write_bytes(b"\xff" * 20_000)
    sessions = Sessions.open(path, notify=lambda _: None)
    assert [info.id for info in sessions.list_sessions(character="nyx")] == [kept]
    assert len(sessions.path(kept)) == 3
    sessions.close()


def test_threads_that_write_to_one_chat_make_one_chain(tmp_path: Path) -> None:
    sessions = Sessions.open(tmp_path / "chats.sqlite")
    other = Sessions.open(tmp_path / "chats.sqlite")  # as a second program
    session_id = sessions.create(character="nyx")

    def write(name: int) -> None:
        store = sessions if name % 2 else other
        for number in range(10):
            store.append(session_id, Message("user", f"{name}/{number}"))

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    path = sessions.path(session_id)
    assert sorted(entry.message.content for entry in path) == sorted(f"{a}/{b}" for a in range(4) for b in range(10))
    assert {entry.num_swipes for entry in path} == {1}
    other.close()
    sessions.close()
