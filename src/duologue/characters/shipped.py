"""The character that ships with duologue: Lila Quill, night conductor, and her three datasets."""

from pathlib import Path

LILA_FOLDER = Path(__file__).parent / "lila"


def lila_data_files() -> tuple[Path, ...]:
    """Return the three dataset files, one per format: OpenAI messages, ShareGPT, Alpaca."""
    data = LILA_FOLDER / "data"
    return (data / "messages.json", data / "sharegpt.json", data / "alpaca.json")
