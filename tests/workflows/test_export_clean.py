"""Exports give nothing away, and depend on nothing but the student and the versions."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from helpers.registries import isolate
from helpers.shipped import make_run

import dgkd_search
from dgkd_search.errors import InputError
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.workflows.export import export_run
from dgkd_search.workflows.export_clean import check_anonymous, example_of
from dgkd_search.workflows.export_forms import FORMS

NETS = """
    import torch
    from torch import nn
    import dgkd_search

    class SecretNet(nn.Module):
        def __init__(self, width, classes, channels):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(channels, width, 3), nn.BatchNorm2d(width))
            self.head = nn.Linear(width, classes)

        def forward(self, images):
            secret_line = self.stem(images).relu()
            return self.head(secret_line.mean((2, 3)))

    def wide(classes, channels, image_size):
        return SecretNet(12, classes, channels)

    def slim(classes, channels, image_size):
        return SecretNet(4, classes, channels)

    dgkd_search.family("own", slim=slim, wide=wide)
"""
EXPORT = """
    import sys
    from pathlib import Path
    import dgkd_search
    from dgkd_search.workflows.export import export_run

    assert Path(dgkd_search.__file__).is_relative_to(sys.argv[1]), dgkd_search.__file__
    export_run(Path("run"), Path("out"), ("torch", "onnx"), {"models": "nets_of_a_user",
        "store": "store"})
"""


@dataclass(frozen=True)
class User:
    """A user with a home folder, which contains a run of own networks."""

    name: str
    home: Path

    @property
    def work(self) -> Path:
        return self.home / "work"

    @property
    def out(self) -> Path:
        return self.work / "out"

    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.home), "USER": self.name, "HOSTNAME": f"host-of-{self.name}"}

    def export_elsewhere(self, run: RunFolder) -> None:
        """Export in another process, with an own copy of the package."""
        packages = self.home / "packages"
        shutil.copytree(Path(dgkd_search.__file__).parent, packages / "dgkd_search")
        shutil.copytree(run.path, self.work / "run")
        (self.work / "nets_of_a_user.py").write_text(dedent(NETS))
        changes = {"PYTHONPATH": str(packages), "PYTHONHASHSEED": "2", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", dedent(EXPORT), str(packages)],
            check=False,
            cwd=self.work,
            env={**os.environ, **self.environment(), **changes},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> list[User]:
    """Two users who have exported the same student of an own network."""
    root = tmp_path_factory.mktemp("users")
    alice, bob = User("alice", root / "alice"), User("bob", root / "home" / "of" / "bob")
    alice.work.mkdir(parents=True)
    (alice.work / "nets_of_a_user.py").write_text(dedent(NETS))
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch)
        patch.syspath_prepend(str(alice.work))
        for name, value in alice.environment().items():
            patch.setenv(name, value)
        patch.chdir(alice.work)
        run = make_run(alice.work, ("wide", "slim"), family="own", models="nets_of_a_user")
        places = {"models": "nets_of_a_user", "store": "store"}
        export_run(run.path, alice.out, ("torch", "onnx"), places)
    bob.export_elsewhere(run)
    return [alice, bob]


@pytest.mark.parametrize("file", ["student.onnx", "student.pt2", "student.safetensors"])
def test_two_users_export_the_same_bytes(users: list[User], file: str) -> None:
    one, other = ((user.out / file).read_bytes() for user in users)
    assert one == other


def texts(path: Path) -> list[bytes]:
    content = path.read_bytes()
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return [content]
    with zipfile.ZipFile(path) as archive:
        return [content, *(archive.read(name) for name in archive.namelist())]


def test_no_file_tells_who_exported_it_and_where(users: list[User]) -> None:
    packages = str(Path(torch.__file__).parent)
    lines = ("secret_line", "self.stem(", "self.network(", "def forward", 'File "', ".py")
    for user in users:
        told = [user.name, str(user.home), str(user.home.parent), packages, *lines]
        names = sorted(path.name for path in user.out.iterdir())
        assert len(names) == 5
        for name in names:
            for text in texts(user.out / name):
                found = [word for word in told if word.encode() in text]
                assert not found, (name, found)


def test_programs_hold_no_image_of_the_data(users: list[User]) -> None:
    path = users[0].out / "student.pt2"
    example = torch.export.load(path).example_inputs
    assert example is not None
    (images,) = example[0]
    assert images.shape == (2, 1, 8, 8) and not images.any()
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if "sample_inputs" in name]
        stored = torch.load(io.BytesIO(archive.read(name)), weights_only=True)
    assert stored[0][0].untyped_storage().nbytes() == 2 * 64 * 4  # a slice would bring all images


def test_the_example_is_as_large_as_the_images_and_empty() -> None:
    example = example_of(torch.ones(7, 3, 8, 8))
    assert example.shape == (2, 3, 8, 8) and not example.any()


def test_programs_name_no_line_in_any_graph(users: list[User]) -> None:
    program = torch.export.load(users[0].out / "student.pt2")
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    assert len(nodes) > 5
    assert not any(node.meta.get("stack_trace") for node in nodes)


def write_to(path: Path, content: bytes) -> bytes:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("notes.txt", content)
    return path.read_bytes()


@pytest.mark.parametrize("packed", [False, True])
def test_folders_of_the_machine_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    monkeypatch.setenv("HOME", "/home/carol")
    monkeypatch.chdir(tmp_path)
    package = str(Path(dgkd_search.__file__).parent)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    own = [Path("/data"), link]
    for folder in ("/home/carol", str(tmp_path), package, "/data", str(tmp_path / "elsewhere")):
        for text in (f'x = "{folder}/nets.py"', f"from {folder}", f"{folder}\x12"):
            content = text.encode()
            if packed:
                content = write_to(tmp_path / "file.zip", content)
            with pytest.raises(InputError, match=r"^student.own: would publish /.*; remove it"):
                check_anonymous({"student.own": content}, own)


@pytest.mark.parametrize("folder", ["/home/josé 1", "/home/猫", '/home/a"b', "/home/caf\udce9"])
def test_folders_are_found_in_the_spellings_of_programs(folder: str) -> None:
    for text in (folder, json.dumps({"file": f"{folder}/nets.py"}), Path(folder).as_uri()):
        with pytest.raises(InputError, match=r"^x: would publish "):
            check_anonymous({"x": os.fsencode(text)}, [Path(folder)])


def test_similar_texts_are_no_folders_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/root")
    for text in (
        b"student/data/weights",
        b"/data.csv",
        b"/rooted",
        b"square/root",
        b"/home/carol2",
    ):
        folders = [Path("/data"), Path("/home/carol"), Path("/")]
        check_anonymous({"student.own": text}, folders)


def test_a_format_that_names_a_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, ("cnn3", "cnn2"), family="cnn")

    def make(student: Any, images: torch.Tensor, path: Path) -> Any:
        path.write_text(f"trained in {run.path}")
        return student

    form = FORMS.get("torch")
    monkeypatch.setitem(FORMS._known, "torch", type(form)("torch", form.file, make))
    places = {"store": str(tmp_path / "store")}
    with pytest.raises(InputError, match=r"^student.pt2: would publish .*, a folder of this"):
        export_run(run.path, tmp_path / "run" / "out", ("torch",), places)
    assert not (tmp_path / "run" / "out").exists()


def test_a_folder_in_an_added_format_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    isolate(monkeypatch)
    run = make_run(tmp_path, ("cnn3", "cnn2"), family="cnn")

    def make(student: Any, images: torch.Tensor, path: Path) -> Any:
        path.write_text(f"trained in {run.path}")
        return student

    dgkd_search.register_export_form("noted", "student.noted", make)
    notes: list[str] = []
    places = {"store": str(tmp_path / "store")}
    export_run(run.path, tmp_path / "out", ("noted",), places, notes.append)
    (note,) = notes
    assert note.startswith(f"note: student.noted names {run.path}, a folder of this machine")
    assert (tmp_path / "out" / "student.noted").is_file()
