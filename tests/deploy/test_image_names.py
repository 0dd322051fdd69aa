"""Every name in the image's files is one that exists: paths, stages, services, volumes, options and variables."""

import re

import pytest
import yaml

from tests.deploy.test_image_files import stages
from tests.docs.test_commands import parse

# What the Compose specification knows of the keys that we use; a misspelt key is ignored by some engines.
TOP_KEYS = {"name", "services", "volumes"}
SERVICE_KEYS = {
    *("build", "cap_drop", "command", "depends_on", "deploy", "environment", "healthcheck", "image", "ipc", "ports"),
    *("profiles", "read_only", "restart", "security_opt", "stop_grace_period", "tmpfs", "user", "volumes"),
}
BUILD_KEYS = {"context", "dockerfile", "target"}
HEALTH_KEYS = {"test", "interval", "timeout", "retries", "start_period"}
# Read by what we did not write, or by the Compose file itself.
OUTSIDE_VARIABLES = {"HF_TOKEN", "POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD", "DO_NOT_TRACK"}


@pytest.fixture(scope="module")
def deploy(request):
    return request.config.rootpath / "deploy"


@pytest.fixture(scope="module", params=["compose.yaml", "compose.cuda.yaml"])
def compose(request, deploy):
    return yaml.safe_load((deploy / request.param).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def text(deploy):
    return (deploy / "Dockerfile").read_text(encoding="utf-8")


def test_every_path_that_a_build_lets_through_exists(repository, deploy):
    rules = (deploy / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    paths = [rule[1:] for rule in rules if rule.startswith("!")]

    missing = [path for path in paths if "*" not in path and not (repository / path).exists()]
    assert paths and missing == []


def test_every_stage_is_made_of_one_before_it_or_of_an_image_with_a_version(text):
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)", text, re.MULTILINE))
    seen: list[str] = []
    for stage, lines in stages(text).items():
        source = lines[0].split()[1]
        if found := re.fullmatch(r"\$\{(\w+)\}", source):
            assert re.search(r":[\w.-]*\d", arguments[found[1]]), f"{stage}: {arguments[found[1]]} has no version"
        else:
            assert source in seen, f"{stage}: there is no stage {source} before it"
        assert stage not in seen
        seen.append(stage)


def test_every_copy_between_stages_takes_what_that_stage_makes(text):
    all_stages = stages(text)
    copies = [line.split() for lines in all_stages.values() for line in lines if line.startswith("COPY")]
    between = [(words[1].removeprefix("--from="), words[2]) for words in copies if words[1].startswith("--from=")]

    assert between
    for stage, path in between:
        made = [line for line in all_stages[stage] if line.startswith("RUN") and line.endswith(f" {path}")]
        assert made, f"nothing in {stage} makes {path}"
    assert [words[1:] for words in copies if not words[1].startswith("--from=")] == [[".", "."]] * 2


def test_every_variable_of_an_instruction_is_declared_in_its_stage(text):
    for stage, lines in stages(text).items():
        declared = {line.split()[1].partition("=")[0] for line in lines if line.startswith("ARG ")} | {"PATH"}
        used = {name for line in lines[1:] for name in re.findall(r"\$\{?(\w+)", line)}
        assert used <= declared, f"{stage} uses {used - declared}"


def test_everything_is_installed_from_the_lock_or_without_dependencies(deploy):
    script = (deploy / "install.sh").read_text(encoding="utf-8")
    installs = re.findall(r"^ *\$pip install (.*)$", script, re.MULTILINE)

    assert any("--require-hashes" in line and '"$locked"' in line for line in installs)
    # Torch's own companions follow its build and have no hash here; the script says so where it installs them.
    free = [line for line in installs if "--no-deps" not in line]
    assert free == ['${TORCH_ARGS:-} "$torch"']
    assert script.index('-r "$locked"') < script.index(free[0], script.index('-r "$locked"'))


def test_every_key_is_one_that_compose_knows(compose):
    assert set(compose) <= TOP_KEYS
    for name, service in compose["services"].items():
        assert set(service) <= SERVICE_KEYS, name
        assert set(service.get("build", {})) <= BUILD_KEYS, name
        assert set(service.get("healthcheck", {})) <= HEALTH_KEYS, name


def test_every_service_volume_and_stage_that_is_named_exists(deploy, compose, text, repository):
    whole = yaml.safe_load((deploy / "compose.yaml").read_text(encoding="utf-8"))
    assert set(compose["services"]) <= set(whole["services"]), "an overlay may not invent a service"
    for name, service in compose["services"].items():
        assert set(service.get("depends_on", {})) <= set(whole["services"]), name
        volumes = {mount.split(":")[0] for mount in service.get("volumes", []) if re.match(r"\w+:", mount)}
        assert volumes <= set(whole["volumes"]), name
        build = service.get("build", {})
        assert build.get("target", "cpu") in stages(text), name
        assert (repository / build.get("dockerfile", "deploy/Dockerfile")).is_file(), name
        for waited in service.get("depends_on", {}):
            assert "healthcheck" in whole["services"][waited]


def test_the_app_is_started_with_a_command_line_that_exists(deploy, text):
    whole = yaml.safe_load((deploy / "compose.yaml").read_text(encoding="utf-8"))
    words = [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", word) for word in whole["services"]["app"]["command"]]
    parse(["duologue", *words])
    found = re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)
    assert len(found) == 2
    for line in found:
        parse(["duologue", *yaml.safe_load(line)])


def test_every_variable_that_the_app_is_given_is_one_that_it_reads(deploy, repository):
    whole = yaml.safe_load((deploy / "compose.yaml").read_text(encoding="utf-8"))
    given = set(whole["services"]["app"]["environment"]) - OUTSIDE_VARIABLES
    source = "\n".join(path.read_text(encoding="utf-8") for path in (repository / "src").rglob("*.py"))

    assert given
    assert [name for name in sorted(given) if f'"{name}"' not in source] == []


def test_every_variable_that_compose_asks_for_is_in_the_example_and_the_other_way_round(deploy):
    text = "".join((deploy / name).read_text(encoding="utf-8") for name in ("compose.yaml", "compose.cuda.yaml"))
    example = (deploy / "env.example").read_text(encoding="utf-8")
    asked = set(re.findall(r"\$\{(\w+)", text))
    told = set(re.findall(r"^#?([A-Z][A-Z_]+)=", example, re.MULTILINE))

    assert asked - told == {"DUOLOGUE_HOME", "DUOLOGUE_BUNDLED", "VLLM_VERSION", "VLLM_MAX_RANK"}
    assert told - asked == set()
