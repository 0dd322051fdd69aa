"""The Dockerfile, the compose file and the install script say what they must. Built and run they are elsewhere."""

import re
import subprocess

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
    assert [mount.split(":")[0] for mount in app["tmpfs"]] == ["/tmp"]
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


def test_the_install_script_refuses_a_folder_without_duologue(repository, tmp_path):
    (tmp_path / "deploy").mkdir()
    script = tmp_path / "deploy" / "install.sh"
    script.write_text((repository / "deploy" / "install.sh").read_text(encoding="utf-8"), encoding="utf-8")
    ended = subprocess.run(["sh", script, tmp_path / "out"], check=False, capture_output=True, text=True)

    assert ended.returncode == 2
    assert "neither a wheel of duologue nor its source tree" in ended.stderr
    assert not (tmp_path / "out").exists()
