"""One export of every format, with the keys that the real programs write, and how to read it."""

from dataclasses import dataclass
from typing import Any

from duologue.data.formats import ROW_LEFT_OUT, Reading, read_dialogues
from duologue.data.found import ROW_DROPPED, Dialogue, Note, Row


@dataclass(frozen=True)
class Read:
    """What came of a file."""

    dialogues: list[Dialogue]
    notes: list[Note]
    reading: Reading

    @property
    def turns(self) -> list[list[tuple[str | None, str]]]:
        return [[(turn.role or turn.speaker, turn.text) for turn in dialogue.turns] for dialogue in self.dialogues]

    @property
    def dropped(self) -> list[tuple[int, str]]:
        return [(note.row, note.field) for note in self.notes if note.action == ROW_DROPPED]

    @property
    def left_out(self) -> list[tuple[int, str]]:
        return [(note.row, note.reason) for note in self.notes if note.action == ROW_LEFT_OUT]

    @property
    def of_file(self) -> list[tuple[str, str]]:
        return [(note.reason, note.action) for note in self.notes if note.row == 0]


def read(values: list[Any], container: str = "json-lines", **how: Any) -> Read:
    """Read rows, numbered from 1, and check that each of them is accounted for."""
    return read_rows([Row(number, value) for number, value in enumerate(values, start=1)], container, **how)


def read_rows(rows: list[Row], container: str = "json-lines", **how: Any) -> Read:
    reading = read_dialogues(iter(rows), container=container, **how)
    found = list(reading)
    dialogues = [item for item in found if isinstance(item, Dialogue)]
    notes = [item for item in found if isinstance(item, Note)]
    num_used = sum(dialogue.rows for dialogue in dialogues)
    num_not_used = sum(note.row > 0 and note.action in (ROW_DROPPED, ROW_LEFT_OUT) for note in notes)
    assert reading.num_rows == num_used + num_not_used
    for dialogue in dialogues:
        assert dialogue.turns and dialogue.row == dialogue.turns[0].row
        assert not any(note.action in (ROW_DROPPED, ROW_LEFT_OUT) for note in dialogue.notes)
    return Read(dialogues, notes, reading)


def read_text(text: str, **how: Any) -> Read:
    return read(text.split("\n"), "text", **how)


MESSAGES = {
    "messages": [
        {"role": "system", "content": "You keep a lighthouse."},
        {"role": "user", "name": "anna", "content": [{"type": "text", "text": "Is the lamp lit?"}]},
        {"role": "assistant", "content": "Since dusk.", "weight": 1},
    ],
    "tools": None,
}
SHAREGPT = {
    "id": "lamp_1",
    "system": "You keep a lighthouse.",
    "conversations": [
        {"from": "human", "value": "Is the lamp lit?", "weight": None},
        {"from": "gpt", "value": "Since dusk.", "weight": 0},
    ],
}
ALPACA = {
    "instruction": "Name the colour.",
    "input": "grass",
    "output": "Green.",
    "system": "Be brief.",
    "history": [["Name the shape of a coin.", "Round."]],
}
PROMPT = {"prompt": "The kettle is", "completion": " singing."}
PROMPT_OF_MESSAGES = {
    "prompt": [
        {"role": "user", "content": "Tea or milk?"},
        {"role": "assistant", "content": "Tea."},
        {"role": "user", "content": "With sugar?"},
    ],
    "completion": [{"role": "assistant", "content": "Two lumps."}],
}

SILLYTAVERN = [
    {
        "chat_metadata": {"integrity": "8f14e45f-ceea-467f-9b2c-000000000001", "tainted": True, "note_depth": 4},
        "user_name": "unused",
        "character_name": "unused",
    },
    {
        "name": "Lila",
        "is_user": False,
        "is_system": False,
        "send_date": "2026-03-01T18:00:00.000Z",
        "mes": "You are late, the soup is cold.",
        "extra": {"api": "textgenerationwebui", "model": "m", "token_count": 9},
        "swipe_id": 1,
        "swipes": ["Ah, there you are!", "You are late, the soup is cold.", "Wipe your boots."],
        "swipe_info": [{"send_date": "2026-03-01T18:00:00.000Z", "extra": {}}],
    },
    {
        "name": "Anna",
        "is_user": True,
        "is_system": False,
        "send_date": "2026-03-01T18:01:00.000Z",
        "mes": "The ferry waited for the fog.",
        "extra": {"isSmallSys": False},
        "force_avatar": "User Avatars/anna.png",
    },
    {
        "name": "Lila",
        "is_user": False,
        "is_system": False,
        "send_date": "2026-03-01T18:02:00.000Z",
        "mes": "Then I forgive the ferry, not you.",
        "extra": {"reasoning": "She is teasing.", "reasoning_duration": 12},
        "gen_started": "2026-03-01T18:01:30.000Z",
        "gen_finished": "2026-03-01T18:02:00.000Z",
    },
]
SILLYTAVERN_OLD = [
    {"user_name": "Anna", "character_name": "Lila", "create_date": "2023-09-05@15h04m05s"},
    {"name": "Lila", "is_user": False, "is_name": True, "send_date": "September 5, 2023 3:04pm", "mes": "Hello, Anna."},
    {"name": "Anna", "is_user": True, "is_name": True, "send_date": 1693926245000, "mes": "Hello, Lila."},
]
CHUB = [
    {"user_name": "Anna", "character_name": "Lila", "create_date": "2024-01-01", "chat_metadata": {}},
    {
        "name": "Lila",
        "is_user": False,
        "send_date": 1700000000000,
        "mes": {"message": "The map is upside down."},
        "swipes": [{"message": "The map is upside down."}, {"message": "North is that way."}],
        "swipe_id": 0,
    },
    {"name": "Anna", "is_user": True, "send_date": 1700000001000, "mes": {"message": "So are we."}},
]

TEXT_GENERATION_WEBUI = {
    "internal": [
        ["<|BEGIN-VISIBLE-CHAT|>", "Come in, the door sticks."],
        ["Thanks & good morning.", "Morning. Coffee?"],
        ["", "It is still hot."],
    ],
    "visible": [
        ["", "Come in, the door sticks."],
        ["Thanks &amp; good morning.", "Morning."],
        ["", "It is still hot."],
    ],
    "metadata": {
        "user_1": {"timestamp": "Mar 01, 2026 18:00"},
        "assistant_1": {
            "timestamp": "Mar 01, 2026 18:01",
            "versions": [{"content": "Morning.", "visible_content": "Morning."}, {"content": "Morning. Coffee?"}],
            "current_version_index": 1,
        },
    },
}
TEXT_GENERATION_WEBUI_OLD = {
    "data": [["<|BEGIN-VISIBLE-CHAT|>", "Come in."], ["Thanks.", "Coffee?"]],
    "data_visible": [["", "Come in."], ["Thanks.", "Coffee?"]],
}
RISUAI = {
    "type": "risuChat",
    "ver": 2,
    "data": {
        "name": "Chat 1",
        "note": "",
        "fmIndex": -1,
        "localLore": [],
        "message": [
            {"role": "user", "data": "Did the parcel come?", "time": 1772000000000, "chatId": "a"},
            {"role": "char", "data": "It waits in the hall.", "saying": "c-1", "time": 1772000060000, "chatId": "b"},
            {"role": "user", "data": "(wrong window)", "time": 1772000070000, "disabled": True},
        ],
    },
}
RISUAI_ALL = {
    "type": "risuAllChats",
    "ver": 2,
    "data": [
        {"name": "A", "message": [{"role": "user", "data": "One?"}, {"role": "char", "data": "Two."}]},
        {"name": "B", "message": [{"role": "char", "data": "Three."}, {"role": "user", "data": "Four."}]},
    ],
    "folders": [],
}
AGNAI = {
    "name": "Exported",
    "greeting": "Hello.",
    "sampleChat": "",
    "scenario": "",
    "messages": [
        {"_id": "1", "characterId": "imported", "handle": "Lila", "msg": "The tide is out.", "createdAt": "2026-01-01"},
        {"_id": "2", "userId": "anon", "handle": "Anna", "msg": "Then we walk.", "createdAt": "2026-01-01"},
    ],
}
CAI_TOOLS = {
    "info": {"character": {"name": "Lila"}},
    "histories": {
        "histories": [
            {
                "msgs": [
                    {"src": {"is_human": False, "name": "Lila"}, "text": "Knock knock."},
                    {"src": {"is_human": True, "name": "Anna"}, "text": "Who is there?"},
                ]
            },
            {"msgs": [{"src": {"is_human": True, "name": "Anna"}, "text": "Again?"}]},
        ]
    },
}
KOBOLD_LITE = {
    "gamestarted": True,
    "prompt": "{{[INPUT]}}Which way is the harbour?{{[OUTPUT]}}",
    "memory": "",
    "authorsnote": "",
    "anotetemplate": "<|>",
    "actions": [
        "Down the hill, then left.",
        "\n{{[INPUT]}}\nAnd the inn?\n{{[INPUT_END]}}\n{{[OUTPUT]}}\n",
        "Behind the harbour.",
        " Mind the cat.{{[OUTPUT_END]}}",
    ],
    "savedsettings": {"opmode": 4, "chatname": "Anna", "chatopponent": "Lila||$||Carl", "instruct_starttag": "\\n###"},
}
KOBOLD_LITE_CHAT = {
    "gamestarted": True,
    "prompt": "Lila: The shop is open.",
    "actions": [
        "\nAnna: One loaf, please.\nLila:",
        " White or dark?\nand sliced?",
        "\nCarl: Dark. It is always dark.\n",
    ],
    "savedsettings": {"opmode": 3, "chatname": "Anna", "chatopponent": "Lila||$||Carl"},
}
OPEN_WEBUI = {
    "id": "c1",
    "user_id": "u1",
    "title": "Moss",
    "chat": {
        "id": "",
        "title": "Moss",
        "models": ["m:latest"],
        "params": {"system": "You are a gardener."},
        "history": {
            "currentId": "m4",
            "messages": {
                "m1": {
                    "id": "m1",
                    "parentId": None,
                    "childrenIds": ["m2", "m3"],
                    "role": "user",
                    "content": "Is it moss?",
                },
                "m2": {"id": "m2", "parentId": "m1", "childrenIds": [], "role": "assistant", "content": "No."},
                "m3": {
                    "id": "m3",
                    "parentId": "m1",
                    "childrenIds": ["m4"],
                    "role": "assistant",
                    "model": "m:latest",
                    "content": '<details type="reasoning" done="true" duration="3">\n<summary>Thought</summary>\n> hm\n'
                    "</details>\nIt is lichen.",
                    "done": True,
                    "timestamp": 1772000000,
                },
                "m4": {
                    "id": "m4",
                    "parentId": "m3",
                    "childrenIds": [],
                    "role": "user",
                    "content": "Pity.",
                    "files": [],
                },
            },
        },
        "messages": [],
        "tags": [],
    },
    "meta": {},
    "pinned": False,
    "folder_id": None,
    "created_at": 1772000000,
    "updated_at": 1772000100,
}


def _discord_message(number: int, name: str, text: str, time: str, **more: Any) -> dict[str, Any]:
    author = {
        "id": str(sum(map(ord, name))),
        "name": name.lower(),
        "discriminator": "0000",
        "nickname": name,
        "color": None,
        "isBot": name == "Clockwork",
        "roles": [],
        "avatarUrl": "https://example.org/a.png",
    }
    return {
        "id": str(9000 + number),
        "type": "Default",
        "timestamp": time,
        "timestampEdited": None,
        "callEndedTimestamp": None,
        "isPinned": False,
        "content": text,
        "author": author,
        "attachments": [],
        "embeds": [],
        "stickers": [],
        "reactions": [],
        "mentions": [],
        **more,
    }


DISCORD = {
    "guild": {"id": "0", "name": "Direct Messages", "iconUrl": "https://example.org/0.png"},
    "channel": {"id": "1", "type": "DirectTextChat", "categoryId": None, "category": "Private", "name": "Lila"},
    "dateRange": {"after": None, "before": None},
    "exportedAt": "2026-03-05T10:00:00.1234567+00:00",
    "messages": [
        _discord_message(1, "Anna", "Is the sauna warm?", "2026-03-01T18:00:00.12+00:00"),
        _discord_message(2, "Lila", "Warm enough, @Anna.", "2026-03-01T18:01:00+00:00", type="Reply"),
        _discord_message(3, "Anna", "Pinned a message.", "2026-03-01T18:02:00+00:00", type="ChannelPinnedMessage"),
        _discord_message(4, "Lila", "", "2026-03-01T18:03:00+00:00", attachments=[{"id": "5", "fileName": "a.png"}]),
        _discord_message(5, "Clockwork", "It is six.", "2026-03-01T18:04:00+00:00"),
        _discord_message(6, "Anna", "Good morning.", "2026-03-02T08:00:00+01:00"),
        _discord_message(7, "Lila", "Is it?", "2026-03-02T08:01:00+01:00"),
    ],
    "messageCount": 7,
}


def _telegram_message(number: int, name: str | None, text: Any, minutes: int, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "type": "message",
        "date": f"2026-03-01T{18 + minutes // 60:02d}:{minutes % 60:02d}:00",
        "date_unixtime": str(1772388000 + 60 * minutes),
        "from": name,
        "from_id": f"user{name}",
        "text": text,
        "text_entities": [],
        **more,
    }


TELEGRAM = {
    "name": "Lila",
    "type": "personal_chat",
    "id": 4100000001,
    "messages": [
        {
            "id": 1,
            "type": "service",
            "date": "2026-03-01T17:59:00",
            "date_unixtime": "1772387940",
            "actor": "Anna",
            "actor_id": "userAnna",
            "action": "phone_call",
            "text": "",
            "text_entities": [],
        },
        _telegram_message(2, "Anna", ["Look: ", {"type": "link", "text": "https://example.org"}, " :)"], 0),
        _telegram_message(3, "Lila", "I see a page.", 1, reply_to_message_id=2),
        _telegram_message(4, "Anna", "", 2, photo="(File not included.)", width=10, height=10),
        _telegram_message(5, "Anna", "Somebody else's words.", 3, forwarded_from="News"),
        _telegram_message(6, "Lila", "A caption.", 4, file="a.mp4", media_type="video_file"),
        _telegram_message(7, None, "From an account that is gone.", 5, from_id="user7"),
    ],
}
TELEGRAM_ALL = {
    "about": "Here is the data you requested.",
    "personal_information": {"user_id": 1, "first_name": "Anna"},
    "chats": {
        "about": "This page lists all chats from this export.",
        "list": [
            {"name": "Empty", "type": "private_group", "id": 1, "messages": []},
            {"name": "Lila", "type": "personal_chat", "id": 2, "messages": TELEGRAM["messages"][1:3]},
            {
                "name": "Carl",
                "type": "personal_chat",
                "id": 3,
                "messages": [_telegram_message(1, "Carl", "Chess?", 0), _telegram_message(2, "Anna", "Always.", 1)],
            },
        ],
    },
}

WHATSAPP_ANDROID = """\
12/31/23, 11:50\u202fPM - Messages and calls are end-to-end encrypted. Only people in this chat can read them.
12/31/23, 11:58\u202fPM - Anna: Still awake?
12/31/23, 11:59\u202fPM - Lila: Of course:
the fireworks

are too loud.
1/1/24, 12:01\u202fAM - Anna: <Media omitted>
1/1/24, 12:02\u202fAM - Anna: Happy new year <This message was edited>
1/1/24, 12:03\u202fAM - Lila: This message was deleted
1/1/24, 12:04\u202fAM - Lila: You too
1/1/24, 9:15\u202fAM - Anna: IMG-20240101-WA0001.jpg (file attached)
Our street this morning
1/1/24, 9:20\u202fAM - Lila: Poor street
"""
WHATSAPP_IOS = """\
[31.12.23, 23:50:00] Lila: \u200eMessages and calls are end-to-end encrypted.
[31.12.23, 23:58:01] Anna: Still awake?
[31.12.23, 23:59:58] Lila: Of course:
the fireworks are too loud.
\u200e[01.01.24, 00:01:02] Anna: \u200eimage omitted
\u200e[01.01.24, 00:02:03] ~\u202fAnna: Our street \u200e<attached: 00000012-PHOTO-2024-01-01.jpg>
[01.01.24, 00:03:04] Lila: Poor street
"""

# container, rows, number of rows used
SAMPLES: dict[str, tuple[str, list[Any], int]] = {
    "messages": ("json", [MESSAGES], 1),
    "sharegpt": ("json", [SHAREGPT], 1),
    "alpaca": ("json", [ALPACA], 1),
    "prompt-completion": ("json-lines", [PROMPT, PROMPT_OF_MESSAGES], 2),
    "sillytavern": ("json-lines", SILLYTAVERN, 3),
    "sillytavern-old": ("json-lines", SILLYTAVERN_OLD, 2),
    "sillytavern-chub": ("json-lines", CHUB, 2),
    "text-generation-webui": ("json", [TEXT_GENERATION_WEBUI], 1),
    "text-generation-webui-old": ("json", [TEXT_GENERATION_WEBUI_OLD], 1),
    "risuai": ("json", [RISUAI], 1),
    "risuai-all": ("json", [RISUAI_ALL], 2),
    "agnai": ("json", [AGNAI], 1),
    "cai-tools": ("json", [CAI_TOOLS], 2),
    "kobold-lite": ("json", [KOBOLD_LITE], 1),
    "kobold-lite-chat": ("json", [KOBOLD_LITE_CHAT], 1),
    "open-webui": ("json", [OPEN_WEBUI], 1),
    "discord": ("json", [DISCORD], 4),
    "telegram": ("json", [TELEGRAM], 4),
    "telegram-all": ("json", [TELEGRAM_ALL], 4),
    "whatsapp": ("text", WHATSAPP_ANDROID.split("\n"), 6),
    "whatsapp-ios": ("text", WHATSAPP_IOS.split("\n"), 4),
}
