"""The run folder: where a search's results lie, and what repeats it."""

from __future__ import annotations

import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from dgkd_search.config import StudyConfig
from dgkd_search.errors import InputError
from dgkd_search.files import write_bytes
from dgkd_search.options import Options
from dgkd_search.resolve import resolve, to_yaml_values
from dgkd_search.study import ChainStudy

_CONFIG = "config.yaml"
_STUDY = "study.db"


class RunFolder:
    """Paths of one run, and the configuration that defines it."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @property
    def config(self) -> Path:
        return self.path / _CONFIG

    @property
    def database(self) -> Path:
        return self.path / _STUDY

    @property
    def trials(self) -> Path:
        return self.path / "trials.csv"

    @property
    def best(self) -> Path:
        return self.path / "best.yaml"

    @property
    def student(self) -> Path:
        return self.path / "student.safetensors"

    @classmethod
    def choose(cls, options: Options) -> RunFolder:
        """Where a new run goes; nothing is written yet.

        Raises:
            InputError: the folder holds something already, or can't be written.
        """
        if options.out is None:
            name = f"{options.dataset}-{options.family}-{time.strftime('%Y%m%d-%H%M%S')}"
            path = Path("runs") / name
            for number in range(2, 1000):
                if not path.exists():
                    break
                path = Path("runs") / f"{name}-{number}"
        else:
            path = Path(options.out).expanduser()
        _check_writable(path)
        return cls(path)

    def create(self, options: Options) -> None:
        """Make the folder and its config.yaml; ``options`` must be resolved."""
        self.path.mkdir(parents=True, exist_ok=True)
        text = (
            f"# dgkd-search {version('dgkd-search')}. Repeat this search with\n"
            f"#   dgkd-search --config {_CONFIG}\n"
        )
        text += yaml.safe_dump(to_yaml_values(options), sort_keys=False, allow_unicode=True)
        write_bytes(self.config, text.encode())

    def load(self) -> tuple[StudyConfig, Options, ChainStudy]:
        """The study of a run that was made before.

        Raises:
            InputError: no run is there, or its configuration doesn't hold any more.
        """
        if not self.config.is_file() or not self.database.is_file():
            raise InputError(
                f"{self.path}: is no run folder ({_CONFIG} and {_STUDY} are needed); "
                "name one that a search has made"
            )
        options = Options.parse(read_config(self.config), source=f"{self.config}: {{}}")
        # What needs the machine of the search, and not its results, is left out.
        values = {k: v for k, v in to_yaml_values(options).items() if k not in _MACHINE}
        resolved = resolve(Options.parse({**values, "gpus-per-trial": 0}))
        return resolved.config, options, ChainStudy(resolved.config, self.database)


_MACHINE = {"concurrency", "gpus-per-trial", "address", "store"}


def read_config(path: Path) -> dict[str, Any]:
    """Raw values of a ``--config`` file.

    Raises:
        InputError: the file is missing, is no YAML, or is no list of ``name: value``.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"--config {path}: can't be read ({error.strerror}); name a YAML file"
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise InputError(
            f"--config {path}: is no valid YAML{where}; write one `name: value` a line"
        ) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"--config {path}: holds no options; write one `name: value` a line")
    return {str(name): item for name, item in value.items()}


def versions() -> dict[str, str]:
    """Of everything that a result depends on."""
    packages = ("dgkd-search", "torch", "torchvision", "ray", "optuna", "numpy")
    return {"python": sys.version.split()[0], **{name: version(name) for name in packages}}


def _check_writable(path: Path) -> None:
    try:
        if path.is_dir():
            if any(path.iterdir()):
                what = "holds a run already" if (path / _CONFIG).exists() else "isn't empty"
                raise InputError(f"--out {path}: {what}; choose a fresh folder")
        elif path.exists():
            raise InputError(f"--out {path}: is a file; choose a fresh folder")
        parent = next(p for p in (path, *path.absolute().parents) if p.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            raise InputError(f"--out {path}: {parent} is not writable; choose another folder")
    except OSError as error:
        raise InputError(
            f"--out {path}: can't be used ({error.strerror}); choose another folder"
        ) from None
