"""The Modelfile beside a GGUF file, with which Ollama talks as the character does here.

Ollama does not fill the Jinja template in a GGUF file. When it makes a model it looks for the one of some dozen known
templates that is spelled most like it, and sends the bare prompt where none is near (`template/template.go`
of ollama/ollama). So the Modelfile brings a template of its own, in Go's language, made from what the file's template
writes between messages.
"""

from collections.abc import Mapping, Sequence

from duologue import prompt
from duologue.characters import Character
from duologue.config import Config
from duologue.engine import Turns
from duologue.messages import Role

DEFAULT_CONTEXT_TOKENS = 4096
_ROLES: tuple[Role, ...] = ("system", "user", "assistant")
_QUOTES = '"""'
_PARAMETERS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "repetition_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "max_new_tokens": "num_predict",
}


def modelfile(
    file: str,
    *,
    character: Character,
    config: Config,
    turns: Turns | None,
    licences: Sequence[str] = (),
    lora: str = "",
) -> str:
    """Return the text of a Modelfile.

    Args:
        file: Name of the GGUF file beside it.
        character: Who speaks.
        config: Names the user and says how replies are drawn.
        turns: The file's chat template; None where it cannot be said in Go's language, which the text then says.
        licences: Texts of the base model's licence.
        lora: Name of the adapter's GGUF file, when it is not folded in.
    """
    name = config.character.user_name
    parts = [
        f"# {_one_line(character.display_name)}, for Ollama: ollama create NAME -f Modelfile",
        f"FROM ./{file}",
        *([f"ADAPTER ./{lora}"] if lora else []),
        _template(turns),
        f"SYSTEM {_quoted(prompt.system_text(character, user_name=name))}",
        *_parameters(config, turns),
    ]
    if character.greeting:
        greeting = character.resolve_macros(character.greeting, user_name=name).strip()
        parts.append(f"MESSAGE assistant {_quoted(greeting)}")
    parts += [f"LICENSE {_quoted(text)}" for text in licences]
    return "\n".join(parts) + "\n"


def _parameters(config: Config, turns: Turns | None) -> list[str]:
    generation = config.generation
    context = DEFAULT_CONTEXT_TOKENS if generation.context_tokens == "auto" else generation.context_tokens
    lines = [f"PARAMETER num_ctx {context}"]
    lines += [f"PARAMETER {theirs} {_number(getattr(generation, ours))}" for ours, theirs in _PARAMETERS.items()]
    if generation.seed >= 0:
        lines.append(f"PARAMETER seed {generation.seed}")
    stops = (*generation.stop, *(turns.end_marks if turns else ()))
    return [*lines, *(f"PARAMETER stop {_quoted(stop)}" for stop in stops)]


def _number(value: float) -> str:
    """Return a number without an exponent, which Ollama reads in none of its whole numbers."""
    return str(value) if isinstance(value, int) else f"{value:.10f}".rstrip("0").rstrip(".")


def _template(turns: Turns | None) -> str:
    text = go_template(turns.between, turns.reply_header) if turns else None
    if text is None:
        return (
            "# no TEMPLATE: the model's own cannot be said in Ollama's language, and Ollama guesses. Check its prompts."
        )
    return f"TEMPLATE {_QUOTES}{text}{_QUOTES}"


def go_template(between: Mapping[tuple[str, Role], str], reply_header: str) -> str | None:
    """Return a chat template in Go's language that writes these texts between messages, or None where it cannot.

    Args:
        between: The text between a message of one role, or the beginning (""), and one of the next role.
        reply_header: The text behind the last message, in front of a reply.
    """
    texts = (*between.values(), reply_header)
    if any("{{" in text or "}}" in text or _QUOTES in text or not _is_kept(text) for text in texts):
        return None
    branches = []
    for role in _ROLES:
        befores = {before: text for (before, after), text in between.items() if after == role}
        if befores:
            branches.append((f'eq .Role "{role}"', _choice('eq $last "{}"', befores)))
    body = _branch(branches)
    return (
        f'{{{{ $last := "" }}}}{{{{ range .Messages }}}}{body}{{{{ .Content }}}}{{{{ $last = .Role }}}}{{{{ end }}}}'
        + (reply_header)
    )


def _choice(condition: str, texts: Mapping[str, str]) -> str:
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return _branch([(condition.format(before), text) for before, text in texts.items()])


def _branch(branches: Sequence[tuple[str, str]]) -> str:
    first, *others = branches
    middle = "".join(f"{{{{ else if {condition} }}}}{text}" for condition, text in others)
    return f"{{{{ if {first[0]} }}}}{first[1]}{middle}{{{{ end }}}}"


def _quoted(text: str) -> str:
    """Return a text as a Modelfile holds it. Three quotes would end it and cannot be escaped, so they become others."""
    inner = text.replace(_QUOTES, "'''")
    return f"{_QUOTES}{inner}{_QUOTES}"


def _one_line(text: str) -> str:
    return " ".join(text.replace('"', "'").split())


def _is_kept(text: str) -> bool:
    """Tell whether Ollama's reader keeps every character: it drops those that cannot be printed."""
    return all(sign.isprintable() or sign in "\n\t" for sign in text)
