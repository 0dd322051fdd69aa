"""What a page of the browser is measured for: contrast, names, sizes of what is pressed, focus, and what is cut off.

Sources of the numbers: WCAG 2.2, 1.4.3 (contrast of text), 1.4.11 (of icons), 1.4.10 (reflow), 2.5.8 (target size).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

# Controls that a person works with, by the role the browser itself computes.
NAMED_ROLES = frozenset(
    {
        *("button", "link", "textbox", "searchbox", "checkbox", "radio", "combobox", "slider", "spinbutton", "switch"),
        *("menuitem", "menuitemradio", "menuitemcheckbox", "tab", "listbox", "option", "DisclosureTriangle"),
    }
)
_SCRIPT = (Path(__file__).parent / "audit.js").read_text(encoding="utf-8").strip()


@dataclass(frozen=True, slots=True)
class Audit:
    """What was looked at and what is wrong.

    Attributes:
        count: Things that were looked at.
        found: What is wrong, in words.
    """

    count: int
    found: tuple[str, ...]


def contrast(page: Page) -> Audit:
    """Look at every visible text, field and icon against what lies below it."""
    return _measured(page, "contrast")


def targets(page: Page) -> Audit:
    """Look at the size of everything that is pressed, and at what is near to what is small."""
    return _measured(page, "targets")


def cut_off(page: Page) -> Audit:
    """Look for what sticks out of the window or is cut by its own box."""
    return _measured(page, "cutOff")


def focus(page: Page) -> Audit:
    """Give everything that takes the focus the focus, and see whether that is seen."""
    page.keyboard.press("Tab")
    return _measured(page, "focus")


def names(page: Page) -> Audit:
    """Ask the browser what it tells a screen reader of every control."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    controls = [node for node in nodes if not node["ignored"] and node["role"]["value"] in NAMED_ROLES]
    return Audit(
        len(controls), tuple(_described(node) for node in controls if not node["name"].get("value", "").strip())
    )


def _described(node: dict[str, Any]) -> str:
    return f"a {node['role']['value']} without a name (node {node.get('backendDOMNodeId')})"


def _measured(page: Page, what: str) -> Audit:
    answer = page.evaluate(f"{_SCRIPT}.{what}()")
    return Audit(answer["count"], tuple(answer["found"]))
