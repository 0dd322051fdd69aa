"""The preset with which LM Studio talks as the character does here.

LM Studio fills the Jinja template in the GGUF file, so a preset holds only the system text and the sampler settings.
The keys are those of the presets that LM Studio saves itself (`~/.lmstudio/config-presets/*.preset.json`).
"""

import json
from typing import Any

from duologue import prompt
from duologue.characters import Character
from duologue.config import Config


def preset(name: str, *, character: Character, config: Config) -> str:
    """Return the text of a preset.

    Args:
        name: Name of its file, and its identifier in LM Studio.
        character: Who speaks.
        config: Names the user and says how replies are drawn.
    """
    generation = config.generation
    values: dict[str, Any] = {
        "systemPrompt": prompt.system_text(character, user_name=config.character.user_name),
        "temperature": generation.temperature,
        "topKSampling": generation.top_k,
        "topPSampling": _checked(generation.top_p),
        "minPSampling": _checked(generation.min_p),
        "repeatPenalty": _checked(generation.repetition_penalty),
        "maxPredictedTokens": _checked(generation.max_new_tokens),
    }
    if generation.stop:
        values["stopStrings"] = list(generation.stop)
    fields = [{"key": f"llm.prediction.{key}", "value": value} for key, value in values.items()]
    document = {
        "identifier": f"@local:{name}",
        "name": character.display_name,
        "changed": False,
        "operation": {"fields": fields},
        "load": {"fields": []},
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _checked(value: float) -> dict[str, Any]:
    return {"checked": True, "value": value}
