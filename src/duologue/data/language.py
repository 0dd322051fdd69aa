"""Which languages conversations are in, guessed from a sample of them."""

import random
from collections import Counter
from collections.abc import Sequence

from duologue.messages import Conversation

MOST_SAMPLED = 1_000  # conversations; a millisecond each
NOT_SURE = "not sure"

_LEAST_LETTERS = 20
_LEAST_PROBABILITY = 0.8
_MOST_CHARS = 4_000  # of a conversation; more of it does not change the guess


def count_languages(conversations: Sequence[Conversation], *, seed: int) -> Counter[str]:
    """Return how many of the sampled conversations are in which language, by ISO 639-1 code.

    A conversation with fewer than 20 letters, or whose language is less than 80% sure, counts as `not sure`.

    Args:
        conversations: All of them; at most 1,000 are looked at.
        seed: Of the sample.
    """
    if not conversations:
        return Counter()
    from py3langid import langid  # type: ignore[import-untyped]

    identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    places: Sequence[int] = range(len(conversations))
    if len(places) > MOST_SAMPLED:
        places = sorted(random.Random(f"{seed}/languages").sample(places, MOST_SAMPLED))
    counts: Counter[str] = Counter()
    for place in places:
        text = _text(conversations[place])
        language, probability = identifier.classify(text)
        is_sure = probability >= _LEAST_PROBABILITY and sum(map(str.isalpha, text)) >= _LEAST_LETTERS
        counts[str(language) if is_sure else NOT_SURE] += 1
    return counts


def _text(conversation: Conversation) -> str:
    parts: list[str] = []
    room = _MOST_CHARS
    for message in conversation.messages:
        if room <= 0:
            break
        parts.append(message.content[:room])
        room -= len(message.content)
    return "\n".join(parts).encode(errors="replace").decode()
