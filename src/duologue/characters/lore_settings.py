"""What decides which lore fires, beside the books and the messages."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LoreSettings:
    """What holds for books and entries that do not say otherwise; the defaults are those SillyTavern ships.

    Attributes:
        scan_messages: Messages at the end of the chat in which keys are looked for.
        fraction: Largest share of the context that lore may take.
        budget_cap_tokens: Most tokens that share may be; 0 sets no cap.
        is_recursive: Whether lore fires for what other lore says.
        max_recursion_steps: Passes at most; 0 as many as fire something new.
        case_sensitive: Whether capitals count in keys.
        match_whole_words: Whether a key of one word must stand alone.
        use_group_scoring: Whether in a group those with the most matching keys win.
        min_activations: Look further back until so many entries fired.
        max_scan_messages: How far back that may go; 0 to the beginning.
    """

    scan_messages: int = 2
    fraction: float = 0.25
    budget_cap_tokens: int = 0
    is_recursive: bool = True
    max_recursion_steps: int = 0
    case_sensitive: bool = False
    match_whole_words: bool = True
    use_group_scoring: bool = False
    min_activations: int = 0
    max_scan_messages: int = 0


@dataclass(frozen=True, slots=True)
class LoreScene:
    """What beside the messages decides which lore fires.

    Attributes:
        names: What the character who replies is called, and its card's file name, for filters.
        tags: The card's tags, for filters.
        trigger: The kind of generation: `normal`, `continue`, `impersonate`, `swipe`, `regenerate`, `quiet`.
        greeting: Number of the greeting the chat began with, 0 for the first; None where it is not known.
        fields: Texts an entry may ask to be searched: `persona`, `description`, `personality`, `depth_prompt`,
            `scenario`, `creator_notes`.
        injected: Texts that are searched for every entry, such as an author's note that says so.
    """

    names: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    trigger: str = "normal"
    greeting: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    injected: tuple[str, ...] = ()
