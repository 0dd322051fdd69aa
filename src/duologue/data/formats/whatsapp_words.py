"""Which words of a WhatsApp message its sender wrote, and which the app put there."""

import re
from dataclasses import dataclass

_LEFT_TO_RIGHT = "\u200e"  # iOS, and Android in places, puts this mark before what the app says itself
_LAST_TAG = re.compile(r"\s*(?P<mark>\u200e?)<(?P<tag>[^<>\n]{3,80})>\s*$")
_ONLY_TAG = re.compile(r"<[^<>\n]{2,120}>")
_ANDROID_FILE = re.compile(r"\u200e?(?:IMG|VID|AUD|PTT|STK|DOC)-\d{8}-WA\d+\.\w{2,5} \([^()\n]{3,40}\)")
_NAMED_FILE = re.compile(
    r"[^\n]{1,200}\.\w{2,5} \((?:file attached|Datei angehängt|archivo adjunto|fichier joint|"
    r"file allegato|arquivo anexado|bestand bijgevoegd|файл добавлен)\)"
)
_IOS_DOCUMENT = re.compile(r"[^\n]{1,200}\.\w{2,5} • \u200e[^\n]*")
_OMITTED = re.compile(r"(?:image|video|audio|sticker|GIF|document|Contact card|video note) omitted", re.IGNORECASE)
_EDITED = frozenset(
    {
        "this message was edited",
        "diese nachricht wurde bearbeitet",
        "se editó este mensaje",
        "este mensaje fue editado",
        "ce message a été modifié",
        "questo messaggio è stato modificato",
        "esta mensagem foi editada",
        "mensagem editada",
        "dit bericht is bewerkt",
        "сообщение изменено",
        "данное сообщение изменено",
    }
)
_DELETED = frozenset(
    {
        "this message was deleted",
        "you deleted this message",
        "diese nachricht wurde gelöscht",
        "du hast diese nachricht gelöscht",
        "eliminaste este mensaje",
        "se eliminó este mensaje",
        "este mensaje fue eliminado",
        "ce message a été supprimé",
        "vous avez supprimé ce message",
        "questo messaggio è stato eliminato",
        "hai eliminato questo messaggio",
        "mensagem apagada",
        "esta mensagem foi apagada",
        "essa mensagem foi apagada",
        "você apagou esta mensagem",
        "dit bericht is verwijderd",
        "u heeft dit bericht verwijderd",
        "данное сообщение удалено",
        "вы удалили данное сообщение",
    }
)
_CALLS = frozenset({"missed voice call", "missed video call", "waiting for this message", "null"})


@dataclass(frozen=True, slots=True)
class OwnWords:
    """The sender's part of a message.

    Attributes:
        text: What the sender wrote; empty when nothing is left.
        what: What the message is, for the note when nothing is left.
        is_edited: Whether the app's mark of an edited message was removed.
        has_media: Whether a file came with the text.
    """

    text: str
    what: str = "an empty message"
    is_edited: bool = False
    has_media: bool = False


def own_words(text: str) -> OwnWords:
    """Return what the sender wrote, without the app's words for media, deleted and edited messages."""
    plain = text.strip().strip(_LEFT_TO_RIGHT).strip()
    said = plain.rstrip(".").casefold()
    if said in _DELETED:
        return OwnWords("", "a deleted message")
    if said in _CALLS:
        return OwnWords("", "a notice of WhatsApp")
    if _ONLY_TAG.fullmatch(plain) or _OMITTED.fullmatch(plain) or _IOS_DOCUMENT.fullmatch(text.strip()):
        return OwnWords("", "a message with media only")
    first_line, _, caption = text.strip().partition("\n")
    if _ANDROID_FILE.fullmatch(first_line) or _NAMED_FILE.fullmatch(first_line.lstrip(_LEFT_TO_RIGHT)):
        return OwnWords(caption, "a message with media only", has_media=True)
    if text.lstrip().startswith(_LEFT_TO_RIGHT):
        return OwnWords("", "a notice of WhatsApp")
    return _without_last_tag(text)


def _without_last_tag(text: str) -> OwnWords:
    tag = _LAST_TAG.search(text[-200:])
    if tag is None:
        return OwnWords(text)
    start = len(text) - len(text[-200:]) + tag.start()
    if tag["tag"].strip(". \u200e").casefold() in _EDITED:
        return OwnWords(text[:start], is_edited=True)
    if tag["mark"]:  # "<attached: ...>" after the caption
        return OwnWords(text[:start], "a message with media only", has_media=True)
    return OwnWords(text)
