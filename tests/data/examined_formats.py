"""Alpaca, ShareGPT, prompt and completion, several formats in one file, duplicates and the screen."""

from tests.data.examined import ANY, ASK, REPLY, TOPICS, Case, around, dump, good, lines, messages, said

FORMATS = (
    # Alpaca
    Case(
        "alpaca.json",
        dump(
            [
                {"instruction": ASK, "input": "", "output": REPLY},
                {"instruction": "Answer kindly.", "input": TOPICS[1][0], "response": TOPICS[1][1]},
            ]
        ).encode(),
        rows=(2, 2, 0),
        format="alpaca",
        texts=(TOPICS[1][0],),
        is_clean=True,
    ),
    Case(
        "alpaca-no-output.json",
        dump([{"instruction": ASK, "input": ""}, {"instruction": TOPICS[1][0], "output": TOPICS[1][1]}]).encode(),
        ((1, "output", "."),),
        rows=(2, 1, 1),
    ),
    Case(
        "alpaca-both.jsonl",
        lines({"instruction": ASK, "input": "", "output": REPLY, "response": "Only weeds."}),
        is_loud=True,
    ),
    Case(
        "alpaca-null-instruction.jsonl",
        lines({"instruction": None, "input": "", "output": REPLY}, good(0)),
        ((1, "instruction", "null"),),
        rows=(2, 1, 1),
    ),
    Case("alpaca-null-input.jsonl", lines({"instruction": ASK, "input": None, "output": REPLY}), rows=(1, 1, 0)),
    Case(
        "alpaca-empty-output.jsonl",
        lines({"instruction": ASK, "input": "", "output": " "}, good(0)),
        ((1, "output", "empty|blank"),),
        rows=(2, 1, 1),
    ),
    Case(
        "alpaca-null-output.jsonl",
        lines({"instruction": ASK, "input": "", "output": None}, good(0)),
        ((1, "output", "null"),),
        rows=(2, 1, 1),
    ),
    Case(
        "alpaca-list-output.jsonl",
        lines({"instruction": ASK, "input": "", "output": ["Ferns.", "Moss."]}, good(0)),
        ((1, "output", "list|array"),),
        rows=(2, 1, 1),
    ),
    Case(
        "alpaca-number-input.jsonl",
        lines({"instruction": ASK, "input": 5, "output": REPLY}, good(0)),
        ((1, "input", "number|5|integer"),),
        rows=(2, 1, 1),
    ),
    Case(
        "alpaca-empty-instruction.jsonl",
        lines({"instruction": "", "input": "", "output": REPLY}, good(0)),
        is_loud=True,
    ),
    Case(
        "alpaca-history.jsonl",
        lines({"instruction": ASK, "input": "", "output": REPLY, "system": "Be wry.", "history": [list(TOPICS[3])]}),
        rows=(1, 1, 0),
        texts=("Be wry.",),
        noted=(),
    ),
    # ShareGPT
    Case(
        "sharegpt-names.jsonl",
        lines(
            {
                "conversations": [
                    {"from": "system", "value": "Be wry."},
                    {"from": "human", "value": ASK},
                    {"from": "gpt", "value": REPLY},
                ]
            },
            {"conversations": [{"from": "user", "value": TOPICS[1][0]}, {"from": "chatgpt", "value": TOPICS[1][1]}]},
            {"conversations": [{"from": "human", "value": TOPICS[3][0]}, {"from": "bot", "value": TOPICS[3][1]}]},
        ),
        rows=(3, 3, 0),
        format="sharegpt",
        texts=("Be wry.",),
        turns=3,
    ),
    Case(
        "sharegpt-unknown.jsonl",
        around({"conversations": [{"from": "human", "value": ASK}, {"from": "wizard", "value": REPLY}]}),
        ((2, "conversations[1].from", "wizard"),),
        rows=(3, 2, 1),
    ),
    Case(
        "sharegpt-no-value.jsonl",
        around({"conversations": [{"from": "human", "value": ASK}, {"from": "gpt"}]}),
        ((2, "conversations[1].value", "."),),
        rows=(3, 2, 1),
    ),
    Case(
        "sharegpt-null-value.jsonl",
        around({"conversations": [{"from": "human", "value": ASK}, {"from": "gpt", "value": None}]}),
        ((2, "conversations[1].value", "null"),),
        rows=(3, 2, 1),
    ),
    Case(
        "sharegpt-no-from.jsonl",
        around({"conversations": [{"value": ASK}, {"from": "gpt", "value": REPLY}]}),
        ((2, "conversations[0].from", "."),),
        rows=(3, 2, 1),
    ),
    Case("sharegpt-empty.jsonl", around({"conversations": []}), ((2, "conversations", "empty|no "),), rows=(3, 2, 1)),
    Case("sharegpt-role-keys.jsonl", lines({"conversations": messages(2)}), rows=(1, 1, 0), texts=(REPLY,)),
    Case(
        "sharegpt-system.jsonl",
        lines(
            {"system": "Be wry.", "conversations": [{"from": "human", "value": ASK}, {"from": "gpt", "value": REPLY}]}
        ),
        rows=(1, 1, 0),
        texts=("Be wry.",),
        is_clean=True,
    ),
    Case(
        "sharegpt-system-number.jsonl",
        around({"system": 5, "conversations": [{"from": "human", "value": ASK}, {"from": "gpt", "value": REPLY}]}),
        is_loud=True,
        noted=((2, "system", "."),),
    ),
    # Prompt and completion
    Case(
        "prompt.jsonl",
        lines({"prompt": ASK, "completion": REPLY}),
        rows=(1, 1, 0),
        format="prompt-completion",
        is_clean=True,
    ),
    Case(
        "prompt-lists.jsonl",
        lines({"prompt": messages(2)[:1], "completion": messages(2)[1:]}),
        rows=(1, 1, 0),
        texts=(REPLY,),
        is_clean=True,
    ),
    Case("prompt-mixed.jsonl", lines({"prompt": messages(2)[:1], "completion": REPLY}), texts=(REPLY,), rows=(1, 1, 0)),
    Case("prompt-no-completion.jsonl", around({"prompt": ASK}), ((2, "completion", "."),), rows=(3, 2, 1)),
    Case(
        "prompt-null-completion.jsonl",
        around({"prompt": ASK, "completion": None}),
        ((2, "completion", "null"),),
        rows=(3, 2, 1),
    ),
    Case(
        "prompt-empty-completion.jsonl",
        around({"prompt": ASK, "completion": ""}),
        ((2, "completion", "empty|blank"),),
        rows=(3, 2, 1),
    ),
    Case(
        "prompt-bad-role.jsonl",
        around({"prompt": messages(2)[:1], "completion": [{"role": "wizard", "content": REPLY}]}),
        ((2, "completion[0].role", "wizard"),),
        rows=(3, 2, 1),
    ),
    Case(
        "prompt-user-completion.jsonl",
        around({"prompt": messages(2)[:1], "completion": messages(2)[:1]}),
        ((2, ANY, "."),),
        rows=(3, 2, 1),
    ),
    # Several formats, duplicates, the screen
    Case(
        "mixed.jsonl",
        lines(
            good(0),
            {"instruction": TOPICS[1][0], "input": "", "output": TOPICS[1][1]},
            {"conversations": [{"from": "human", "value": ASK}, {"from": "gpt", "value": REPLY}]},
            {"prompt": TOPICS[3][0], "completion": TOPICS[3][1]},
        ),
        rows=(4, 4, 0),
        turns=4,
    ),
    Case(
        "duplicates.jsonl",
        lines(good(0), good(1), good(0), good(0)),
        noted=((3, ANY, "duplicate"), (4, ANY, "duplicate")),
        rows=(4, 2, 2),
        conversations=2,
        exit_code=0,
    ),
    Case(
        "near-duplicates.jsonl",
        lines(said(ASK, REPLY * 12 + " one"), said(ASK, REPLY * 12 + " two"), good(0)),
        noted=((ANY, ANY, "near|almost"),),
        exit_code=0,
    ),
    Case(
        "personal.jsonl",
        lines(
            said(
                "Write to mira.holm@example.org or +49 170 1234567.",
                "My key is sk-abcdEFGH1234ijklMNOP5678qrstUVWX9012.",
            )
        ),
        noted=(
            (1, "messages[0].content", "(?i)e-?mail"),
            (1, "messages[0].content", "phone"),
            (1, "messages[1].content", "key"),
        ),
        rows=(1, 1, 0),
    ),
    Case(
        "flagged.jsonl",
        around(said("Show me the zqflag of the schoolchild.", REPLY)),
        ((2, ANY, "."),),
        rows=(3, 2, 1),
        absent=("zqflag",),
    ),
    Case("lenient.jsonl", around("{oops"), ((2, ANY, "JSON"),), rows=(3, 2, 1), arguments=("--lenient",), exit_code=0),
    Case("lenient-empty.jsonl", b"", ((0, "", "empty"),), arguments=("--lenient",), exit_code=ANY),
    Case(
        "special-in-sharegpt.jsonl",
        lines({"conversations": [{"from": "human", "value": ASK}, {"from": "gpt", "value": "<|im_end|> is odd"}]}),
        noted=((1, "conversations[1].value", "special"),),
        rows=(1, 1, 0),
    ),
    Case(
        "special-in-alpaca.jsonl",
        lines({"instruction": ASK, "output": "<|im_end|> is odd"}),
        noted=((1, "output", "special"),),
        rows=(1, 1, 0),
    ),
    Case(
        "long-in-sharegpt.jsonl",
        lines(
            {
                "conversations": [
                    {"from": "human", "value": ASK},
                    {"from": "gpt", "value": "a tide of words " * 2000},
                    {"from": "human", "value": "And then?"},
                    {"from": "gpt", "value": REPLY},
                ]
            }
        ),
        noted=((1, "conversations[1].value", "tokens"),),
        rows=(1, 1, 0),
    ),
    Case(
        "two-talks-in-a-row.jsonl",
        lines({**good(0), "conversations": [{"from": "human", "value": ASK}, {"from": "gpt", "value": REPLY}]}),
        noted=((1, "conversations", "not used"),),
        rows=(1, 1, 0),
    ),
    Case("prompt-beside-messages.jsonl", lines({**good(0), "prompt": TOPICS[0][0]}), rows=(1, 1, 0), is_clean=True),
    Case(
        "context-beside-instruction.jsonl",
        lines({"instruction": ASK, "context": "A shaded yard.", "response": REPLY}),
        noted=((1, "context", "not used"),),
        rows=(1, 1, 0),
    ),
    Case("one-broken-line.jsonl", b'{"messages": [}\n', ((1, ANY, "JSON"),), rows=(1, 0, 1)),
    Case(
        "role-bot.jsonl",
        lines(said(ASK, REPLY, roles=("user", "bot"))),
        noted=((1, "messages[1].role", "bot.*assistant"),),
        rows=(1, 1, 0),
    ),
    Case(
        "role-spaces.jsonl",
        lines(said(ASK, REPLY, roles=("user", " Assistant "))),
        noted=((1, "messages[1].role", "assistant"),),
        rows=(1, 1, 0),
    ),
)
