"""Looking for the keys of lore in the chat: which entries match in a pass, by which key, in which message."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from duologue.characters.chat_line import ChatLine
from duologue.characters.lore_keys import Clock, ScanText, find_key
from duologue.characters.lore_settings import LoreScene, LoreSettings
from duologue.characters.lore_state import LoreState
from duologue.characters.lorebook import Lorebook, LoreEntry
from duologue.characters.macros import scannable

MAX_SCAN_MESSAGES = 1000


@dataclass(slots=True)
class Candidate:
    """An entry on its way through a turn.

    Attributes:
        number: Its place among the entries of all books.
        book_number: Place of its book.
        book: Its lorebook.
        entry: The entry.
        is_sticky: It stays from an earlier turn.
        why: Why it matched; why it did not fire.
        key: The key that was found.
        message: Number of the message it was found in, 0 for the oldest.
        is_lost: It matched and does not fire.
        lost_why: Why it did not fire when it last matched, in an earlier pass or in this one.
    """

    number: int
    book_number: int
    book: Lorebook
    entry: LoreEntry
    is_sticky: bool = False
    why: str = ""
    key: str = ""
    message: int | None = None
    is_lost: bool = False
    lost_why: str = ""

    @property
    def label(self) -> str:
        """What people call it."""
        return self.entry.name or self.entry.uid

    def give_up(self, why: str) -> None:
        """Note why the entry does not fire although it matched."""
        self.why, self.is_lost = why, True
        self.lost_why = why


def candidates_of(books: Sequence[Lorebook]) -> list[Candidate]:
    """Return the entries of all books."""
    pairs = [(book_number, book, entry) for book_number, book in enumerate(books) for entry in book.entries]
    return [Candidate(number, book_number, book, entry) for number, (book_number, book, entry) in enumerate(pairs)]


class Scan:
    """The passes over one chat.

    Attributes:
        done: Numbers of entries that fired or failed for good.
        clock: The time that patterns may take.
        num_keys: Keys of all entries.
        is_recursive: Whether any entry may fire for what other lore says.
        is_looking_back: The pass looks further back than usual.
        has_recursion: There is lore to search for other lore.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        messages: Sequence[ChatLine],
        *,
        settings: LoreSettings,
        scene: LoreScene,
        state: LoreState,
        expand: Callable[[str], str],
    ) -> None:
        """Prepare the first pass."""
        self.done: set[int] = set()
        self.clock = Clock()
        self.is_looking_back = False
        self.has_recursion = False
        self.num_keys = sum(len(one.entry.keys) + len(one.entry.secondary_keys) + 1 for one in candidates)
        self._candidates = candidates
        self._settings = settings
        self._scene = scene
        self._state = state
        self._expand = expand
        self._newest_first = [
            f"{line.speaker}: {line.text}".strip() for line in reversed(messages[-MAX_SCAN_MESSAGES:])
        ]
        self._num_messages = len(messages)
        self._num_replies = sum(line.role == "assistant" for line in messages)
        self._further = 0
        self._is_recursion = False
        self._said: list[str] = []
        self._texts: dict[tuple[int, tuple[str, ...], bool], ScanText] = {}
        self._text_of: dict[int, ScanText] = {}  # of this pass
        self._ways = [_way(one.entry, settings) for one in candidates]
        levels = sorted({one.entry.delay_until_recursion for one in candidates} - {0})
        self._level = levels[0] if levels else 0
        self._waiting_levels = levels[1:]
        self.is_recursive = any(self._recurses(one) for one in candidates)
        for one in candidates:
            one.is_sticky = one.entry.state_key in state.sticky

    def matches(self) -> list[Candidate]:
        """Return the entries that match in this pass."""
        self._text_of.clear()
        found = []
        for one in self._candidates:
            if one.number in self.done or not one.entry.is_enabled or self._obstacle(one):
                continue
            if self._matches(one):
                one.is_lost = False
                found.append(one)
        return found

    def losers(self, fired: Collection[Candidate]) -> list[Candidate]:
        """Return the entries whose key was found in the chat and that did not fire, with the reason."""
        numbers = {one.number for one in fired}
        self._is_recursion, self.is_looking_back = False, False
        self._text_of.clear()
        lost = []
        for one in self._candidates:
            if one.number in numbers:
                continue
            if not one.is_lost:
                reason = self._standing_reason(one)
                if not reason or not self._primary(one):
                    continue
                one.give_up(f"{one.why}, but {reason}")
            lost.append(one)
        return lost

    def add_recursion(self, texts: Sequence[str]) -> None:
        """Add what lore said in this pass to what the next passes search."""
        said = [text for text in (self._expand(scannable(text)) for text in texts) if text]
        if said:
            self._said.append("\n".join(said))
            self.has_recursion = True
        self._texts.clear()

    def begin_recursion(self) -> None:
        """Make the next pass one that searches lore."""
        self._is_recursion, self.is_looking_back = True, False

    def look_further_back(self) -> bool:
        """Make the next pass search one message more; false when there is none."""
        depth = self._settings.scan_messages + self._further
        limit = self._settings.max_scan_messages or self._num_messages
        if depth >= min(limit, self._num_messages):
            return False
        self._further += 1
        self._is_recursion, self.is_looking_back = False, True
        return True

    def next_delay_level(self) -> bool:
        """Let the next level of delayed entries fire; false when there is none left."""
        if not self._waiting_levels:
            return False
        self._level = self._waiting_levels.pop(0)
        self.begin_recursion()
        return True

    def is_scored(self, one: Candidate) -> bool:
        """Whether an entry competes in its group by the number of its keys."""
        own = one.entry.use_group_scoring
        return self._settings.use_group_scoring if own is None else own

    def score(self, one: Candidate) -> int:
        """Return how many keys of an entry are found; secondary keys count where they are wanted."""
        entry = one.entry
        primary = sum(self._find(one, key) is not None for key in entry.keys)
        secondary = sum(self._find(one, key) is not None for key in entry.secondary_keys)
        if not entry.keys:
            return 0
        if entry.logic == "and_any" or (entry.logic == "and_all" and secondary == len(entry.secondary_keys)):
            return primary + secondary
        return primary

    def _recurses(self, one: Candidate) -> bool:
        own = one.book.is_recursive
        return self._settings.is_recursive if own is None else own

    def _standing_reason(self, one: Candidate) -> str:
        """Return why an entry did not fire that lost in no pass; an empty text when only its key was missing."""
        if not one.entry.is_enabled:
            return "it is turned off"
        if one.entry.decorators.never_activates:
            return "it says @@dont_activate"
        if reason := self._obstacle(one):
            return reason
        return "it does not fire for other lore" if one.entry.excludes_recursion and self.has_recursion else ""

    def _obstacle(self, one: Candidate) -> str:
        """Return what keeps an entry from firing in this pass whatever is said, or an empty text."""
        return self._scene_obstacle(one) or self._time_obstacle(one) or self._recursion_obstacle(one)

    def _scene_obstacle(self, one: Candidate) -> str:
        entry, scene = one.entry, self._scene
        if entry.triggers and scene.trigger not in entry.triggers:
            return f"it is for {', '.join(entry.triggers)}, not for {scene.trigger}"
        if entry.character_filter is not None:
            for wanted, given in (
                (entry.character_filter.names, scene.names),
                (entry.character_filter.tags, scene.tags),
            ):
                is_among = bool(set(wanted) & set(given))
                if wanted and is_among == entry.character_filter.is_exclude:
                    return "it is not for this character"
        greeting = entry.decorators.greeting
        if greeting is not None and scene.greeting is not None and greeting != scene.greeting:
            return f"it belongs to greeting {greeting}"
        return ""

    def _time_obstacle(self, one: Candidate) -> str:
        entry, asked = one.entry, one.entry.decorators
        if self._num_messages < entry.delay:
            return f"it waits until the chat has {entry.delay} messages"
        away = self._state.cooldown.get(entry.state_key)
        if away is not None and not one.is_sticky:
            return f"it stays away until the chat has {away.end} messages"
        if self._num_replies < asked.only_after:
            return f"it waits for reply {asked.only_after}"
        if asked.only_every and self._num_replies % asked.only_every:
            return f"it is for every {asked.only_every}. reply"
        if asked.stops_after_match and entry.state_key in self._state.fired:
            return "it fired before and does so only once"
        return ""

    def _recursion_obstacle(self, one: Candidate) -> str:
        entry = one.entry
        if one.is_sticky:
            return ""
        if entry.delay_until_recursion and not self._is_recursion:
            return "it waits for other lore"
        if self._is_recursion and entry.delay_until_recursion > self._level:
            return f"it waits for level {entry.delay_until_recursion} of recursion"
        if self._is_recursion and entry.excludes_recursion and self._recurses(one):
            return "it does not fire for other lore"
        return ""

    def _matches(self, one: Candidate) -> bool:
        if self._by_itself(one):
            return True
        return not one.entry.decorators.never_activates and self._by_keys(one) and self._decorated_keys(one)

    def _by_itself(self, one: Candidate) -> bool:
        entry, asked = one.entry, one.entry.decorators
        if asked.activates:
            one.why = "@@activate"
        elif asked.never_activates:
            return False
        elif asked.keeps_after_match and entry.state_key in self._state.fired:
            one.why = "it fired before and keeps firing"
        elif entry.is_constant:
            one.why = "constant"
        elif one.is_sticky:
            one.why = f"it stays until the chat has {self._state.sticky[entry.state_key].end} messages"
        else:
            return False
        one.key, one.message = "", None
        return True

    def _by_keys(self, one: Candidate) -> bool:
        if not self._primary(one):
            return False
        entry = one.entry
        if not entry.is_selective or not entry.secondary_keys:
            return True
        found = [key for key in entry.secondary_keys if self._find(one, key) is not None]
        is_all, is_any = len(found) == len(entry.secondary_keys), bool(found)
        wanted = {"and_any": is_any, "not_all": not is_all, "not_any": not is_any, "and_all": is_all}
        if wanted[entry.logic]:
            one.why += f" ({entry.logic.replace('_', ' ')} of {_quoted(entry.secondary_keys)})"
            return True
        said = f"found {_quoted(found)}" if found else "found none"
        wish = entry.logic.replace("_", " ")
        one.give_up(
            f"{one.why}, but of the secondary keys it {said} (wanted: {wish} of {_quoted(entry.secondary_keys)})"
        )
        return False

    def _decorated_keys(self, one: Candidate) -> bool:
        asked = one.entry.decorators
        if one.entry.takes_keys_as_patterns:  # then the first are more keys, and the others have no meaning (V3)
            return True
        if asked.additional_keys and not any(self._find(one, key) is not None for key in asked.additional_keys):
            one.give_up(f"{one.why}, but none of {_quoted(asked.additional_keys)}")
            return False
        excluded = next((key for key in asked.exclude_keys if self._find(one, key) is not None), None)
        if excluded is not None:
            one.give_up(f"{one.why}, but '{excluded}' was said too")
            return False
        return True

    def _primary(self, one: Candidate) -> bool:
        more = one.entry.decorators.additional_keys if one.entry.takes_keys_as_patterns else ()
        for key in (*one.entry.keys, *more):
            part = self._find(one, key)
            if part is not None:
                one.key, (one.message, place) = key, self._place(one, part)
                one.why = f"'{key}' in {place}"
                return True
        return False

    def _find(self, one: Candidate, key: str) -> int | None:
        case_sensitive, match_whole_words = self._ways[one.number]
        return find_key(
            self._expand(key).strip() if "{{" in key else key,
            self._text_of.get(one.number) or self._text(one),
            case_sensitive=case_sensitive,
            match_whole_words=match_whole_words,
            is_pattern=one.entry.takes_keys_as_patterns,
            clock=self.clock,
        )

    def _depth(self, one: Candidate) -> int:
        own = one.entry.decorators.scan_depth
        own = one.entry.scan_depth if own is None else own
        own = one.book.scan_messages if own is None else own
        depth = self._settings.scan_messages + self._further if own is None else own
        return min(depth, len(self._newest_first))

    def _text(self, one: Candidate) -> ScanText:
        searches_lore = self._recurses(one) and not self.is_looking_back and bool(self._said)
        sign = (self._depth(one), one.entry.scanned_fields, searches_lore)
        if sign not in self._texts:
            fields = [self._scene.fields.get(name, "") for name in sign[1]]
            parts = (*self._newest_first[: sign[0]], *fields, *self._scene.injected)
            self._texts[sign] = ScanText((*parts, *self._said) if searches_lore else parts)
        self._text_of[one.number] = self._texts[sign]
        return self._texts[sign]

    def _place(self, one: Candidate, part: int) -> tuple[int | None, str]:
        depth, fields = self._depth(one), one.entry.scanned_fields
        if part < depth:
            number = self._num_messages - 1 - part
            return number, f"message {number + 1}"
        if part < depth + len(fields):
            return None, f"the {fields[part - depth].replace('_', ' ')}"
        is_injected = part < depth + len(fields) + len(self._scene.injected)
        return None, "a note in the prompt" if is_injected else "other lore"


def _way(entry: LoreEntry, settings: LoreSettings) -> tuple[bool, bool]:
    """Return whether capitals count in an entry's keys, and whether a word must stand alone."""
    case_sensitive, match_whole_words = entry.case_sensitive, entry.match_whole_words
    return (
        settings.case_sensitive if case_sensitive is None else case_sensitive,
        settings.match_whole_words if match_whole_words is None else match_whole_words,
    )


def _quoted(keys: Iterable[str]) -> str:
    return ", ".join(f"'{key}'" for key in keys)
