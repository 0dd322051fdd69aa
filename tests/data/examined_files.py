"""Files that break as JSON, in encodings, by name, in archives and in tables."""

import base64
import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

from tests.data.examined import ANY, ASK, BASE, REPLY, TOPICS, Case, around, dump, good, lines, messages, said


def table(*records: list[str], **options: Any) -> bytes:
    """A CSV file."""
    out = io.StringIO()
    csv.writer(out, **options).writerows(records)
    return out.getvalue().encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    """A Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def bomb(path: Path) -> None:
    """10 GB of blanks in a gzip of 10 MB, made of members that are all alike."""
    member = gzip.compress(b" " * (100 << 20), 9)
    with path.open("wb") as file:
        for _ in range(100):
            file.write(member)


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

FILES = (
    # Files that end too early or are not JSON
    Case("truncated-array.json", (dump([good(0), good(1), good(2)])[:-60]).encode(), ((3, ANY, "end|truncat|cut"),)),
    Case("truncated-object.json", BASE[:-20].encode(), ((1, ANY, "end|truncat|cut"),), exit_code=3),
    Case(
        "truncated-last-line.jsonl",
        lines(good(0), good(1)) + BASE[:40].encode(),
        ((3, ANY, "end|truncat|cut|JSON"),),
        rows=(3, 2, 1),
        turns=2,
    ),
    Case("trailing-comma-line.jsonl", around(BASE + ","), ((2, ANY, ","),), rows=(3, 2, 1)),
    Case("trailing-comma-array.json", f"[{dump(good(0))}, {dump(good(1))},]".encode(), ((ANY, ANY, "comma|,"),)),
    Case("comment-line.jsonl", lines("// my favourite talks", good(0)), ((1, ANY, "JSON|comment|/"),), rows=(2, 1, 1)),
    Case("comment-inside.json", f"[/* one */ {dump(good(0))}]".encode(), ((ANY, ANY, "JSON|comment|/"),), exit_code=3),
    Case("single-quotes.jsonl", around(str(good(2))), ((2, ANY, "quot|JSON|Python"),), rows=(3, 2, 1)),
    Case("python-none.jsonl", around('{"messages": None}'), ((2, ANY, "None|JSON"),), rows=(3, 2, 1)),
    Case(
        "two-objects-in-a-line.jsonl",
        around(BASE + " " + dump(good(3))),
        ((2, ANY, "JSON|after|second|more"),),
        rows=(3, 2, 1),
    ),
    Case("bare-words.jsonl", lines("hello there", "how are you"), ((ANY, ANY, "."),), exit_code=3, is_loud=True),
    # Encodings
    Case(
        "bom.jsonl",
        b"\xef\xbb\xbf" + lines(good(0)),
        noted=((ANY, ANY, "(?i)BOM|byte.order"),),
        rows=(1, 1, 0),
        turns=1,
        texts=(TOPICS[0][1],),
    ),
    Case(
        "utf16-le-bom.jsonl",
        lines(good(0), good(1)).decode().encode("utf-16"),
        noted=((ANY, ANY, "UTF-16"),),
        rows=(2, 2, 0),
        turns=2,
        texts=(TOPICS[0][1],),
    ),
    Case(
        "utf16-be-bom.json",
        b"\xfe\xff" + dump([good(0)]).encode("utf-16-be"),
        noted=((ANY, ANY, "UTF-16"),),
        rows=(1, 1, 0),
        texts=(TOPICS[0][1],),
    ),
    Case("utf16-le-bare.json", dump([good(0)]).encode("utf-16-le"), noted=((ANY, ANY, "UTF-16"),), rows=(1, 1, 0)),
    Case(
        "utf16-be-bare.jsonl",
        lines(good(0)).decode().encode("utf-16-be"),
        noted=((ANY, ANY, "UTF-16"),),
        rows=(1, 1, 0),
    ),
    Case(
        "latin1.jsonl",
        lines(good(0)) + dump(said("Un café?", "Volontiers, très noir.")).encode("latin-1") + b"\n" + lines(good(1)),
        ((2, ANY, "UTF-8"),),
        rows=(3, 2, 1),
        absent=("Volontiers",),
    ),
    Case(
        "latin1.json",
        dump([good(0), said("Un café?", "Volontiers, très noir.")]).encode("latin-1"),
        ((2, ANY, "UTF-8"),),
        exit_code=3,
    ),
    Case(
        "nul-raw.jsonl",
        around(dump(said(ASK, "One@Two")).replace("@", "\0")),
        ((2, ANY, "(?i)nul|control|U\\+0000"),),
        rows=(3, 2, 1),
    ),
    Case(
        "nul-escaped.jsonl",
        around(dump(said(ASK, "One@Two three")).replace("@", "\\u0000")),
        noted=((2, "messages[1].content", "(?i)nul|control|U\\+0000"),),
        is_loud=True,
        absent=("\0",),
    ),
    Case("nul-tail.jsonl", lines(good(0)) + b"\0" * 512, ((2, ANY, "(?i)nul|U\\+0000|control|JSON"),)),
    Case("crlf.jsonl", lines(good(0), good(1)).replace(b"\n", b"\r\n"), rows=(2, 2, 0), is_clean=True),
    Case("lone-cr.jsonl", lines(good(0), good(1)).replace(b"\n", b"\r"), is_loud=True),
    Case("no-last-newline.jsonl", lines(good(0), good(1))[:-1], rows=(2, 2, 0), turns=2, is_clean=True),
    Case("blank-lines.jsonl", lines(good(0), "", "   ", "{oops", good(1)), ((4, ANY, "JSON"),)),
    Case(
        "crlf-inside-text.jsonl",
        lines(said("One?", "A line.\r\nAnother line.")),
        rows=(1, 1, 0),
        texts=("Another line.",),
    ),
    Case(
        "unicode-line-separator.jsonl",
        lines(said("One?", "A line.\u2028Another line.\u0085Third.")),
        rows=(1, 1, 0),
        texts=("Another line.",),
    ),
    Case(
        "lone-surrogate.jsonl",
        around(dump(said(ASK, "Half @ face")).replace("@", "\\ud83d")),
        is_loud=True,
        noted=((2, "messages[1].content", "surrogate"),),
    ),
    Case(
        "surrogate-pair.jsonl",
        lines(json.dumps(said(ASK, "A whole \U0001f600 face"))),
        rows=(1, 1, 0),
        texts=("A whole \U0001f600 face",),
        is_clean=True,
    ),
    Case(
        "emoji-rtl.jsonl",
        lines(said("مرحبا، كيف حالك؟", "بخير 👩🏽‍🚀, שלום!")),
        rows=(1, 1, 0),
        texts=("بخير 👩🏽‍🚀, שלום!",),
        is_clean=True,
    ),
    # Nothing inside
    Case("empty.jsonl", b"", ((0, "", "empty"),), rows=(0, 0, 0)),
    Case("empty.json", b"", ((0, "", "empty"),)),
    Case("white.json", b" \n\t \n", ((0, "", "empty|blank|white|no "),)),
    Case("only-bom.jsonl", b"\xef\xbb\xbf", ((0, "", "empty|no "),)),
    Case("empty-list.json", b"[]", ((0, "", "empty|no "),), rows=(0, 0, 0)),
    Case("empty-object.json", b"{}", ((ANY, ANY, "."),), exit_code=3),
    Case("null.json", b"null", ((ANY, "", "null"),)),
    Case("string.json", b'"hello"', ((ANY, "", "string|text"),)),
    Case("number.jsonl", around("42"), ((2, "", "number|42|integer"),), rows=(3, 2, 1)),
    Case("null-row.jsonl", around("null"), ((2, "", "null"),), rows=(3, 2, 1)),
    Case("empty-row-object.jsonl", around("{}"), ((2, "", "empty|no |keys|known"),), rows=(3, 2, 1)),
    Case("empty-csv.csv", b"", ((0, "", "empty"),)),
    Case("header-only.csv", b"prompt,completion\n", ((0, "", "no |empty"),)),
    # Wrong endings
    Case(
        "lines-named.json",
        lines(good(0), good(1)),
        noted=((0, "", "ending|named|JSON Lines|lines"),),
        rows=(2, 2, 0),
        turns=2,
    ),
    Case(
        "array-named.jsonl",
        dump([good(0), good(1)]).encode(),
        noted=((0, "", "ending|named|array|JSON"),),
        rows=(2, 2, 0),
        turns=2,
    ),
    Case("pretty-object.jsonl", json.dumps(good(0), indent=1).encode(), is_loud=True),
    Case("pretty-array.jsonl", json.dumps([good(0), good(1)], indent=1).encode(), is_loud=True, rows=(2, 2, 0)),
    Case("array-named.txt", dump([good(0)]).encode(), noted=((0, "", "."),), rows=(1, 1, 0)),
    Case("csv-named.json", table(["prompt", "completion"], [ASK, REPLY]), is_loud=True),
    Case("json-named.csv", dump([good(0), good(1)]).encode(), is_loud=True),
    Case("lines-named.csv", lines(good(0), good(1)), is_loud=True),
    Case("json-named.parquet", dump([good(0)]).encode(), is_loud=True),
    Case("parquet-named.jsonl", parquet([good(0)]), is_loud=True),
    Case("gzip-named.jsonl", gzip.compress(lines(good(0))), is_loud=True),
    Case("plain-named.jsonl.gz", lines(good(0)), is_loud=True),
    Case("picture-named.json", PNG, ((0, "", "."),)),
    Case("zip-named.jsonl", b"PK\x03\x04\x14\0\0\0\x08\0" + bytes(range(256)) * 4, ((0, "", "."),)),
    Case("random.bin", bytes((at * 197 + at // 7) % 256 for at in range(4096)), ((0, "", "."),)),
    Case("a-folder", lambda path: path.mkdir(), ((0, "", "folder|directory"),)),
    Case("truncated-parquet.parquet", parquet([good(0)])[:-20], ((0, "", "(?i)parquet"),)),
    # gzip
    Case("good.jsonl.gz", gzip.compress(lines(good(0), good(1))), rows=(2, 2, 0), is_clean=True),
    Case("bomb.jsonl.gz", bomb, ((0, "", "gzip|expand|unpack"),)),
    Case(
        "truncated.jsonl.gz",
        gzip.compress(
            lines(*(said(f"Question {at} of tide {at * 31}?", f"Reply {at * 17} of moss.") for at in range(2000)))
        )[:-900],
        is_loud=True,
        exit_code=3,
    ),
    Case(
        "broken-sum.jsonl.gz",
        gzip.compress(lines(good(0), good(1)))[:-8] + b"\1\2\3\4\5\6\7\0",
        is_loud=True,
        exit_code=3,
    ),
    Case("rest-behind.jsonl.gz", gzip.compress(lines(good(0), good(1))) + b"some rest that is no gzip", is_loud=True),
    Case("two-members.jsonl.gz", gzip.compress(lines(good(0))) + gzip.compress(lines(good(1))), rows=(2, 2, 0)),
    # CSV
    Case(
        "good.csv",
        table(["prompt", "completion"], [ASK, REPLY], ["One\nquestion?", "Two\nlines."]),
        rows=(2, 2, 0),
        texts=("Two\nlines.",),
        is_clean=True,
    ),
    Case("no-header.csv", table([ASK, REPLY], list(TOPICS[1])), ((ANY, ANY, "header|column"),), exit_code=3),
    Case(
        "wrong-columns.csv",
        table(["foo", "bar"], [ASK, REPLY], list(TOPICS[1])),
        ((ANY, ANY, "foo|column"),),
        exit_code=3,
    ),
    Case(
        "long-record.csv",
        table(["prompt", "completion"], [ASK, REPLY], ["a", "b", "c"], list(TOPICS[1])),
        ((2, ANY, "column|field|cell"),),
        rows=(3, 2, 1),
    ),
    Case(
        "short-record.csv",
        table(["prompt", "completion"], [ASK, REPLY], ["a"], list(TOPICS[1])),
        ((2, ANY, "column|field|cell|missing|completion"),),
        rows=(3, 2, 1),
    ),
    Case(
        "empty-cell.csv",
        table(["prompt", "completion"], [ASK, REPLY], [TOPICS[1][0], ""]),
        ((2, "completion", "empty|blank|missing"),),
        rows=(2, 1, 1),
    ),
    Case(
        "semicolons.csv",
        table(["prompt", "completion"], [ASK, REPLY], list(TOPICS[1]), delimiter=";"),
        is_loud=False,
        rows=(2, 2, 0),
    ),
    Case("open-quote.csv", b'prompt,completion\n"One?,Two.\nThree?,Four.\n', is_loud=True, exit_code=3),
    Case("messages-column.csv", table(["messages"], [dump(messages(0))], [dump(messages(1))]), rows=(2, 2, 0), turns=2),
    Case(
        "broken-messages-column.csv",
        table(["messages"], [dump(messages(0))], ["[{oops"]),
        ((2, "messages", "JSON|list|text|string"),),
        rows=(2, 1, 1),
    ),
    Case(
        "bom.csv",
        b"\xef\xbb\xbf" + table(["prompt", "completion"], [ASK, REPLY]),
        rows=(1, 1, 0),
        noted=((ANY, ANY, "(?i)BOM|byte.order"),),
    ),
    Case(
        "latin1.csv",
        table(["prompt", "completion"], [ASK, REPLY]) + "Un café?,Très noir.\n".encode("latin-1"),
        ((2, ANY, "UTF-8"),),
        exit_code=3,
    ),
    Case(
        "twice-a-column.csv",
        table(["prompt", "completion", "completion"], [ASK, REPLY, "Weeds."]),
        ((ANY, ANY, "twice|duplicate|completion"),),
        exit_code=3,
    ),
    Case(
        "nul.csv",
        table(["prompt", "completion"], [ASK, REPLY], list(TOPICS[1])).replace(b"bowline", b"bow\0line"),
        is_loud=True,
    ),
    Case("tabs.tsv", table(["prompt", "completion"], [ASK, REPLY], delimiter="\t"), is_loud=False, rows=(1, 1, 0)),
    # Parquet
    Case("good.parquet", parquet([good(0), good(1)]), rows=(2, 2, 0), turns=2, is_clean=True),
    Case(
        "none-fields.parquet",
        parquet(
            [
                {
                    "messages": [
                        {"role": "user", "content": ASK, "tool_calls": None, "name": None},
                        {"role": "assistant", "content": REPLY, "tool_calls": None, "name": "x"},
                    ],
                    "note": None,
                }
            ]
        ),
        rows=(1, 1, 0),
    ),
    Case(
        "union.parquet",
        parquet(
            [
                {"messages": messages(0), "prompt": None, "completion": None},
                {"messages": None, "prompt": ASK, "completion": REPLY},
            ]
        ),
        rows=(2, 2, 0),
        turns=2,
    ),
    Case(
        "null-content.parquet",
        parquet([good(0), said(ASK, None)]),
        ((2, "messages[1].content", "null"),),
        rows=(2, 1, 1),
    ),
    Case("null-messages.parquet", parquet([good(0), {"messages": None}]), ((2, "messages", "null"),), rows=(2, 1, 1)),
    Case("no-rows.parquet", parquet([good(0)])[:0], ((0, "", "empty"),)),
)
