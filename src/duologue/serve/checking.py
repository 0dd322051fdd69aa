"""The check of a character's conversations, as a process of its own: `python -m duologue.serve.checking FOLDER`.

It prints what `duologue data check` and `duologue data show` print, as one JSON document. Together, because most of the
time of either goes into the tokenizer's library; by itself, because the library is large and the files may be anything.
"""

import json
import sys
from pathlib import Path
from typing import Any

from duologue.chat import load_folder_character
from duologue.config import CONFIG_NAME, load_config
from duologue.data import Choice, check_files, resolve_files, show_files
from duologue.engine import BaseModel, TextTokenizer, open_trainer
from duologue.errors import ConfigError, DataError, DuologueError, EngineError

NUM_SHOWN = 3  # conversations that are shown as they are trained


def check(folder: Path) -> dict[str, Any]:
    """Return the account of the data, and some conversations as they are trained.

    Raises:
        DuologueError: Configuration or card have faults, or no file is there.
    """
    config = load_config(folder / CONFIG_NAME)
    character = load_folder_character(folder, config)
    files = []
    for pattern in config.data.train:
        try:
            files += [path for path in resolve_files([pattern], folder) if path not in files]
        except DataError:
            continue  # nothing lies there yet
    opened: list[TextTokenizer] = []

    def open_once() -> TextTokenizer:
        if not opened:
            opened.append(open_trainer("hf").tokenizer(BaseModel(config.model.base)))
        return opened[0]

    def open_or_estimate() -> TextTokenizer | None:
        try:
            return open_once()
        except (ConfigError, EngineError):
            return None

    account = check_files(files, config, folder, character=character, open_tokenizer=open_or_estimate)
    shown: list[Any] = []
    fault = ""
    if account.num_conversations:
        try:
            found = show_files(
                files, config, folder, character=character, open_tokenizer=open_once, choice=Choice(NUM_SHOWN)
            )
            shown = found.as_json()["conversations"]
        except DuologueError as error:
            fault = error.sentence()
    return {"account": account.as_json(), "conversations": shown, "preview_fault": fault}


def main(arguments: list[str]) -> int:
    """Print the check of the folder named, or why there is none, and return the exit code."""
    try:
        document, exit_code = check(Path(arguments[0])), 0
    except DuologueError as error:
        document, exit_code = error.as_json(), error.exit_code
    sys.stdout.write(json.dumps(document, ensure_ascii=False, default=str) + "\n")
    return exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
