"""`Diary`: dialogues kept one by one while they are had, so that an interrupted evaluation goes on where it was."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from duologue.errors import EngineError
from duologue.evaluate.keep import FOLDER, dialogue_of
from duologue.evaluate.observed import Dialogue


class Diary:
    """A file with one dialogue a line, beside the run; without a folder it keeps nothing.

    The digest of all that decides what is seen is part of its name and of its first line: dialogues of another model,
    of other cases or of another sampling are never mixed in.
    """

    def __init__(self, folder: Path | None, digest: str) -> None:
        """Name the file; nothing is written yet."""
        self._digest = digest
        self._path = folder / FOLDER / f"{digest[:16]}.jsonl" if folder else None

    def read(self) -> Mapping[tuple[str, int], Dialogue]:
        """Return what was had before, by case and seed; a line that was cut off ends it."""
        if self._path is None:
            return {}
        found: dict[tuple[str, int], Dialogue] = {}
        try:
            lines = self._path.read_text(encoding="ascii").splitlines()
            if not lines or json.loads(lines[0]) != {"digest": self._digest}:
                return {}
            for line in lines[1:]:
                dialogue = dialogue_of(json.loads(line))
                found[dialogue.case.id, dialogue.seed] = dialogue
        except (OSError, ValueError, KeyError, TypeError):
            pass  # missing, cut off, or of another version: the rest is had again
        return found

    def start(self, dialogues: Mapping[tuple[str, int], Dialogue]) -> None:
        """Write the file anew with what is kept of an earlier one: a line that was cut off must not be gone on with.

        Raises:
            EngineError: The disk is full or not writable.
        """
        self.close()
        for dialogue in dialogues.values():
            self.add(dialogue)

    def add(self, dialogue: Dialogue) -> None:
        """Keep one more.

        Raises:
            EngineError: The disk is full or not writable.
        """
        if self._path is None:
            return
        rows = [asdict(dialogue)] if self._path.is_file() else [{"digest": self._digest}, asdict(dialogue)]
        try:
            self._path.parent.mkdir(exist_ok=True)
            with self._path.open("a", encoding="ascii") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise EngineError(f"what was seen cannot be kept ({error.strerror})", where=str(self._path)) from error

    def close(self) -> None:
        """Remove the file: everything is kept elsewhere."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
