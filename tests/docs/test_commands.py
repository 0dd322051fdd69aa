"""Every `duologue` command in the documents parses: no option, command or argument that does not exist."""

import re
from functools import cache
from typing import Any

import click
import pytest
from typer.main import get_command

from duologue.cli import make_app
from tests.docs.pages import ROOT, documents, fences, name, spans

PAGES = {name(page): page for page in documents()}
SHELL = ("sh", "console")


@cache
def root() -> Any:
    return get_command(make_app())


def parse(words: list[str]) -> None:
    """Parse a command line as `duologue` would, and run nothing.

    Raises:
        UsageError: It would be refused.
    """
    command, context, rest = root(), click.Context(root(), info_name="duologue"), words[1:]
    while hasattr(command, "commands") and rest:
        child = command.get_command(context, rest[0])
        if child is None:
            raise click.UsageError(f"there is no command {rest[0]}")
        command, rest = child, rest[1:]
        if hasattr(command, "commands"):
            context = click.Context(command, parent=context, info_name=command.name)
    if "--help" not in rest:
        command.make_context(command.name, list(rest), parent=context)


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_the_commands_of_a_page_parse(page):
    faults = []
    for fence in fences(page):
        if fence.language not in SHELL:
            continue
        for words in fence.commands():
            if words[0] != "duologue":
                continue
            try:
                parse(words)
            except Exception as error:  # noqa: BLE001 (typer keeps its own copies of click's classes)
                faults.append(f"{fence.where}: {' '.join(words)}: {getattr(error, 'message', error)}")
    assert faults == []


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_the_commands_and_options_that_a_page_mentions_exist(page):
    """In running text arguments may be left out, as in `duologue train --resume`."""
    if page.name == "LOG.md" or "adr" in page.parts:
        pytest.skip("tells of the past")
    faults = []
    for span in spans(page):
        words = span.split()
        if words[0] != "duologue" or len(words) == 1:
            continue
        command = root()
        for word in words[1:]:
            if not hasattr(command, "commands") or not re.fullmatch(r"[a-z]+", word):
                break
            command = command.commands.get(word)
            if command is None:
                faults.append(f"{span}: there is no command {word}")
                break
        if command is not None:
            known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)} | {"--help"}
            faults += [
                f"{span}: no option {word}" for word in re.findall(r"(?<=\s)--[a-z-]+", span) if word not in known
            ]
    assert faults == []


def test_a_wrong_option_command_or_missing_argument_is_found():
    for wrong in ("duologue train lila --faster", "duologue trian lila", "duologue new", "duologue chats shwo lila x"):
        with pytest.raises(Exception, match=r"(?i)no such|no command|missing"):
            parse(wrong.split())


def test_every_make_target_in_a_page_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        (fence.where, words[1])
        for page in PAGES.values()
        for fence in fences(page)
        if fence.language in SHELL
        for words in fence.commands()
        if words[0] == "make" and len(words) > 1
    } | {
        (name(page), found[1])
        for page in PAGES.values()
        for span in spans(page)
        if (found := re.match(r"(?:[A-Z]+=\S+ )?make ([a-z]+)", span))
    }

    assert named
    assert [(where, target) for where, target in sorted(named) if target not in targets] == []


def test_a_reason_stands_at_every_fence_that_is_not_run(capsys):
    """The others are run: those of tutorial and guide by test_running.py, all others by test_how_to.py."""
    every = [fence for page in PAGES.values() for fence in fences(page) if fence.language in SHELL]
    left_out = [fence for fence in every if fence.not_run]
    with capsys.disabled():
        print(f"\n{len(every)} fences with commands are parsed; of these are not run:")
        for fence in left_out:
            print(f"  {fence.where}: {fence.not_run}")
    assert len(every) > 2 * len(left_out)
    assert all(len(fence.not_run) > 8 for fence in left_out)
