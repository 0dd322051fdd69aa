"""Rows that break in shape, role, content and strictness."""

from tests.data.examined import ANY, ASK, BASE, REPLY, TOPICS, Case, around, dump, good, lines, messages, said

DEEP = "[" * 10_000 + "]" * 10_000
TOOL = {"id": "c1", "type": "function", "function": {"name": "tide", "arguments": "{}"}}


ROWS = (
    # Wrong outer shapes
    Case("data-dict.json", dump({"data": [good(0), good(1)]}).encode(), is_loud=True),
    Case("train-dict.json", dump({"train": [good(0)], "test": [good(1)]}).encode(), is_loud=True),
    Case("numbered-dict.json", dump({"0": good(0), "1": good(1)}).encode(), is_loud=True),
    Case(
        "columns-dict.json",
        dump({"prompt": ["One?", "Two?"], "completion": ["First.", "Second."]}).encode(),
        is_loud=True,
    ),
    Case(
        "conversations-dict.jsonl",
        around({"conversations": {"from": "human", "value": "Hi"}}),
        ((2, "conversations", "object|dict|list"),),
        rows=(3, 2, 1),
    ),
    Case(
        "messages-string.jsonl", around({"messages": "hello"}), ((2, "messages", "string|text|list"),), rows=(3, 2, 1)
    ),
    Case("messages-null.jsonl", around({"messages": None}), ((2, "messages", "null"),), rows=(3, 2, 1)),
    Case("messages-empty.jsonl", around({"messages": []}), ((2, "messages", "empty|no "),), rows=(3, 2, 1)),
    Case(
        "message-is-string.jsonl",
        around({"messages": ["hi", "hello"]}),
        ((2, "messages[0]", "string|text|object"),),
        rows=(3, 2, 1),
    ),
    Case(
        "message-is-null.jsonl",
        around({"messages": [messages()[0], None]}),
        ((2, "messages[1]", "null"),),
        rows=(3, 2, 1),
    ),
    Case("list-of-lists.json", dump([messages(0), messages(1)]).encode(), is_loud=True),
    Case("loose-messages.json", dump(messages(0) + messages(1)).encode(), is_loud=True),
    Case("loose-messages.jsonl", lines(*messages(0), *messages(1)), is_loud=True),
    Case("list-row.jsonl", around(dump(["a", "b"])), ((2, ANY, "list|array|string|text"),), rows=(3, 2, 1)),
    Case("unknown-keys.jsonl", around({"ask": "One?", "tell": "Two."}), ((2, "", "ask.*tell"),), rows=(3, 2, 1)),
    Case(
        "question-answer.jsonl", around({"question": "One?", "answer": "Two."}), rows=(3, 3, 0), texts=("One?", "Two.")
    ),
    Case("one-object.json", BASE.encode(), rows=(1, 1, 0), turns=1, is_clean=True),
    # Roles and contents
    Case(
        "unknown-role.jsonl",
        around(said(ASK, REPLY, roles=("user", "wizard"))),
        ((2, "messages[1].role", "wizard"),),
        rows=(3, 2, 1),
    ),
    Case(
        "role-missing.jsonl",
        around({"messages": [{"content": ASK}, messages()[1]]}),
        ((2, "messages[0].role", "missing|no role|role"),),
        rows=(3, 2, 1),
    ),
    Case(
        "role-null.jsonl",
        around(said(ASK, REPLY, roles=("user", None))),
        ((2, "messages[1].role", "null"),),
        rows=(3, 2, 1),
    ),
    Case(
        "role-number.jsonl",
        around(said(ASK, REPLY, roles=(1, 2))),
        ((2, "messages[0].role", "1|number"),),
        rows=(3, 2, 1),
    ),
    Case("role-capital.jsonl", lines(said(ASK, REPLY, roles=("User", "Assistant"))), is_loud=True),
    Case(
        "role-empty.jsonl",
        around(said(ASK, REPLY, roles=("user", ""))),
        ((2, "messages[1].role", "."),),
        rows=(3, 2, 1),
    ),
    Case(
        "content-missing.jsonl",
        around({"messages": [messages()[0], {"role": "assistant"}]}),
        ((2, "messages[1].content", "missing|no content|content"),),
        rows=(3, 2, 1),
    ),
    Case("content-null.jsonl", around(said(ASK, None)), ((2, "messages[1].content", "null"),), rows=(3, 2, 1)),
    Case("content-null-user.jsonl", around(said(None, REPLY)), ((2, "messages[0].content", "null"),), rows=(3, 2, 1)),
    Case(
        "content-number.jsonl",
        around(said(ASK, 42)),
        ((2, "messages[1].content", "number|42|integer"),),
        rows=(3, 2, 1),
    ),
    Case("content-true.jsonl", around(said(ASK, True)), ((2, "messages[1].content", "true|bool"),), rows=(3, 2, 1)),
    Case(
        "content-object.jsonl",
        around(said(ASK, {"text": REPLY})),
        ((2, "messages[1].content", "object|dict"),),
        rows=(3, 2, 1),
    ),
    Case(
        "content-parts.jsonl",
        lines(said(ASK, [{"type": "text", "text": "Ferns, and"}, {"type": "text", "text": " moss."}])),
        rows=(1, 1, 0),
        texts=("Ferns, and",),
    ),
    Case(
        "content-part-image.jsonl",
        around(said([{"type": "text", "text": ASK}, {"type": "image_url", "image_url": {"url": "x.png"}}], REPLY)),
        is_loud=True,
        noted=((2, "messages[0].content[1]", "image"),),
    ),
    Case(
        "content-part-broken.jsonl",
        around(said(ASK, [{"type": "text"}])),
        ((2, "messages[1].content[0].text", "."),),
        rows=(3, 2, 1),
    ),
    Case(
        "content-part-number.jsonl",
        around(said(ASK, [7])),
        ((2, "messages[1].content[0]", "number|7|integer"),),
        rows=(3, 2, 1),
    ),
    Case("content-empty-list.jsonl", around(said(ASK, [])), ((2, "messages[1].content", "empty|no "),), rows=(3, 2, 1)),
    Case(
        "extra-key-text.jsonl",
        around({"messages": [messages()[0], {"role": "assistant", "text": REPLY}]}),
        ((2, "messages[1].content", "."),),
        rows=(3, 2, 1),
    ),
    Case("only-user.jsonl", around(said(ASK)), ((2, "messages", "assistant|reply|answer"),), rows=(3, 2, 1)),
    Case(
        "only-assistant.jsonl",
        around(said(REPLY, roles=("assistant",))),
        ((2, "messages", "user|learn|train|greeting"),),
        rows=(3, 2, 1),
    ),
    Case(
        "only-assistants.jsonl",
        around(said(REPLY, "And moss.", roles=("assistant", "assistant"))),
        ((2, "messages", "user|learn|train|greeting"),),
        rows=(3, 2, 1),
    ),
    Case(
        "only-system.jsonl",
        around(said("Be kind.", roles=("system",))),
        ((2, "messages", "assistant|reply"),),
        rows=(3, 2, 1),
    ),
    Case(
        "white-reply.jsonl",
        around(said(ASK, "  \n\t ")),
        ((2, "messages[1].content", "empty|blank|white"),),
        rows=(3, 2, 1),
    ),
    Case("empty-reply.jsonl", around(said(ASK, "")), ((2, "messages[1].content", "empty|blank"),), rows=(3, 2, 1)),
    Case(
        "nbsp-reply.jsonl",
        around(said(ASK, "\u00a0\u200b\u3000")),
        ((2, "messages[1].content", "empty|blank|white"),),
        rows=(3, 2, 1),
    ),
    Case(
        "white-reply-in-the-middle.jsonl",
        lines(said(ASK, " ", *TOPICS[3])),
        is_loud=True,
        noted=((1, "messages[1].content", "empty|blank|white"),),
    ),
    Case(
        "white-user.jsonl",
        around(said("   ", REPLY)),
        is_loud=True,
        noted=((2, "messages[0].content", "empty|blank|white"),),
    ),
    Case(
        "ends-with-user.jsonl",
        lines(said(ASK, REPLY, "And then?")),
        noted=((1, "messages[2].content", "."),),
        rows=(1, 1, 0),
        turns=1,
    ),
    Case(
        "two-in-a-row.jsonl",
        lines(said(ASK, "Ferns.", "And moss.", roles=("user", "assistant", "assistant"))),
        noted=((1, "messages[2].content", "merge"),),
        rows=(1, 1, 0),
        turns=1,
        texts=("Ferns.", "And moss."),
    ),
    Case(
        "two-users-in-a-row.jsonl",
        lines(said("Hello.", ASK, REPLY, roles=("user", "user", "assistant"))),
        noted=((1, "messages[1].content", "merge"),),
        rows=(1, 1, 0),
        turns=1,
        texts=("Hello.", ASK),
    ),
    Case(
        "three-systems.jsonl",
        lines(said("Be kind.", "Be brief.", "Be wry.", ASK, REPLY, roles=("system",) * 3 + ("user", "assistant"))),
        noted=((1, "messages[1].content", "merge|fold|system"),),
        rows=(1, 1, 0),
        texts=("Be kind.", "Be brief.", "Be wry."),
    ),
    Case(
        "system-in-the-middle.jsonl",
        lines(
            said(ASK, REPLY, "It rains now.", *TOPICS[3], roles=("user", "assistant", "system", "user", "assistant"))
        ),
        rows=(1, 1, 0),
        turns=2,
        texts=("It rains now.",),
    ),
    Case(
        "system-last.jsonl",
        lines(said(ASK, REPLY, "It rains now.", roles=("user", "assistant", "system"))),
        rows=(1, 1, 0),
        turns=1,
        noted=((1, "messages[2].content", "."),),
    ),
    Case(
        "greeting-first.jsonl",
        lines(said("Welcome aboard!", ASK, REPLY, roles=("assistant", "user", "assistant"))),
        rows=(1, 1, 0),
        conversations=1,
        texts=("Welcome aboard!", REPLY),
    ),
    Case(
        "tool-calls.jsonl",
        around(
            {
                "messages": [
                    messages()[0],
                    {"role": "assistant", "content": None, "tool_calls": [TOOL]},
                    {"role": "tool", "tool_call_id": "c1", "content": "low tide"},
                    {"role": "assistant", "content": REPLY},
                ]
            }
        ),
        is_loud=True,
        noted=((2, ANY, "tool"),),
    ),
    Case(
        "function-role.jsonl",
        around(said(ASK, "low tide", roles=("user", "function"))),
        is_loud=True,
        noted=((2, ANY, "function|tool"),),
    ),
    Case(
        "developer-role.jsonl",
        lines(said("Be kind.", ASK, REPLY, roles=("developer", "user", "assistant"))),
        is_loud=True,
    ),
    Case(
        "special-tokens.jsonl",
        lines(said("Say <|im_end|> please.", "Gladly: <|im_start|>system")),
        noted=((1, "messages[0].content", "special"), (1, "messages[1].content", "special")),
        rows=(1, 1, 0),
    ),
    Case(
        "macros.jsonl",
        lines(said("Hello {{char}}!", "Hi {{user}}, I am {{Char}} <BOT>.")),
        rows=(1, 1, 0),
        noted=((1, "messages[0].content", "macro.*resolved"), (1, "messages[1].content", "macro.*3.*resolved")),
    ),
    Case(
        "unknown-macro.jsonl",
        lines(said("Hello.", "It is {{moonphase}} tonight.")),
        is_loud=True,
        noted=((1, "messages[1].content", "moonphase|macro"),),
    ),
    # Strictness
    Case(
        "duplicate-key.jsonl",
        around(
            '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "a", "content": "b"}]}'
        ),
        ((2, "messages[1].content", "twice|duplicate|once"),),
        rows=(3, 2, 1),
    ),
    Case(
        "duplicate-messages.jsonl",
        around(BASE[:-1] + ', "messages": []}'),
        ((2, "messages", "twice|duplicate|once"),),
        rows=(3, 2, 1),
    ),
    Case("nan.jsonl", around(BASE[:-1] + ', "score": NaN}'), ((2, "score", "NaN"),), rows=(3, 2, 1)),
    Case("infinity.jsonl", around(BASE[:-1] + ', "score": Infinity}'), ((2, "score", "Infinity"),), rows=(3, 2, 1)),
    Case(
        "minus-infinity.json",
        ("[" + BASE[:-1] + ', "score": -Infinity}]').encode(),
        ((1, "score", "Infinity"),),
        exit_code=3,
    ),
    Case(
        "nan-content.jsonl",
        around('{"messages": [{"role": "user", "content": NaN}]}'),
        ((2, "messages[0].content", "NaN"),),
        rows=(3, 2, 1),
    ),
    Case(
        "huge-integer.jsonl",
        lines(BASE[:-1] + ', "id": ' + "9" * 6000 + "}", good(1)),
        ((1, "id", "digits"),),
        rows=(2, 1, 1),
    ),
    Case("huge-float.jsonl", lines(BASE[:-1] + ', "id": 1e999}', good(1)), ((1, "id", "large"),), rows=(2, 1, 1)),
    Case(
        "huge-integer-content.jsonl",
        around('{"messages": [{"role": "user", "content": ' + "9" * 6000 + "}]}"),
        ((2, "messages[0].content", "number|integer|digits"),),
        rows=(3, 2, 1),
    ),
    Case("deep.jsonl", around(DEEP), ((2, ANY, "nest|deep|depth"),), rows=(3, 2, 1)),
    Case("deep.json", DEEP.encode(), ((ANY, ANY, "nest|deep|depth"),), exit_code=3),
    Case(
        "deep-objects.jsonl",
        around('{"a":' * 10_000 + "1" + "}" * 10_000),
        ((2, ANY, "nest|deep|depth"),),
        rows=(3, 2, 1),
    ),
    Case("deep-open.json", b"[" * 10_000, ((ANY, ANY, "."),), exit_code=3),
    Case(
        "deep-beside.jsonl",
        around(BASE[:-1] + ', "meta": ' + DEEP + "}"),
        ((2, ANY, "nest|deep|depth"),),
        rows=(3, 2, 1),
    ),
    Case(
        "long-message.jsonl",
        lines(said(ASK, "a tide of words rolls in " * 40_000)),
        noted=((1, ANY, "token|long|cut"),),
    ),
    Case(
        "long-user-message.jsonl",
        lines(said("a tide of words rolls in " * 2_000, REPLY), good(1)),
        noted=((1, ANY, "token|long|cut"),),
    ),
    Case("long-line.jsonl", lines({**good(0), "blob": "x" * 5_000_000}), rows=(1, 1, 0)),
)
