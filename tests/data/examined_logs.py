"""Chat logs and the exports of chat programs with faults inside."""

from typing import Any

from tests.data.examined import ANY, ASK, REPLY, TOPICS, Case, dump, lines

ST_HEAD = {"user_name": "Mira", "character_name": "Oslo", "create_date": "2024-9-5@15h04m", "chat_metadata": {}}


def st(name: str, mes: object, **more: object) -> dict[str, Any]:
    """A SillyTavern message."""
    return {
        "name": name,
        "is_user": name == "Mira",
        "is_system": False,
        "send_date": "2026-01-01T00:00:00Z",
        "mes": mes,
        **more,
    }


def discord(*said_by: tuple[str, object], **more: object) -> bytes:
    """A DiscordChatExporter document."""
    found = [
        {
            "id": str(at),
            "type": "Default",
            "timestamp": f"2026-01-01T10:{at:02}:00+00:00",
            "isPinned": False,
            "content": text,
            "author": {"id": name, "name": name, "nickname": name, "isBot": False},
            "attachments": [],
            "embeds": [],
            **more,
        }
        for at, (name, text) in enumerate(said_by)
    ]
    head = {"guild": {"id": "0", "name": "Direct"}, "channel": {"id": "1", "type": "DirectTextChat", "name": "x"}}
    return dump({**head, "messages": found, "messageCount": len(found)}).encode()


def telegram(*said_by: tuple[str, object]) -> bytes:
    """A Telegram result.json of one chat."""
    found = [
        {
            "id": at,
            "type": "message",
            "date": f"2026-01-01T10:{at:02}:00",
            "from": name,
            "from_id": f"user{name}",
            "text": text,
            "text_entities": [],
        }
        for at, (name, text) in enumerate(said_by)
    ]
    return dump({"name": "Oslo", "type": "personal_chat", "id": 7, "messages": found}).encode()


WHO = ("--me", "Mira", "--as", "Oslo")
TALK = (("Mira", ASK), ("Oslo", REPLY), ("Mira", TOPICS[3][0]), ("Oslo", TOPICS[3][1]))
ANDROID = (
    "05/09/2024, 15:04 - Messages and calls are end-to-end encrypted.\n"
    f"05/09/2024, 15:05 - Mira: {ASK}\n"
    f"05/09/2024, 15:06 - Oslo: {REPLY}\nA second line of it.\n"
    "05/09/2024, 15:07 - Mira: <Media omitted>\n"
    f"05/09/2024, 15:08 - Mira: {TOPICS[3][0]}\n05/09/2024, 15:09 - Oslo: {TOPICS[3][1]}\n"
).encode()
IOS = (
    f"[05.09.24, 15:05:01] Mira: {ASK}\r\n[05.09.24, 15:06:01] Oslo: {REPLY}\r\n"
    f"\u200e[05.09.24, 15:07:00] Mira: \u200eimage omitted\r\n[05.09.24, 15:08:00] Mira: {TOPICS[3][0]}\r\n"
    f"[05.09.24, 15:09:00] Oslo: {TOPICS[3][1]}\r\n"
).encode()

LOGS = (
    # Chat logs
    Case(
        "tavern.jsonl",
        lines(
            ST_HEAD, st("Oslo", "Welcome."), st("Mira", ASK), st("Oslo", REPLY, swipes=["Weeds.", REPLY], swipe_id=1)
        ),
        format="sillytavern",
        conversations=1,
        texts=(REPLY,),
        absent=("Weeds.",),
    ),
    Case(
        "tavern-broken-line-5.jsonl",
        lines(
            ST_HEAD,
            st("Oslo", "Welcome."),
            st("Mira", ASK),
            st("Oslo", REPLY),
            '{"name": "Mira", "mes": "And',
            st("Oslo", "Good night."),
        ),
        ((5, ANY, "JSON"),),
        format="sillytavern",
        texts=(REPLY,),
    ),
    Case(
        "tavern-hidden.jsonl",
        lines(ST_HEAD, st("Mira", ASK), st("Oslo", REPLY), {**st("Mira", "hidden thing"), "is_system": True}),
        is_loud=True,
        absent=("hidden thing",),
    ),
    Case(
        "tavern-no-mes.jsonl",
        lines(
            ST_HEAD,
            st("Mira", ASK),
            {"name": "Oslo", "is_user": False},
            st("Mira", TOPICS[3][0]),
            st("Oslo", TOPICS[3][1]),
        ),
        ((3, "mes", "."),),
    ),
    Case(
        "tavern-number-mes.jsonl",
        lines(ST_HEAD, st("Mira", ASK), st("Oslo", 5), st("Mira", TOPICS[3][0]), st("Oslo", TOPICS[3][1])),
        ((3, "mes", "number|5|integer"),),
    ),
    Case(
        "tavern-swipe-out-of-range.jsonl",
        lines(ST_HEAD, st("Mira", ASK), st("Oslo", REPLY, swipes=["Weeds."], swipe_id=4)),
        is_loud=True,
        texts=(REPLY,),
    ),
    Case("tavern-no-header.jsonl", lines(st("Oslo", "Welcome."), st("Mira", ASK), st("Oslo", REPLY)), texts=(REPLY,)),
    Case("tavern-header-only.jsonl", lines(ST_HEAD), ((ANY, ANY, "."),), exit_code=3),
    Case("discord.json", discord(*TALK), rows=(4, 4, 0), turns=2, format="discord", arguments=WHO, texts=(REPLY,)),
    Case("discord-not-told.json", discord(*TALK), ((ANY, ANY, "(?s)Mira.*Oslo|Oslo.*Mira"),), exit_code=3),
    Case(
        "discord-empty-content.json",
        discord(*TALK[:2], ("Mira", ""), *TALK[2:]),
        is_loud=True,
        arguments=WHO,
        noted=((3, ANY, "."),),
    ),
    Case(
        "discord-null-content.json",
        discord(*TALK[:2], ("Mira", None), *TALK[2:]),
        ((3, "messages[2].content", "null"),),
        arguments=WHO,
    ),
    Case("discord-wrong-name.json", discord(*TALK), arguments=("--as", "Nobody"), is_loud=True, exit_code=3),
    Case(
        "discord-third-person.json",
        discord(*TALK, ("Kim", "I am here too."), ("Oslo", "Welcome, Kim.")),
        arguments=WHO,
        is_loud=True,
        noted=((ANY, ANY, "Kim"),),
    ),
    Case("telegram.json", telegram(*TALK), rows=(4, 4, 0), turns=2, format="telegram", arguments=WHO, texts=(REPLY,)),
    Case(
        "telegram-entities.json",
        telegram(("Mira", ["See ", {"type": "bold", "text": "this"}, " now?"]), ("Oslo", REPLY)),
        rows=(2, 2, 0),
        arguments=WHO,
        texts=("See this now?",),
    ),
    Case("telegram-not-told.json", telegram(*TALK), ((ANY, ANY, "(?s)Mira.*Oslo|Oslo.*Mira"),), exit_code=3),
    Case(
        "telegram-deleted-account.json",
        telegram(("Mira", ASK), (None, REPLY)),
        arguments=WHO,
        is_loud=True,
        exit_code=3,
    ),
    Case(
        "telegram-sticker.json",
        telegram(*TALK[:2], ("Mira", ""), *TALK[2:]),
        arguments=WHO,
        is_loud=True,
        noted=((3, ANY, "."),),
    ),
    Case(
        "telegram-number-text.json",
        telegram(*TALK[:2], ("Mira", 7), *TALK[2:]),
        ((3, "messages[2].text", "number"),),
        arguments=WHO,
    ),
    Case(
        "telegram-truncated.json", telegram(*TALK)[:-50], ((ANY, ANY, "end|truncat|cut"),), arguments=WHO, exit_code=3
    ),
    Case(
        "whatsapp-android.txt",
        ANDROID,
        format="whatsapp",
        turns=2,
        arguments=WHO,
        texts=("A second line of it.",),
        absent=("Media omitted", "end-to-end"),
        is_loud=True,
    ),
    Case(
        "whatsapp-ios.txt",
        IOS,
        format="whatsapp",
        turns=2,
        arguments=WHO,
        texts=(REPLY,),
        absent=("image omitted",),
        is_loud=True,
    ),
    Case("whatsapp-not-told.txt", ANDROID, exit_code=3, is_loud=True),
    Case("plain.txt", b"Once upon a time there was a lighthouse.\nIt had no door.\n", ((0, "", "."),)),
    Case(
        "webui.json",
        dump(
            {
                "internal": [["<|BEGIN-VISIBLE-CHAT|>", "Welcome."], [ASK, REPLY]],
                "visible": [["", "Welcome."], [ASK, REPLY]],
            }
        ).encode(),
        format="text-generation-webui",
        texts=(REPLY,),
        absent=("BEGIN-VISIBLE",),
    ),
    Case(
        "webui-broken.json",
        dump({"internal": [[ASK, REPLY], [TOPICS[3][0]]], "visible": []}).encode(),
        is_loud=True,
        noted=((ANY, "internal[1]", "."),),
    ),
    Case(
        "risu.json",
        dump(
            {
                "type": "risuChat",
                "ver": 2,
                "data": {"message": [{"role": "user", "data": ASK}, {"role": "char", "data": REPLY}]},
            }
        ).encode(),
        format="risuai",
        texts=(REPLY,),
    ),
    Case(
        "risu-null.json",
        dump(
            {
                "type": "risuChat",
                "ver": 2,
                "data": {"message": [{"role": "user", "data": ASK}, {"role": "char", "data": None}]},
            }
        ).encode(),
        ((1, "data.message[1].data", "null"),),
    ),
    Case(
        "agnai.json",
        dump({"messages": [{"msg": ASK, "userId": "u1"}, {"msg": REPLY}]}).encode(),
        format="agnai",
        texts=(REPLY,),
    ),
    Case(
        "agnai-no-msg.json",
        dump({"messages": [{"msg": ASK, "userId": "u1"}, {"userId": None}]}).encode(),
        ((1, "messages[1].msg", "."),),
    ),
    Case(
        "cai.json",
        dump(
            {
                "histories": {
                    "histories": [
                        {
                            "msgs": [
                                {"src": {"is_human": True}, "text": ASK},
                                {"src": {"is_human": False}, "text": REPLY},
                            ]
                        }
                    ]
                }
            }
        ).encode(),
        format="cai-tools",
        texts=(REPLY,),
    ),
    Case(
        "kobold.json",
        dump(
            {
                "savedsettings": {"chatname": "Mira", "chatopponent": "Oslo"},
                "prompt": "",
                "actions": [f"{{{{[INPUT]}}}}{ASK}{{{{[OUTPUT]}}}}", REPLY],
            }
        ).encode(),
        format="kobold-lite",
        texts=(REPLY,),
    ),
    Case(
        "openwebui.json",
        dump(
            [
                {
                    "chat": {
                        "title": "t",
                        "models": ["m"],
                        "history": {
                            "currentId": "b",
                            "messages": {
                                "a": {
                                    "id": "a",
                                    "parentId": None,
                                    "childrenIds": ["b"],
                                    "role": "user",
                                    "content": ASK,
                                },
                                "b": {
                                    "id": "b",
                                    "parentId": "a",
                                    "childrenIds": [],
                                    "role": "assistant",
                                    "content": REPLY,
                                },
                            },
                        },
                    }
                }
            ]
        ).encode(),
        format="open-webui",
        texts=(REPLY,),
    ),
    Case(
        "openwebui-loop.json",
        dump(
            [
                {
                    "chat": {
                        "history": {
                            "currentId": "b",
                            "messages": {
                                "a": {"id": "a", "parentId": "b", "role": "user", "content": ASK},
                                "b": {"id": "b", "parentId": "a", "role": "assistant", "content": REPLY},
                            },
                        }
                    }
                }
            ]
        ).encode(),
        ((1, ANY, "."),),
    ),
    Case(
        "openwebui-lost-parent.json",
        dump(
            [
                {
                    "chat": {
                        "history": {
                            "currentId": "b",
                            "messages": {"b": {"id": "b", "parentId": "zz", "role": "assistant", "content": REPLY}},
                        }
                    }
                }
            ]
        ).encode(),
        ((1, ANY, "."),),
    ),
)
