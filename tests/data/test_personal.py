"""Personal data is found by its shape; what only looks like it stays."""

import json
import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from duologue.data.personal import KINDS, find, redact

TOKEN = "abcdefghijklmnopqrstuvwxyz0123456789"
PEM = "-----BEGIN {0}PRIVATE KEY-----\nMIIEabc\nxyz=\n-----END {0}PRIVATE KEY-----"


def kinds(text):
    return [finding.kind for finding in find(text)]


def masked(text):
    return redact(text, find(text))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Write to anna.berg+home@mail.example.org today.", "Write to [e-mail] today."),
        ("'me@example.com', *or* <you@example.co.uk>.", "'[e-mail]', *or* <[e-mail]>."),
        ("müller@beispiel.de", "[e-mail]"),
        ("name (at) example (dot) org", "[e-mail]"),
        ("name [at] example.org", "[e-mail]"),
        ("a@example.org,b@example.org", "[e-mail],[e-mail]"),
        ("Call +49 170 1234567 now", "Call [phone] now"),
        ("+1 (212) 555-0147", "[phone]"),
        ("+442079460958.", "[phone]."),
        ("0049 30 901820", "[phone]"),
        ("(212) 555-0147 or 212-555-0147 or 212.555.0147", "[phone] or [phone] or [phone]"),
        ("1-800-555-0199", "[phone]"),
        ("030/1234567, 0170 1234567, 020 7946 0958, 07700 900123", "[phone], [phone], [phone], [phone]"),
        ("01 23 45 67 89; 01.23.45.67.89", "[phone]; [phone]"),
        ("My number is 555-0147.", "My number is [phone]."),
        ("Tel.: 612 345 678", "Tel.: [phone]"),
        ("WhatsApp 612345678", "WhatsApp [phone]"),
        ("I live at 5 Oak Street, near 221B Baker Street.", "I live at [address], near [address]."),
        ("350 5th Ave., 12 St. James Square", "[address], [address]"),
        ("i live at 22 oak street ok", "i live at [address] ok"),
        ("Hauptstraße 12, Berliner Straße 5a, Goetheallee 3", "[address], [address], [address]"),
        ("Feldweg 7, Schillerstr. 9, Marktplatz 1", "[address], [address], [address]"),
        ("12 rue de Rivoli; 3 bis, avenue Victor Hugo", "[address]; [address]"),
        ("8 place de la République", "[address]"),
        ("Calle Mayor 12; Avenida de la Constitución, 5", "[address]; [address]"),
        (f"sk-{TOKEN} sk-proj-{TOKEN} sk-ant-api03-{TOKEN}", "[key] [key] [key]"),
        (f"ghp_{TOKEN} github_pat_{TOKEN} glpat-{TOKEN[:20]}1", "[key] [key] [key]"),
        ("AKIAIOSFODNN7EXAMPLE", "[key]"),
        (f"AIza{TOKEN[1:]}", "[key]"),
        ("xoxb-1234567890-abcdef", "[key]"),
        (f"hf_{TOKEN} npm_{TOKEN} sk_live_{TOKEN}", "[key] [key] [key]"),
        (f"eyJhbGciOiJI.eyJzdWIiOiIx.{TOKEN}0", "[key]"),
        ("Bot 123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0", "Bot [key]"),
        (f"Key:\n{PEM.format('RSA ')}\nkeep", "Key:\n[key]\nkeep"),
        (f"{PEM.format('')[:60]}", "[key]"),
        ('api_key="abcd1234efgh5678ijkl"', 'api_key="[key]"'),
        ("Authorization: Bearer abcdef0123456789abcdef", "Authorization: Bearer [key]"),
        ("password: hunter2, ok", "password: [password], ok"),
        ("Password = swordfish", "Password = [password]"),
        ('"password": "tr0ub4dor&3"', '"password": "[password]"'),
        ("Passwort: geheim123!", "Passwort: [password]!"),
        ("DE89 3704 0044 0532 0130 00 GB82WEST12345698765432", "[iban] [iban]"),
        ("FR14 2004 1010 0505 0001 3M02 606 THEN", "[iban] THEN"),
        ("4111 1111 1111 1111, 5500-0000-0000-0004, 340000000000009", "[card], [card], [card]"),
        ("203.0.113.77 and 2001:db8::8a2e:370:7334", "[ip address] and [ip address]"),
    ],
)
def test_personal_data_is_masked_by_its_kind(text, expected):
    assert masked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "On 01/02/2023 10:30 and 2023-01-15 12:30:45 and 15.01.2023 and 05-06-2023 12",
        "From 1990-1995, 1999 to 2005; 12,345,678 and 1 000 000 and 3.14159265358979",
        "Scores 3-2, 21-19, 2d6+3, roll 10d100, HP 100/100, +1000000 gold, a +5 sword",
        "$1,234,567.89 and 299.99 and 4 099 000 EUR and +20%",
        "ISBN 978-3-16-148410-0 and ISBN 0-306-40615-2 and ISBN 0306406152",
        "Version 10.20.30.40 and v11.12.13.14 and 127.0.0.1 and 1.2.3.4 and 300.1.1.1",
        "The id 123456789012345678, the order 1234567890, the second 1700000000",
        "On May 5 Wall Street fell; in 2008 Wall Street, too; 3 Doors Down",
        "The password: please tell me it. Password: [password] Password: ****",
        "A secret: I love you. A token of love. The key: C major.",
        "2+2@4 and me@home and @anna and 5@3.50 and a@b",
        "std::vector<int> a::b 12:30:45 dead:beef",
        "Arbeitsplatz 5, Sitzplatz 12, Umweg 3, Spring 2024, weg 3, die Straße 5 Mal",
        "I weigh 150 and walk 10 000 steps a day to room 101 on Route 66.",
        "0123456789 and 1111111111 and 000-000-0000",
        "2001: A Space Odyssey; 24/7; 9/11; 50/50; 1/2 cup",
        "40.7128, -74.0060; 1920x1080; 16:9",
        "He is 007 and it is 1984 and 20000 leagues",
        "DE89 3704 0044 0532 0130 01 has a wrong check digit",
        "4111 1111 1111 1112 has one, too",
        "3 Star Drive-in",
        "Nothing here (at all) [atop] the hill.",
        "",
    ],
)
def test_numbers_and_words_of_other_kinds_stay(text):
    assert masked(text) == text


def test_findings_are_in_order_and_say_where():
    [mail, phone] = find("Mail me@example.org or +49 170 1234567!")
    assert (mail.kind, mail.start, mail.end) == ("e-mail", 5, 19)
    assert (phone.kind, phone.start, phone.end) == ("phone", 23, 38)


def test_the_firmer_kind_wins_where_two_claim_the_same_characters():
    assert kinds("password: sk-" + TOKEN) == ["key"]
    assert kinds("my number is 4111 1111 1111 1111") == ["card"]
    assert kinds("phone 203.0.113.77") == ["ip address"]


def test_real_conversations_hold_what_was_seen_there_by_eye(shared_data):
    """3,000 conversations and 59,000 messages were read for hits: one is an address, and it is one of a story."""
    texts = []
    for line in (shared_data / "personachat_messages.jsonl").read_text(encoding="utf-8").splitlines():
        texts += [message["content"] for message in json.loads(line)["messages"]]
    for row in json.loads((shared_data / "personachat_sharegpt.json").read_text(encoding="utf-8")):
        texts += [row["system"], *(message["value"] for message in row["conversations"])]
    for row in json.loads((shared_data / "roleplay_alpaca.json").read_text(encoding="utf-8")):
        texts += [row["instruction"], row["input"], row["response"]]
    hits = [(finding.kind, text[finding.start : finding.end]) for text in texts for finding in find(text)]
    assert hits == [("address", "45 Elm Road")]


PIECES = st.sampled_from(
    [
        "me@example.org",
        "+49 170 1234567",
        "password: x1y2",
        f"ghp_{TOKEN}",
        "5 Oak Street",
        "10.1.2.30",
        "4111111111111111",
    ]
)


@given(st.lists(st.one_of(st.text(max_size=20), PIECES), max_size=8).map(" ".join))
def test_findings_do_not_overlap_and_masking_leaves_the_rest_and_nothing_to_find_again(text):
    findings = find(text)
    assert all(finding.start < finding.end <= len(text) for finding in findings)
    assert all(one.end <= other.start for one, other in pairwise(findings))
    assert {finding.kind for finding in findings} <= set(KINDS)
    hidden = redact(text, findings)
    rest = iter(hidden)
    outside = [c for n, c in enumerate(text) if not any(f.start <= n < f.end for f in findings)]
    assert all(char in rest for char in outside)


@given(st.text(max_size=10), PIECES, st.text(alphabet="xyz ", max_size=10))
@example("V", "10.1.2.30", "")  # a letter that ends the line above does not make it a version
def test_a_piece_of_personal_data_between_spaces_is_always_found(before, piece, after):
    assert find(f"{before} \n{piece} {after}")


@pytest.mark.parametrize(
    "text",
    [
        "1" * 100_000,
        "1 " * 50_000,
        "1-" * 50_000,
        "+1" * 50_000,
        "(212) " * 17_000,
        "0170 " * 20_000,
        "a" * 100_000 + "@",
        "a@" * 50_000,
        "a." * 50_000 + "@" + "a." * 50_000,
        "@" * 100_000,
        "a@a.a" * 20_000,
        "(at " * 25_000,
        "a (at) a" * 12_000,
        "A1" * 50_000,
        "DE89 " * 20_000,
        "DE893704004405320130" * 5_000,
        "1 A" + " A" * 50_000,
        "1 Aa Bb " * 12_000,
        "live " * 20_000 + "1",
        "live 1 a " * 11_000,
        "A" * 50_000 + "stra" + "1",
        "A-a" * 33_000 + "1",
        "1 rue " * 16_000,
        "Calle A" * 14_000 + "1",
        "C/A " * 25_000 + "1",
        "eyJ" * 33_000 + ":",
        "-eyJaaaaaaaa" * 8_000 + "=",
        "eyJaaaaaaaa." * 8_000 + "=",
        "-----BEGIN PRIVATE KEY-----" * 3_700,
        "sk-" * 33_000 + "=",
        "password:" * 11_000,
        "password: " + "a" * 100_000,
        "token " * 16_000 + ":",
        "1:" * 50_000,
        "1." * 50_000,
        "tel " * 25_000 + "1234567",
        "isbn" + " " * 50_000 + "0306406152 " * 4_000,
        "me@example.org +49 170 1234567 " * 3_200,
    ],
)
def test_hostile_texts_of_100_kb_take_no_long_time(text):
    started = time.perf_counter()
    find(text)
    assert time.perf_counter() - started < 2
