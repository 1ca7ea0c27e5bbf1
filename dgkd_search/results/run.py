"""The run folder: where a search's results lie, and what repeats it."""

from __future__ import annotations

import itertools
import sys
import time
from importlib.metadata import version
from pathlib import Path

import yaml
from sqlalchemy.exc import SQLAlchemyError

from dgkd_search.config_file import read_config
from dgkd_search.errors import InputError
from dgkd_search.files import unwritable, write_new
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
        """Make the folder and its config.yaml; ``options`` must be resolved.

        Raises:
            InputError: another search has begun there since it was chosen.
        """
        text = (
            f"# dgkd-search {version('dgkd-search')}. Repeat this search with\n"
            f"#   dgkd-search --config {_CONFIG}\n"
        )
        text += yaml.safe_dump(to_yaml_values(options), sort_keys=False, allow_unicode=True)
        chosen = self.path
        for number in itertools.count(2):
            self.path.mkdir(parents=True, exist_ok=True)
            if write_new(self.config, text.encode()):
                return
            if options.out is not None:
                raise InputError(
                    f"--out {self.path}: another search has begun there; choose a fresh folder"
                )
            # Two searches of one second: the later one moves on.
            self.path = chosen.with_name(f"{chosen.name}-{number}")

    def load(self) -> ChainStudy:
        """The study of a run that was made before.

        Raises:
            InputError: no run is there, or its configuration doesn't hold any more.
        """
        if not self.config.is_file() or not self.database.is_file():
            raise InputError(
                f"{self.path}: is no run folder ({_CONFIG} and {_STUDY} are needed); "
                "name one that a search has made"
            )
        if bad := _unnameable(self.path):
            raise InputError(f"{self.path}: {bad}; rename the folder")
        problems: list[str] = []
        raw = read_config(self.config, problems)
        if problems:
            raise InputError(problems)
        options = Options.parse(raw, source=f"{self.config}: {{}}")
        # What needs the machine of the search, and not its results, is left out.
        values = {k: v for k, v in to_yaml_values(options).items() if k not in _MACHINE}
        resolved = resolve(Options.parse({**values, "gpus-per-trial": 0}))
        try:
            return ChainStudy(resolved.config, self.database)
        except SQLAlchemyError:
            raise InputError(
                f"{self.database}: is no study that this version reads; name another run"
            ) from None


_MACHINE = {"concurrency", "gpus-per-trial", "address", "store"}


def versions() -> dict[str, str]:
    """Of everything that a result depends on."""
    packages = ("dgkd-search", "torch", "torchvision", "ray", "optuna", "numpy")
    return {"python": sys.version.split()[0], **{name: version(name) for name in packages}}


def _unnameable(path: Path) -> str | None:
    """Why a study's database can't lie there: its place is part of a URL, and a template."""
    return "its name must be free of ?, %, { and }" if set(str(path)) & set("?%{}") else None


def _check_writable(path: Path) -> None:
    if bad := _unnameable(path):
        raise InputError(f"--out {path}: {bad}; choose another folder")
    try:
        if path.is_dir():
            if any(path.iterdir()):
                what = "holds a run already" if (path / _CONFIG).exists() else "isn't empty"
                raise InputError(f"--out {path}: {what}; choose a fresh folder")
        elif path.exists() or path.is_symlink():
            raise InputError(f"--out {path}: is no folder; choose a fresh one")
        if bad := unwritable(path):
            raise InputError(f"--out {path}: {bad}; choose another folder")
    except OSError as error:
        raise InputError(
            f"--out {path}: can't be used ({error.strerror}); choose another folder"
        ) from None
