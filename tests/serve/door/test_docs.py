"""What the pages about the door say: the commands are run as they stand there, and the tests they name are there."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from duologue.cli.app import make_app
from duologue.config import Home, load_home
from duologue.serve.door import Accounts, Book
from tests.serve.door.people import PASSWORD
from tests.serve.door.wallet import Issuer

ROOT = Path(__file__).parents[3]
HOW_TO = ROOT / "docs" / "how-to" / "serve-it-to-friends.md"
SECURITY = ROOT / "docs" / "explanation" / "security.md"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def run_served(command: str, folder: Path, environment: dict[str, str]) -> None:
    """Start a server as the page says, look whether it answers and guards, and end it."""
    arguments = [part for part in shlex.split(command) if "=" not in part][1:]
    given = dict(part.split("=", 1) for part in shlex.split(command) if part.startswith("DUOLOGUE_"))
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "duologue", *arguments, "--port", "0", "--json"],
        cwd=folder,
        env={**environment, **given},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            address = json.loads(process.stdout.readline())["address"]
            assert httpx.get(f"{address}/health").status_code == 200
            assert httpx.get(f"{address}/v1/models").status_code == 401
            for key in given.values():
                assert httpx.get(f"{address}/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200
        finally:
            process.terminate()
            process.wait(30)


def test_every_command_of_the_page_runs_as_it_stands_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "password.txt").write_text(PASSWORD + "\n")
    (tmp_path / "new-password.txt").write_text(PASSWORD + " new\n")
    lines = "".join(blocks(HOW_TO, "sh")).splitlines()
    num_run = 0
    for line in lines:
        command, _, source = line.partition(" < ")
        parts = shlex.split(command)
        if parts[:2] == ["duologue", "account"]:
            stdin = (tmp_path / source).read_text() if source else ""
            done = CliRunner().invoke(make_app("account"), parts[1:], input=stdin)
            assert done.exception is None, f"{line}: {done.exception}"
        elif parts[0] == "mkdir":
            subprocess.run(parts, check=True)
        elif parts[0].startswith("DUOLOGUE_"):
            run_served(line, tmp_path, {**os.environ, "PYTHONPATH": str(ROOT / "src")})
        else:  # the same without the key, once there are accounts
            assert line == "duologue serve home"
        num_run += 1
    book = Book(tmp_path / "home" / "accounts.sqlite", folder=tmp_path / "home")
    [account] = Accounts(book).listed()
    [key] = Accounts(book).keys(account.id)
    book.close()

    assert num_run >= 9
    assert (account.name, account.role, key.name) == ("mara", "admin", "sillytavern")


def test_the_settings_of_the_page_are_settings(tmp_path):
    (tmp_path / "issuers.pem").write_bytes(Issuer().pem())
    behind_a_proxy, limits, for_adults = blocks(HOW_TO, "toml")

    def home_with(settings: str) -> Home:
        (tmp_path / "home.toml").write_text(settings)
        return load_home(tmp_path)

    assert home_with(behind_a_proxy).server.trusted_proxies == ("127.0.0.1",)
    assert home_with(limits).guard.page_requests_per_minute == 1200
    assert home_with(for_adults).guard.rating == "mature"
    assert tomllib.loads(for_adults)["age"]["provider"] == "openid4vp"


def test_every_test_that_the_page_names_is_there():
    named = set(re.findall(r"`(test_\w+)`", SECURITY.read_text(encoding="utf-8")))
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    }

    assert len(named) > 40
    assert named - there == set()


@pytest.mark.parametrize("page", [HOW_TO, SECURITY])
def test_links_lead_to_pages_that_are_there(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).is_file(), target
