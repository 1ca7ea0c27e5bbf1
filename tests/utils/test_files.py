"""Files and folders appear completely or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dgkd_search.utils.files import (
    quarantine,
    remove_folder,
    remove_unless,
    size_of,
    sync_folder,
    write_bytes,
    write_folder,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Broken(BaseException):
    """Neither an Exception nor an OSError, like an interruption at any point."""


def break_call(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise Broken

    monkeypatch.setattr(owner, name, fail)


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (b"old", b"", b"new"):
        write_bytes(path, data)
        assert path.read_bytes() == data
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize(("owner", "call"), [(os, "fsync"), (Path, "replace")])
def test_a_stop_while_writing_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, call: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    break_call(monkeypatch, owner, call)
    with pytest.raises(Broken):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_data_are_on_the_disk_before_they_are_visible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    sync, replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        seen.append("sync")
        sync(descriptor)

    def rename(self: Path, target: Path) -> Path:
        seen.append("rename")
        assert self.parent == target.parent
        assert self.name.startswith(".tmp-")
        assert self.read_bytes() == b"x"
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", rename)
    write_bytes(tmp_path / "file", b"x")
    assert seen == ["sync", "rename", "sync"]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder"
    assert write_folder(path, {"a": b"1", "b": b"2"})
    assert {p.name: p.read_bytes() for p in path.iterdir()} == {"a": b"1", "b": b"2"}
    assert names(path.parent) == ["folder"]


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    assert write_folder(path, {"a": b"1"})
    assert not write_folder(path, {"a": b"2", "b": b"2"})
    assert {p.name: p.read_bytes() for p in path.iterdir()} == {"a": b"1"}
    assert names(tmp_path) == ["folder"]


def test_a_file_in_a_folders_place_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.write_bytes(b"file")
    with pytest.raises(OSError, match="folder"):
        write_folder(path, {"a": b"1"})
    assert path.read_bytes() == b"file"
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize(("owner", "call"), [(os, "fsync"), (Path, "rename")])
def test_a_stop_while_a_folder_is_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, call: str
) -> None:
    break_call(monkeypatch, owner, call)
    with pytest.raises(Broken):
        write_folder(tmp_path / "folder", {"a": b"1"})
    assert names(tmp_path) == []


def test_what_is_set_aside_is_kept_under_a_name_of_its_own(tmp_path: Path) -> None:
    moved = []
    for content in (b"1", b"2"):
        (tmp_path / "file").write_bytes(content)
        moved.append(quarantine(tmp_path / "file", tmp_path / "damaged"))
    assert [path.read_bytes() for path in moved if path] == [b"1", b"2"]
    assert not (tmp_path / "file").exists()
    write_folder(tmp_path / "folder", {"a": b"1"})
    folder = quarantine(tmp_path / "folder", tmp_path / "damaged")
    assert folder is not None
    assert (folder / "a").read_bytes() == b"1"


def test_what_is_gone_need_not_be_set_aside(tmp_path: Path) -> None:
    assert quarantine(tmp_path / "nothing", tmp_path / "damaged") is None


def test_syncing_a_missing_folder_fails_and_leaks_no_descriptor(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    for _ in range(5):
        sync_folder(tmp_path)
        with pytest.raises(FileNotFoundError):
            sync_folder(tmp_path / "missing")
    if before:
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_is_removed_is_gone_with_all_its_bytes(tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", {"a": b"123", "b": b"4567"})
    write_folder(tmp_path / "folder" / "deep", {"c": b"8"})
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "kept", target_is_directory=True)
    write_folder(tmp_path / "kept", {"a": b"1"})
    assert size_of(tmp_path / "folder") == 8
    assert remove_folder(tmp_path / "folder") == 8
    assert remove_folder(tmp_path / "file") == 5
    remove_folder(tmp_path / "link")
    assert names(tmp_path) == ["kept"]
    assert names(tmp_path / "kept") == ["a"]
    assert remove_folder(tmp_path / "folder") == 0
    assert size_of(tmp_path / "folder") == 0


def test_what_is_removed_is_out_of_sight_before_its_content_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder"
    write_folder(path, {"a": b"1"})
    break_call(monkeypatch, shutil, "rmtree")
    with pytest.raises(Broken):
        remove_folder(path)
    monkeypatch.undo()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".tmp-")
    assert names(left) == ["a"]
    assert write_folder(path, {"a": b"2"})


def test_a_folder_that_is_needed_after_all_is_back_unless_another_took_its_place(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "stage"
    folder.mkdir()
    (folder / "weights").write_text("old")

    def asked() -> bool:
        assert not folder.exists()  # readers find nothing from now on
        return True

    assert remove_unless(folder, asked) is None
    assert (folder / "weights").read_text() == "old"

    def made_again() -> bool:
        folder.mkdir()
        (folder / "weights").write_text("new")
        return True

    assert remove_unless(folder, made_again) == 3
    assert (folder / "weights").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["stage"]
    assert remove_unless(tmp_path / "absent", asked) == 0
