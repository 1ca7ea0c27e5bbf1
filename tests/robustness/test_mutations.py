"""Readers take a mutated file, or refuse it in one line; none fails, waits, or takes all memory.

The short form tries some mutations of every reader. ``--thorough`` tries 10,000 and prints the
outcomes.
"""

from __future__ import annotations

import random
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest
from helpers.bounded import OutOfBounds, bounded
from helpers.hostile_files import READERS, Reader, make_sound_files
from helpers.mutations import BAIT, BYTES

from dgkd_search.errors import InputError

_SHORT, _THOROUGH = 12, 10_000

_TOUCHING = ("open", "os.remove", "os.rename", "os.listdir", "os.mkdir", "os.rmdir")
_strayed: list[str] = []  # events of the interpreter that touch the bait or start a program


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn"):
        _strayed.append(event)
    elif event in _TOUCHING and "bait" in str(arguments[0]):
        _strayed.append(f"{event} {arguments[0]}")


sys.addaudithook(_watch)  # for good: a hook can't be removed


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_sound_files(tmp_path_factory.mktemp("sound"))


def try_one(name: str, reader: Reader, folder: Path, work: Path, seed: int) -> str:
    """Mutate one file and read it; return the outcome."""
    draw = random.Random(f"{name} {seed}")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(folder, work)
    path = draw.choice(sorted(path for file in reader.files for path in work.rglob(file)))
    mutate = draw.choice((*BYTES, *reader.mutations * 4))
    path.write_bytes(mutate(path.read_bytes(), draw))
    _strayed.clear()
    what = f"seed {seed} of {name}: {mutate.__name__} of {path.name}"
    try:
        with bounded():
            reader.read(work)
        outcome = "moved away" if any(work.glob("damaged/*")) else "read"
    except InputError as error:
        outcome = "refused"
        assert error.messages, what
        for message in error.messages:
            assert len(message.splitlines()) == 1 and len(message) < 2100, (what, message)
    except (Exception, OutOfBounds) as error:
        raise AssertionError(what) from error
    assert not _strayed, (what, _strayed)
    return outcome


@pytest.mark.parametrize("name", READERS)
def test_mutated_files_are_read_or_refused(
    folders: dict[str, Path], tmp_path: Path, thorough: bool, name: str
) -> None:
    count = _THOROUGH // len(READERS) + 1 if thorough else _SHORT
    (tmp_path / "bait").mkdir()
    work = tmp_path / "a" / "b"
    outcomes = Counter(
        try_one(name, READERS[name], folders[name], work, seed) for seed in range(count)
    )
    print(f"{name}: {count} mutations, {dict(sorted(outcomes.items()))}")


@pytest.mark.parametrize("name", READERS)
def test_sound_files_are_read(folders: dict[str, Path], tmp_path: Path, name: str) -> None:
    shutil.copytree(folders[name], tmp_path / "copy")
    assert READERS[name].read(tmp_path / "copy") is not None


def test_a_bait_that_is_touched_is_noticed(tmp_path: Path) -> None:
    _strayed.clear()
    (tmp_path / "bait").mkdir()
    assert _strayed
    assert "bait" in BAIT
