"""The systemd units, read by systemd itself."""

import re
import shutil
import subprocess

import pytest

from duologue.config import Config

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
UNITS = ("duologue.service", "duologue-user.service")


def keys(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_no_fault_in_the_unit(name, repository, tmp_path):
    """Only the program is another one: duologue is not installed where the unit expects it."""
    text = (repository / "deploy" / name).read_text(encoding="utf-8")
    unit = tmp_path / "duologue.service"
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE), encoding="utf-8")
    scope = ["--user"] if "user" in name else []
    checked = subprocess.run(
        ["systemd-analyze", *scope, "verify", "--man=no", "--recursive-errors=no", str(unit)],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
    )

    ours = [line for line in checked.stderr.splitlines() if "duologue.service" in line]
    assert (checked.returncode, ours) == (0, []), checked.stderr


@needs_systemd
def test_systemd_calls_the_exposure_of_the_service_ok(repository):
    """0 is closed, 10 is open; 1.9 was measured with systemd 252, and a key that gets lost shows."""
    unit = repository / "deploy" / "duologue.service"
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=25", "--no-pager", str(unit)],
        check=False,
        capture_output=True,
        text=True,
    )
    if "nrecognized option" in told.stderr:
        pytest.skip("this systemd cannot look at a file")

    assert told.returncode == 0, told.stdout[-2000:]


@pytest.mark.parametrize("name", UNITS)
def test_the_unit_waits_longer_for_the_end_than_the_server_takes_and_does_not_repeat_a_wrong_setting(name, repository):
    unit = keys((repository / "deploy" / name).read_text(encoding="utf-8"))
    default = Config.model_fields["server"].get_default(call_default_factory=True).shutdown_seconds

    assert float(unit["TimeoutStopSec"][0]) >= 2 * default
    assert unit["Restart"] == ["on-failure"]
    assert unit["RestartPreventExitStatus"] == ["2"]  # ConfigError
    assert unit["KillSignal"] == ["SIGTERM"]


def test_the_service_may_write_nowhere_but_in_its_own_two_folders(repository):
    unit = keys((repository / "deploy" / "duologue.service").read_text(encoding="utf-8"))

    assert unit["ProtectSystem"] == ["strict"]
    assert unit["ReadWritePaths"] == ["/var/lib/duologue /var/cache/duologue"]
    assert unit["NoNewPrivileges"] == ["yes"]
    assert unit["CapabilityBoundingSet"] == [""]
    places = re.findall(r"(?:HOME|HF_HOME|XDG_\w+|MPLCONFIGDIR)=(\S+)", " ".join(unit["Environment"]))
    assert len(places) == 5
    assert all(place.startswith(("/var/lib/duologue", "/var/cache/duologue")) for place in places)
