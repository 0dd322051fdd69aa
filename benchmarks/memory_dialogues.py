"""Made-up dialogues between two people over months, and questions about them with the turns that answer them."""

import random
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from benchmarks.memory_topics import ANSWERS, CLOSERS, FILLERS, NAMES, OPENERS, RELATIVE, REPLIES, TOPICS, Topic

Rows = list[dict[str, Any]]
_PRONOUN = {"my": "{name}'s", "My": "{name}'s"}


def make_dialogue(
    seed: int, *, family: str = "tune", num_sessions: int = 24, chatter: Sequence[tuple[str, ...]] = ()
) -> tuple[Rows, Rows]:
    """Return the turns and questions of one conversation.

    Args:
        seed: Equal seeds give equal dialogues.
        family: Topics marked `tune` or `held out`; the others are talked about as well, but not asked for.
        num_sessions: Talks, one to three weeks apart.
        chatter: Exchanges of other people, said in between.
    """
    rng = random.Random(seed)
    names = rng.sample(NAMES, 2)
    conversation = f"{family}-{seed}"
    moment = datetime(2025, rng.randint(1, 6), rng.randint(1, 28), rng.randint(8, 21))
    turns: Rows = []
    told: Rows = []
    used: dict[tuple[str, str], set[str]] = {}
    for session in range(1, num_sessions + 1):
        talk: list[tuple[str, str, list[dict[str, Any]]]] = []
        first = rng.choice(names)
        other = names[1 - names.index(first)]
        talk.append((first, rng.choice(OPENERS).format(other=other), []))
        talk.append((other, rng.choice(ANSWERS).format(other=first), []))
        for topic in rng.sample(TOPICS, rng.randint(2, 4)):
            _thread(talk, topic, names=names, used=used, rng=rng)
            if chatter:
                _chat(talk, rng.choice(chatter), rng=rng)
        talk.append((talk[-2][0], rng.choice(CLOSERS).format(other=talk[-1][0]), []))
        for index, (speaker, text, facts) in enumerate(talk):
            turn_id = f"{conversation}/D{session}:{index + 1}"
            turns.append(
                {
                    "id": turn_id,
                    "conversation": conversation,
                    "session": session,
                    "index": index,
                    "speaker": speaker,
                    "text": text,
                    "time": moment.isoformat(),
                }
            )
            told.extend({**fact, "id": turn_id, "moment": moment} for fact in facts)
        moment += timedelta(days=rng.randint(5, 21), hours=rng.randint(-3, 3))
    return turns, _questions(told, names=names, conversation=conversation, family=family, rng=rng)


def _thread(talk: list[Any], topic: Topic, *, names: list[str], used: dict[Any, set[str]], rng: random.Random) -> None:
    teller = rng.choice(names)
    other = names[1 - names.index(teller)]
    seen = used.setdefault((topic.name, teller), set())
    first_slot = next(iter(topic.slots))
    free = [value for value in topic.slots[first_slot] if value not in seen]
    if not free or len(seen) >= 3:
        return
    drawn = {slot: rng.choice(values) for slot, values in topic.slots.items()}
    drawn[first_slot] = rng.choice(free)
    seen.add(drawn[first_slot])
    if talk[-1][0] == other or rng.random() < 0.3:
        talk.append((teller, rng.choice(FILLERS), []))
    talk.append((other, rng.choice(topic.ask), []))
    said = _sentence(rng.choice(topic.say).format(**drawn, time=rng.choice(RELATIVE)))
    if rng.random() < 0.5:
        said = f"{rng.choice(FILLERS)} {said}" if rng.random() < 0.5 else f"{said} {rng.choice(FILLERS)}"
    talk.append((teller, said, [{"topic": topic, "teller": teller, "drawn": drawn, "text": said}]))
    talk.append((other, rng.choice(topic.react), []))
    if topic.more and rng.random() < 0.75:
        more = rng.randrange(len(topic.more))
        text = topic.more[more].format(**drawn)
        talk.append((teller, text, [{"topic": topic, "teller": teller, "drawn": drawn, "more": more, "text": text}]))
        talk.append((other, rng.choice(REPLIES).format(other=teller), []))
    for _ in range(rng.randint(0, 2)):
        talk.append((talk[-2][0], rng.choice(FILLERS if rng.random() < 0.5 else REPLIES).format(other=talk[-1][0]), []))


def _chat(talk: list[Any], exchange: Sequence[str], *, rng: random.Random) -> None:
    """Let the two say an exchange of other people, now and then with the other's name."""
    speaker, other = talk[-2][0], talk[-1][0]
    for text in exchange:
        named = f"{rng.choice(('Hey', 'Oh', 'Well', 'Thanks'))} {other}! {text}" if rng.random() < 0.15 else text
        talk.append((speaker, named, []))
        speaker, other = other, speaker


def _questions(told: Rows, *, names: list[str], conversation: str, family: str, rng: random.Random) -> Rows:
    rows: Rows = []

    def put(text: str, fact: dict[str, Any], evidence: list[str], category: str) -> None:
        if not any("{" + slot in text for slot in fact["drawn"]):  # it asks for every event of the kind
            evidence = [
                other["id"]
                for other in told
                if (other["topic"], other["teller"], other.get("more"))
                == (fact["topic"], fact["teller"], fact.get("more"))
            ]
        asked = names[1 - names.index(fact["teller"])] if category == "adversarial" else fact["teller"]
        words = {slot: _about(value, asked) for slot, value in fact["drawn"].items()}
        words["event_base"] = words.get("event", "").replace("got", "get").replace("moved", "move")
        words["who_short"] = words.get("who", "").split(" ")[-1]
        question = _sentence(text.format(**words, name=asked))
        rows.append({"question": question, "evidence": evidence, "category": category, "conversation": conversation})

    events = [fact for fact in told if fact["topic"].family == family and "more" not in fact]
    for fact in events:
        topic = fact["topic"]
        category = "adversarial" if rng.random() < 0.25 else ""
        if rng.random() < 0.5:
            put(rng.choice(topic.when), fact, [fact["id"]], category or "temporal")
        else:
            month = fact["moment"].strftime(" in %B %Y")
            text = _fitting(topic.what, fact, rng)
            if text:
                dated = text[:-1] + month + "?" if rng.random() < 0.15 else text
                put(dated, fact, [fact["id"]], category or "single-hop")
    for fact in told:
        text = _asks_for(fact) if fact["topic"].family == family and "more" in fact else ""
        if text:
            put(text, fact, [fact["id"]], "adversarial" if rng.random() < 0.25 else "single-hop")
    _put_wide(events, names=names, put=put, rng=rng)
    return rows


def _put_wide(
    events: Rows, *, names: list[str], put: Callable[[str, dict[str, Any], list[str], str], None], rng: random.Random
) -> None:
    """Ask for everything of a kind, and for what follows from it."""
    for topic in {fact["topic"].name: fact["topic"] for fact in events}.values():
        for name in names:
            same = [fact for fact in events if fact["topic"] is topic and fact["teller"] == name]
            if len(same) > 1 and topic.every:
                put(rng.choice(topic.every), same[0], [fact["id"] for fact in same], "multi-hop")
            if same and topic.would and rng.random() < 0.4:
                put(rng.choice(topic.would), same[0], [fact["id"] for fact in same], "open-domain")


def _fitting(questions: tuple[str, ...], fact: dict[str, Any], rng: random.Random) -> str:
    """Return a question whose answer is in the turn: one of its slots that is asked with `what`/`who`/`where`."""
    told = fact["text"]
    fits = [
        text
        for text in questions
        if all(fact["drawn"][slot] in told for slot in re.findall(r"\{(\w+)\}", text) if slot in fact["drawn"])
    ]
    return rng.choice(fits) if fits else ""


_MORE_WORDS = {
    "steady": 0, "five": 1, "passport": 0, "rained": 1, "chewed": 0, "scared": 1, "murmur": 2, "commute": 0,
    "parrot": 1,
    "sign": 0, "pickles": 1, "cast": 0, "cooks": 1, "apologise": 0, "postman": 1, "green": 0, "speech": 1, "kid": 0,
    "ribbon": 1, "trio": 0, "retirement": 1, "letters": 0, "magician": 1, "toaster": 0, "board": 1, "miso": 0,
    "shirt": 0, "neighbour": 1,
}  # fmt: skip


def _asks_for(fact: dict[str, Any]) -> str:
    for word, number in _MORE_WORDS.items():
        if word in fact["text"] and number < len(fact["topic"].more_what):
            return str(fact["topic"].more_what[number])
    return ""


def _about(value: str, name: str) -> str:
    return re.sub(r"\b[Mm]y\b", f"{name}'s", value)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
