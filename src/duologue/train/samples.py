"""Which replies are drawn while a run goes, and how one that speaks for the user is told."""

from duologue import prompt
from duologue.characters import Character
from duologue.config import Config
from duologue.engine import SampleRequest, TextTokenizer
from duologue.errors import DataError
from duologue.messages import Message

_FIRST, _REPLY, _SECOND = "one lantern", "two rivers", "three harbours"  # told apart in any template's text


def sample_request(config: Config, character: Character, tokenizer: TextTokenizer) -> SampleRequest:
    """Return the first prompts of the evaluation, rendered as chat renders them.

    Args:
        config: The configuration.
        character: Who answers.
        tokenizer: Of the base model.
    """
    prompts = []
    user_name = config.character.user_name
    for text in config.evaluation.prompts[: config.training.num_sample_replies]:
        messages = prompt.build(character, (Message("user", text),), user_name=user_name)
        prompts.append((text, tokenizer.render(messages, add_generation_prompt=True)))
    marks = dict.fromkeys([f"{user_name}:", user_header(tokenizer)])
    return SampleRequest(
        prompts=tuple(prompts),
        max_new_tokens=config.generation.max_new_tokens,  # a reply that is longer is cut in chat too
        user_marks=tuple(mark for mark in marks if mark),
    )


def user_header(tokenizer: TextTokenizer) -> str:
    """Return the text that the template puts before a user's message, such as `USER:` or `### Instruction:`.

    Empty when the header is made of control tokens and a plain word, which no reply shows or any may contain.
    """
    messages = (Message("user", _FIRST), Message("assistant", _REPLY), Message("user", _SECOND))
    try:
        text = tokenizer.render_text(messages, add_generation_prompt=False)
    except DataError:
        return ""
    before, found, after = text.partition(_REPLY)
    if not (before and found and _SECOND in after):
        return ""
    between = after[: after.index(_SECOND)]
    for token in tokenizer.special_tokens:
        between = between.replace(token, "\n")
    lines = [line.strip() for line in between.splitlines() if line.strip()]
    header = lines[-1] if lines else ""
    return header if header and not header.isalpha() else ""
