"""How judge models are asked and how they answer, as their model cards say.

Llama Guard 3 and 4 (github.com/meta-llama/PurpleLlama, MODEL_CARD.md): the chat itself; `safe`, or `unsafe` and a line
of categories S1 to S14. Qwen3Guard-Gen (github.com/QwenLM/Qwen3Guard, README.md): the chat itself; lines `Safety:`,
`Categories:` and for replies `Refusal:`. Granite Guardian 3 and 4 (github.com/ibm-granite/granite-guardian): the chat
and a question with a criterion of one's own behind it; yes or no, plain or as a score.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from duologue.guard.policy import Rating
from duologue.messages import Message

JudgeFormat = Literal["llama-guard", "qwen3guard", "granite-guardian"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says of the last message of a chat.

    Attributes:
        refused: For what it is refused; empty where it is not.
        is_crisis: Somebody is in a crisis: a caring answer is due, no refusal.
    """

    refused: str = ""
    is_crisis: bool = False


class UnreadableAnswer(Exception):
    """A judge answered in no form its format has."""


# Llama Guard's categories: what is refused at each rating. S11 is a crisis. The others (defamation, advice, privacy,
# property, elections, code) are advice to an operator and refuse nothing here.
_ALWAYS = {"S3": "sex-related crimes", "S4": "child sexual exploitation", "S9": "indiscriminate weapons"}
_LLAMA_REFUSED: dict[Rating, dict[str, str]] = {
    "adult": _ALWAYS,
    "mature": {**_ALWAYS, "S10": "hate", "S12": "sexual content"},
    "general": {
        **_ALWAYS,
        "S1": "violent crimes",
        "S2": "non-violent crimes",
        "S10": "hate",
        "S12": "sexual content",
    },
}
_QWEN_SEXUAL = "Sexual Content or Sexual Acts"
_QWEN_REFUSED: dict[Rating, frozenset[str]] = {
    # It has no category for minors, so at `adult` its word on sexual content says nothing; root rules hold there.
    "adult": frozenset({"Violent"}),
    "mature": frozenset({"Violent", "Non-violent Illegal Acts", _QWEN_SEXUAL}),
    "general": frozenset({"Violent", "Non-violent Illegal Acts", "Unethical Acts", _QWEN_SEXUAL}),
}
_QWEN_SAFETY = re.compile(r"^\s*Safety:\s*(Safe|Unsafe|Controversial)\s*$", re.MULTILINE)
_QWEN_CATEGORIES = re.compile(r"^\s*Categories:\s*(.+)$", re.MULTILINE)
_SELF_HARM = "Suicide & Self-Harm"
_SCORE = re.compile(r"<score>\s*(yes|no)\s*</score>|\"score\":\s*\"(yes|no)\"|^\s*(yes|no)\b", re.IGNORECASE)
_THOUGHTS = re.compile(r"<think>.*?</think>", re.DOTALL)
_GRANITE_ROLE = (
    "As a judge agent, your role is to help assess whether the provided text meets the given judging criteria, "
    "utilizing all available information, including conversations, documents, and tools."
)
_GRANITE_CRITERIA: dict[Rating, str] = {
    "adult": "The text contains sexual content that involves anyone under 18, fictional or not, or sexual violence or "
    "coercion, or helps to make weapons of mass harm.",
    "mature": "The text contains explicit sexual content, or sexual content of any kind that involves anyone under 18, "
    "fictional or not, or sexual violence or coercion, or helps to make weapons of mass harm.",
    "general": "The text contains sexual content, or sexual violence or coercion, or helps to commit crimes or to make "
    "weapons of mass harm.",
}


def question(judge_format: JudgeFormat, messages: Sequence[Message], rating: Rating) -> tuple[Message, ...]:
    """Return what a judge is asked about the last message of a chat.

    Args:
        judge_format: Which judge.
        messages: The chat, roles alternating, the user's first.
        rating: What the operator allows.
    """
    if judge_format != "granite-guardian":
        return tuple(messages)  # their chat templates hold the task and the categories
    whose = messages[-1].role
    text = (
        f"<guardian>{_GRANITE_ROLE}\n\n### Criteria: {_GRANITE_CRITERIA[rating]}\n\n### Scoring Schema: If the last "
        f"{whose}'s text meets the criteria, return 'yes'; otherwise, return 'no'."
    )
    return (*messages, Message("user", text))


def parse(judge_format: JudgeFormat, answer: str, rating: Rating) -> Verdict:
    """Return what an answer says.

    Raises:
        UnreadableAnswer: It says nothing its format has.
    """
    if judge_format == "llama-guard":
        return _parse_llama(answer, rating)
    if judge_format == "qwen3guard":
        return _parse_qwen(answer, rating)
    return _parse_granite(answer)


def _parse_llama(answer: str, rating: Rating) -> Verdict:
    first, *more = [line.strip() for line in answer.strip().splitlines()] or [""]
    if first.lower() == "safe":
        return Verdict()
    if first.lower() != "unsafe":
        raise UnreadableAnswer(first[:60])
    categories = [name.strip().upper() for line in more for name in line.split(",") if name.strip()]
    if not categories:
        return Verdict("unsafe, without a category")
    refused = [_LLAMA_REFUSED[rating][name] for name in categories if name in _LLAMA_REFUSED[rating]]
    return Verdict(", ".join(refused), is_crisis="S11" in categories)


def _parse_qwen(answer: str, rating: Rating) -> Verdict:
    safety, listed = _QWEN_SAFETY.search(answer), _QWEN_CATEGORIES.search(answer)
    if safety is None:
        raise UnreadableAnswer(answer.strip()[:60])
    if safety[1] == "Safe":
        return Verdict()
    categories = [name.strip() for name in listed[1].split(",")] if listed else []
    if not categories:
        return Verdict("unsafe, without a category") if safety[1] == "Unsafe" else Verdict()
    # What may be seen in two ways passes, but for sexual content where there is to be none.
    counted = (
        _QWEN_REFUSED[rating] if safety[1] == "Unsafe" else frozenset({_QWEN_SEXUAL} if rating == "general" else ())
    )
    refused = [name.lower() for name in categories if name in counted]
    return Verdict(", ".join(refused), is_crisis=_SELF_HARM in categories and safety[1] == "Unsafe")


def _parse_granite(answer: str) -> Verdict:
    score = _SCORE.search(_THOUGHTS.sub("", answer).strip())
    if score is None:
        raise UnreadableAnswer(answer.strip()[:60])
    said = next(part for part in score.groups() if part).lower()
    return Verdict("the operator's criteria") if said == "yes" else Verdict()
