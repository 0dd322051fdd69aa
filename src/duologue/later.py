"""Names that a room offers but imports only when somebody asks for them: what is not needed must not cost a start."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def offered_later(room: str, modules: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a room.

    Args:
        room: Its `__name__`.
        modules: The names that each of its modules supplies.
    """
    module_of = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> Any:  # noqa: ANN401 (whatever the room offers under this name)
        if name in module_of:
            return getattr(import_module(f"{room}.{module_of[name]}"), name)
        raise AttributeError(f"module {room!r} has no attribute {name!r}")

    return get
