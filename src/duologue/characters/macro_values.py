"""What each macro stands for. Time, chance and everything else come in with `MacroContext`; nothing is looked up."""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

from duologue.characters.card import Character
from duologue.characters.chat_line import ChatLine
from duologue.messages import Role

MAX_VARIABLES = 1000
MAX_VARIABLE_CHARS = 10_000
MAX_REPEATS = 100
MAX_DICE = 1000

# Not by the system's locale: cards are written for these names.
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_DICE = re.compile(r"(\d{0,4})d(\d{1,9})([+-]\d{1,9})?|(\d{1,9})", re.IGNORECASE | re.ASCII)
_MOMENT = re.compile(r"YYYY|YY|MMMM|MMM|MM|M|DD|D|dddd|ddd|HH|H|hh|h|mm|m|ss|s|A|a|\[([^\]]*)\]")


@dataclass(frozen=True, slots=True)
class MacroContext:
    """What macros may know.

    Attributes:
        char: Who speaks, `{{char}}`.
        user: The user's name, `{{user}}`.
        persona: The user's description.
        character: Whose card supplies `{{description}}` and the like; None makes them empty.
        messages: The chat, oldest first.
        now: The user's local time; None leaves macros that ask for it as they are written.
        seed: Of `{{random}}` and `{{roll}}`: another one for every prompt.
        pick_seed: Of `{{pick}}`: the same one through a chat.
        variables: Of the chat; changed by `{{setvar}}` and the like.
        global_variables: Of all chats.
        original: The text that a card's own replaces, for `{{original}}`; None leaves it as it is written.
        typed: What the user has typed and not yet sent, `{{input}}`.
        model: Name of the model.
        context_tokens: Prompt and reply together.
        max_reply_tokens: Longest reply.
        group: All characters of the chat by name; empty for one alone.
        muted: Those of them who do not speak.
        outlets: Fired lore by outlet, macros already replaced.
    """

    char: str
    user: str
    persona: str = ""
    character: Character | None = None
    messages: Sequence[ChatLine] = ()
    now: datetime | None = None
    seed: int = 0
    pick_seed: int = 0
    variables: dict[str, str] = field(default_factory=dict)
    global_variables: dict[str, str] = field(default_factory=dict)
    original: str | None = None
    typed: str = ""
    model: str = ""
    context_tokens: int = 0
    max_reply_tokens: int = 0
    group: tuple[str, ...] = ()
    muted: tuple[str, ...] = ()
    outlets: Mapping[str, str] = field(default_factory=dict)

    def without_effects(self) -> "MacroContext":
        """Return a context with variables of its own, for looking at a text that is not yet said."""
        return replace(self, variables=dict(self.variables), global_variables=dict(self.global_variables))


@dataclass(frozen=True, slots=True)
class Call:
    """A macro with its arguments.

    Attributes:
        context: What it may know.
        args: Its arguments, macros in them already replaced.
        sign: Tells it from every other macro; seed of its draws.
    """

    context: MacroContext
    args: tuple[str, ...]
    sign: str

    def arg(self, number: int, default: str = "") -> str:
        """Return an argument, or `default` where there is none."""
        return self.args[number] if number < len(self.args) else default

    def rest(self, number: int) -> str:
        """Return all arguments from `number` on as they were written."""
        return "::".join(self.args[number:])

    def card(self, text: str) -> str:
        """Return a text of the card with the names in it replaced, and nothing else."""
        character = self.context.character
        return character.resolve_macros(text, user_name=self.context.user) if character else ""


Value = Callable[[Call], str | None]


def _of_card(read: Callable[[Character], str]) -> Value:
    return lambda call: call.card(read(call.context.character)) if call.context.character else ""


def _greeting(call: Call) -> str:
    character, number = call.context.character, call.arg(0, "0") or "0"
    if character is None or not number.isdecimal():
        return ""
    greetings = (character.greeting, *character.alternate_greetings)
    return call.card(greetings[int(number)]) if int(number) < len(greetings) else ""


def _group(call: Call) -> str:
    return ", ".join(call.context.group) or call.context.char


def _group_not_muted(call: Call) -> str:
    context = call.context
    return ", ".join(name for name in context.group if name not in context.muted) or context.char


def _not_char(call: Call) -> str:
    context = call.context
    return ", ".join(name for name in (*context.group, context.user) if name != context.char)


def _last(*roles: Role) -> Value:
    def value(call: Call) -> str:
        said = (line.text for line in reversed(call.context.messages) if not roles or line.role in roles)
        return next(said, "")

    return value


def _choices(call: Call) -> list[str]:
    if len(call.args) > 1:
        return list(call.args)
    parts = re.split(r"(?<!\\),", call.arg(0))
    return [part.strip().replace("\\,", ",") for part in parts] if call.args else []


def _draw(call: Call) -> str:
    choices = _choices(call)
    return random.Random(call.sign).choice(choices) if choices else ""


def _roll(call: Call) -> str | None:
    match = _DICE.fullmatch(call.arg(0).replace(" ", ""))
    if match is None:
        return None
    num_dice, sides = int(match[1] or 1), int(match[2] or match[4])
    if not sides or num_dice > MAX_DICE:
        return None
    draws = random.Random(call.sign)
    return str(sum(draws.randint(1, sides) for _ in range(num_dice)) + int(match[3] or 0))


def _repeat(text: str) -> Value:
    def value(call: Call) -> str | None:
        number = call.arg(0, "1") or "1"
        return text * min(int(number), MAX_REPEATS) if number.isdecimal() and len(number) < 10 else None

    return value


# ---------------------------------------------------------------------------------------------------------------- time


def _time(call: Call) -> str | None:
    now = call.context.now
    zone = re.fullmatch(r"UTC([+-]\d{1,2})", call.arg(0).replace(" ", ""), re.IGNORECASE)
    if now is not None and zone:
        now = now.astimezone(timezone(timedelta(hours=max(-23, min(23, int(zone[1]))))))
    return None if now is None else f"{now.hour % 12 or 12}:{now:%M} {'AM' if now.hour < 12 else 'PM'}"


def _formatted(pattern: str) -> Value:
    return lambda call: None if call.context.now is None else _moment(call.context.now, pattern)


def _datetime(call: Call) -> str | None:
    return None if call.context.now is None else _moment(call.context.now, call.rest(0))


def _moment(time: datetime, pattern: str) -> str:
    """Return a time in the notation of moment.js that SillyTavern uses."""
    hour, half = time.hour % 12 or 12, "AM" if time.hour < 12 else "PM"
    month, weekday = _MONTHS[time.month - 1], _WEEKDAYS[time.weekday()]
    signs = {"YYYY": f"{time.year:04}", "YY": f"{time.year % 100:02}", "MMMM": month, "MMM": month[:3]}
    signs |= {"MM": f"{time.month:02}", "M": str(time.month), "DD": f"{time.day:02}", "D": str(time.day)}
    signs |= {"dddd": weekday, "ddd": weekday[:3], "HH": f"{time.hour:02}", "H": str(time.hour)}
    signs |= {"hh": f"{hour:02}", "h": str(hour), "mm": f"{time.minute:02}", "m": str(time.minute)}
    signs |= {"ss": f"{time.second:02}", "s": str(time.second), "A": half, "a": half.lower()}
    return _MOMENT.sub(lambda match: signs[match[0]] if match[1] is None else match[1], pattern)


def _idle(call: Call) -> str | None:
    """The time since the user's message before the newest one."""
    now, lines = call.context.now, call.context.messages
    if now is None:
        return None
    earlier = next((line for line in reversed(lines[:-1]) if line.role == "user"), None)
    if earlier is None or earlier.said_at is None:
        return "just now"
    return _in_words(_seconds_between(earlier.said_at, now))


def _time_difference(call: Call) -> str | None:
    try:
        left, right = (datetime.fromisoformat(call.arg(number)) for number in (0, 1))
    except ValueError:
        return None
    seconds = _seconds_between(right, left)
    words = _in_words(seconds)
    return f"in {words}" if seconds > 0 else f"{words} ago"


def _seconds_between(earlier: datetime, later: datetime) -> float:
    if (earlier.tzinfo is None) != (later.tzinfo is None):
        # The one that says no zone is the user's local time, as `now` is.
        earlier, later = (time if time.tzinfo else time.astimezone() for time in (earlier, later))
    return (later - earlier).total_seconds()


def _in_words(seconds: float) -> str:
    """Return a duration as moment.js says it."""
    seconds = abs(seconds)
    if seconds < 45:
        return "a few seconds"
    steps = (
        ("minute", 60, 45),
        ("hour", 3600, 22),
        ("day", 86400, 26),
        ("month", 2_629_800, 11),
        ("year", 31_557_600, 1e9),
    )
    for unit, length, most in steps:
        number = round(seconds / length)
        if number < most or unit == "year":
            break
    return f"a{'n' if unit == 'hour' else ''} {unit}" if number <= 1 else f"{number} {unit}s"


# ----------------------------------------------------------------------------------------------------------- variables


def _store(call: Call, *, is_global: bool) -> dict[str, str]:
    return call.context.global_variables if is_global else call.context.variables


def _keep(variables: dict[str, str], name: str, value: str) -> None:
    """Set a variable, unless there are too many or it is too long: `addvar` must not double a text for ever."""
    if len(value) <= MAX_VARIABLE_CHARS and (name in variables or len(variables) < MAX_VARIABLES):
        variables[name] = value


def _set(*, is_global: bool) -> Value:
    def value(call: Call) -> str | None:
        if len(call.args) < 2:
            return None
        _keep(_store(call, is_global=is_global), call.arg(0), call.rest(1))
        return ""

    return value


def _get(*, is_global: bool) -> Value:
    return lambda call: _store(call, is_global=is_global).get(call.arg(0), "")


def _has(*, is_global: bool) -> Value:
    return lambda call: "true" if call.arg(0) in _store(call, is_global=is_global) else "false"


def _delete(*, is_global: bool) -> Value:
    def value(call: Call) -> str:
        _store(call, is_global=is_global).pop(call.arg(0), None)
        return ""

    return value


def _add(*, is_global: bool) -> Value:
    def value(call: Call) -> str | None:
        if len(call.args) < 2:
            return None
        variables = _store(call, is_global=is_global)
        _keep(variables, call.arg(0), _sum(variables.get(call.arg(0), ""), call.rest(1)))
        return ""

    return value


def _step(by: int, *, is_global: bool) -> Value:
    def value(call: Call) -> str:
        variables = _store(call, is_global=is_global)
        number = _number(variables.get(call.arg(0), "")) or 0
        _keep(variables, call.arg(0), f"{number + by:.15g}")
        return variables.get(call.arg(0), "")

    return value


def _sum(before: str, added: str) -> str:
    left, right = _number(before or "0"), _number(added)
    return before + added if left is None or right is None else f"{left + right:.15g}"


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[+-]?\d{1,15}(\.\d{1,15})?", text.strip(), re.ASCII) else None


def _variable_values(*, is_global: bool) -> dict[str, Value]:
    word = "globalvar" if is_global else "var"
    return {
        f"set{word}": _set(is_global=is_global),
        f"get{word}": _get(is_global=is_global),
        f"add{word}": _add(is_global=is_global),
        f"inc{word}": _step(1, is_global=is_global),
        f"dec{word}": _step(-1, is_global=is_global),
        f"has{word}": _has(is_global=is_global),
        f"{word}exists": _has(is_global=is_global),
        f"delete{word}": _delete(is_global=is_global),
        f"flush{word}": _delete(is_global=is_global),
    }


# --------------------------------------------------------------------------------------------------------------- table


def _aliases(*names: str, value: Value) -> dict[str, Value]:
    return dict.fromkeys(names, value)


VALUES: Mapping[str, Value] = {
    "char": lambda call: call.context.char,
    "user": lambda call: call.context.user,
    "persona": lambda call: call.context.persona,
    **_aliases("description", "chardescription", value=_of_card(lambda card: card.description)),
    **_aliases("personality", "charpersonality", value=_of_card(lambda card: card.personality)),
    **_aliases("scenario", "charscenario", value=_of_card(lambda card: card.scenario)),
    **_aliases("mesexamples", "mesexamplesraw", value=_of_card(lambda card: card.example_dialogue)),
    **_aliases("charversion", "char_version", "version", value=_of_card(lambda card: card.character_version)),
    "charprompt": _of_card(lambda card: card.system_prompt),
    "charinstruction": _of_card(lambda card: card.post_history_instructions),
    "chardepthprompt": _of_card(lambda card: card.depth_prompt.text if card.depth_prompt else ""),
    **_aliases("greeting", "charfirstmessage", value=_greeting),
    "original": lambda call: call.context.original,
    **_aliases("group", "charifnotgroup", value=_group),
    "groupnotmuted": _group_not_muted,
    "notchar": _not_char,
    "lastmessage": _last(),
    "lastusermessage": _last("user"),
    "lastcharmessage": _last("assistant"),
    "lastmessageid": lambda call: str(len(call.context.messages) - 1) if call.context.messages else "",
    "input": lambda call: call.context.typed,
    "model": lambda call: call.context.model,
    **_aliases("maxcontext", "maxcontexttokens", value=lambda call: str(call.context.context_tokens)),
    **_aliases("maxresponse", "maxresponsetokens", value=lambda call: str(call.context.max_reply_tokens)),
    **_aliases(
        "maxprompt",
        "maxprompttokens",
        value=lambda call: str(call.context.context_tokens - call.context.max_reply_tokens),
    ),
    "outlet": lambda call: call.context.outlets.get(call.arg(0), ""),
    "random": _draw,
    "pick": _draw,
    "roll": _roll,
    "reverse": lambda call: call.rest(0)[::-1],
    "hidden_key": lambda _: "",
    "noop": lambda _: "",
    "trim": lambda _: "",
    "newline": _repeat("\n"),
    "space": _repeat(" "),
    "time": _time,
    "date": _formatted("MMMM D, YYYY"),
    "weekday": _formatted("dddd"),
    "isodate": _formatted("YYYY-MM-DD"),
    "isotime": _formatted("HH:mm"),
    "datetimeformat": _datetime,
    **_aliases("idleduration", "idle_duration", value=_idle),
    "timediff": _time_difference,
    **_variable_values(is_global=False),
    **_variable_values(is_global=True),
}
