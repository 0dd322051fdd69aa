import os
from pathlib import Path

import pytest

from duologue.errors import ConfigError, EngineError
from duologue.export.artifact import write_label
from duologue.export.staging import check_disk, staged


def an_export(folder: Path, text: str = "old") -> Path:
    folder.mkdir()
    (folder / "weights").write_text(text)
    write_label(folder)
    return folder


def test_what_is_written_in_the_block_has_the_targets_name_afterwards(tmp_path: Path) -> None:
    with staged(tmp_path / "out" / "new") as staging:
        (staging / "weights").write_text("new")
        assert not (tmp_path / "out" / "new").exists()
    assert (tmp_path / "out" / "new" / "weights").read_text() == "new"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]


def test_an_earlier_export_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = an_export(tmp_path / "out")
    with staged(target) as staging:
        (staging / "other").write_text("new")
    assert [path.name for path in target.iterdir()] == ["other"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [EngineError("memory ran out"), KeyboardInterrupt(), ValueError("a bug")])
def test_an_error_leaves_the_earlier_export_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    target = an_export(tmp_path / "out")
    with pytest.raises(type(error)), staged(target) as staging:  # noqa: PT012  (what the block leaves is the point)
        (staging / "weights").write_text("half")
        raise error
    assert (target / "weights").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_earlier_export_has_its_name_again_when_the_new_one_cannot_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = an_export(tmp_path / "out")
    rename = os.replace

    def refuse_new(source: Path, to: Path) -> None:
        if Path(source).name == ".out.export":
            raise OSError(5, "Input/output error")
        rename(source, to)

    monkeypatch.setattr(os, "replace", refuse_new)
    with pytest.raises(EngineError, match="cannot be written"), staged(target) as staging:
        (staging / "weights").write_text("new")
    assert (target / "weights").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="No space left") as refused, staged(tmp_path / "out"):
        raise OSError(28, "No space left on device")
    assert "Free some disk space" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_refused_before_the_work_and_after_it(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    entered = False
    with pytest.raises(ConfigError, match=r"thesis\.txt"), staged(tmp_path / "mine"):
        entered = True
    assert not entered
    with pytest.raises(ConfigError, match=r"thesis\.txt"), staged(tmp_path / "new") as staging:  # noqa: PT012
        (staging / "weights").write_text("new")
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "thesis.txt").write_text("mine")
    assert (tmp_path / "new" / "thesis.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "new"]


@pytest.mark.parametrize("name", ["README.md", "Modelfile", "home/lila/duologue.toml"])
def test_what_a_person_has_edited_in_an_earlier_export_is_not_lost(tmp_path: Path, name: str) -> None:
    def export() -> None:
        with staged(tmp_path / "out") as staging:
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).write_text("as exported")
            (staging / "model.gguf").write_bytes(b"weights")
            write_label(staging)

    export()
    export()
    (tmp_path / "out" / name).write_text("edited")
    with pytest.raises(ConfigError, match=name) as refused:
        export()
    assert "an unchanged earlier export" in refused.value.needed
    assert (tmp_path / "out" / name).read_text() == "edited"
    (tmp_path / "out" / name).unlink()
    (tmp_path / "out" / name).symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=name):
        export()


def test_what_an_earlier_attempt_left_does_not_get_in(tmp_path: Path) -> None:
    (tmp_path / ".out.export").mkdir()
    (tmp_path / ".out.export" / "half").write_text("half")
    with staged(tmp_path / "out") as staging:
        assert list(staging.iterdir()) == []


def test_too_little_disk_says_how_much_is_needed_and_for_what(tmp_path: Path) -> None:
    check_disk(tmp_path, 1, what="a byte")
    with pytest.raises(EngineError, match=r"1048576\.00 GiB for the weights"):
        check_disk(tmp_path, 2**50, what="the weights")
