"""Read and verify the definition of a search in its run folder.

The definition is stored in ``.definition.json``, under a checksum, and in study.db; config.yaml is
a copy for users. Each can be rebuilt from another. The trials in study.db can be rebuilt from the
store, where every finished stage has its own checksum. Damaged files are reported here; resuming
the run quarantines them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dgkd_search.config.extra_options import check_options_known
from dgkd_search.config.options import Options, canonical_name, scope_of
from dgkd_search.config.parse_options import load_module_of, parse_options
from dgkd_search.config.resolve import complete, resolve
from dgkd_search.config.yaml_file import read_config
from dgkd_search.errors import InputError, one_line
from dgkd_search.results.database import (
    DamagedFile,
    raise_if_of_the_system,
    read_definition,
    read_file,
)
from dgkd_search.results.definition import (
    DEFINITION,
    DEFINITION_FORMAT,
    READABLE_FORMATS,
    SearchDefinition,
)
from dgkd_search.results.run_folder import RunFolder, name_error
from dgkd_search.study.config import StudyConfig
from dgkd_search.study.records import REFERENCE, TEST
from dgkd_search.study.replication import Replication
from dgkd_search.study.space import Params
from dgkd_search.study.study import ChainStudy
from dgkd_search.study.timing import ElapsedTime
from dgkd_search.training.spec import TRAINING_VERSION
from dgkd_search.utils.formatting import format_value
from dgkd_search.utils.hashing import from_checksummed_json


class EditedConfig(DamagedFile):
    """The values in config.yaml are valid and do not define the search, but are not the run's."""

    def __init__(self, edited: Options) -> None:
        super().__init__("it was changed; pass changes as options on the command line instead")
        self.edited = edited


@dataclass(frozen=True)
class Manifest:
    """The definition of a run, and the state of its files.

    Attributes:
        options: all options, resolved.
        definition: the definition of the search.
        damaged: damaged or missing files, each with the reason.
        edited: the options in config.yaml, if they were edited; else None.
    """

    run: RunFolder
    options: Options
    definition: SearchDefinition
    damaged: Mapping[Path, str] = field(default_factory=dict)
    edited: Options | None = None


def read_manifest(run: RunFolder) -> Manifest:
    """Read the manifest of a run folder; nothing is written.

    Raises:
        InputError: the folder is not a run, was written by another version or can't be read, or
            config.yaml was changed.
    """
    if not any(path.is_file() for path in (run.config, run.database, run.definition)):
        raise InputError(
            f"{run.path}: is not a run folder ({run.config.name} and {run.database.name} are "
            "missing); name the folder of a search"
        )
    if bad := name_error(run.path):
        raise InputError(f"{run.path}: {bad}; rename the folder")
    damaged: dict[Path, str] = {}
    definitions = _read_definitions(run, damaged)
    definition = definitions[0]
    if (models := definition.options.get("models")) is not None and not _is_own(run):
        raise InputError(  # security: another user's file must not choose what is imported
            f"{run.path}: would import {models}, and isn't your folder; copy it if you trust it"
        )
    load_module_of(definition.options)
    check_options_known(definition.options, str(run.path))
    # Runs of versions without --confirm continue without it.
    options = parse_options({"confirm": "off", **definition.options})
    edited = None
    try:
        _check_config(run, options, definitions)
    except FileNotFoundError:
        damaged[run.config] = "it is missing"
    except DamagedFile as error:
        damaged[run.config] = str(error)
        edited = error.edited if isinstance(error, EditedConfig) else None
    return Manifest(run, options, definition, damaged, edited)


def _read_definitions(run: RunFolder, damaged: dict[Path, str]) -> list[SearchDefinition]:
    """Read the definitions in ``.definition.json`` and study.db; one of them may be damaged.

    Args:
        damaged: damaged files are added to it.

    Raises:
        InputError: neither can be read, or another version wrote one.
    """
    definitions: list[SearchDefinition] = []
    for path, read in ((run.definition, _read_kept), (run.database, read_definition)):
        try:
            value = read(path)
            if value is not None and "options" not in value and definitions:
                damaged[path] = "its definition is missing"
            elif value is not None:
                definitions.append(_decode(run, value))
        except FileNotFoundError:
            damaged[path] = "it is missing"
        except (ValueError, DamagedFile) as error:
            damaged[path] = one_line(error, 200)
    if definitions:
        return definitions
    why = "; ".join(f"{path.name}: {reason}" for path, reason in damaged.items())
    raise InputError(
        f"{run.path}: can't be read ({why}); start a new run, which reuses the stages in the store"
    )


def _read_kept(path: Path) -> dict[str, object]:
    return from_checksummed_json(read_file(path), "it")


def _decode(run: RunFolder, value: Mapping[str, object]) -> SearchDefinition:
    """Decode a definition of this version or an earlier one.

    Raises:
        InputError: an unsupported version wrote it.
        ValueError: the value is malformed.
    """
    version = value.get("format"), value.get("training")
    if version not in [(format, TRAINING_VERSION) for format in READABLE_FORMATS]:
        raise InputError(
            f"{run.path}: was made by another version (format and training {version}, this one "
            f"has {(DEFINITION_FORMAT, TRAINING_VERSION)}); it was not changed; start a new run"
        )
    return SearchDefinition.from_json(value)


def _is_own(run: RunFolder) -> bool:
    """Whether the current user owns the files that define the run."""
    files = [path for path in (run.definition, run.database) if path.exists()]
    return not hasattr(os, "getuid") or all(path.stat().st_uid == os.getuid() for path in files)


def check_same(
    current: Options,
    begun: Options,
    label: str,
    way_out: str,
    names: Sequence[str] | None = None,
) -> None:
    """Compare the options that define a search.

    Args:
        current: the options now.
        begun: the options that the run was started with.
        label: template for the name of an option; its last ``{}`` is replaced by the name.
        way_out: hint that ends each error message.
        names: options to compare; by default all that define a search.

    Raises:
        InputError: options differ; one message each.
    """
    problems = []
    before, _, after = label.rpartition("{}")
    for name in names if names is not None else {**current.values(), **begun.values()}:
        one, other = current.value(name), begun.value(name)
        differs = one != other
        if name == "gpus_per_trial":
            differs = bool(one) != bool(other)  # results differ between GPU and CPU
        elif scope_of(name).changeable:
            continue
        if differs:
            option = f"{before}{name.replace('_', '-')}{after}"
            now, then = format_value(one, ","), format_value(other, ",")
            problems.append(f"{option} {now}: the run was started with {then}; {way_out}")
    if problems:
        raise InputError(problems)


def open_readonly(run: RunFolder) -> ChainStudy:
    """Open the study of a run for reading.

    Raises:
        InputError: the folder is not a run, or it can't be read.
    """
    manifest = read_manifest(run)
    # Options that depend on the machine of the search don't affect its results.
    machine = {"concurrency", "gpus_per_trial", "address", "store"}
    values = {name: value for name, value in vars(manifest.options).items() if name not in machine}
    config = resolve(Options(**values, gpus_per_trial=0)).config
    why = manifest.damaged.get(run.database)
    if why is None:
        try:
            return open_study(config, run.database, manifest.definition.initial_params)
        except DamagedFile as error:
            why = str(error)
    raise InputError(f"{run.database}: is damaged ({why}); --resume {run.path} rebuilds it")


def open_study(
    config: StudyConfig, database: Path, initial_params: Sequence[Params] | None
) -> ChainStudy:
    """Open the study in a database and verify the checksum of every trial.

    Raises:
        DamagedFile: the database is damaged; the message has the reason.
        InputError: the operating system refuses to open it.
    """
    try:
        study = ChainStudy(config, database, initial_params)
        why = study.damage()
        if why is None:
            _decode_all(study)
    except (OSError, MemoryError, InputError):
        raise
    except Exception as error:  # SQLAlchemy and Optuna raise many types on malformed rows
        raise_if_of_the_system(error, database)
        why = one_line(error, 120, with_class=True)
    if why is not None:
        raise DamagedFile(why)
    return study


def _decode_all(study: ChainStudy) -> None:
    """Decode every record of a study: a checksum does not prove that a value can be decoded.

    Raises:
        ValueError: a record is malformed.
    """
    for trial in study.trials:
        study.stats(trial)
    study.read(REFERENCE), study.read(TEST), study.read(DEFINITION)
    ElapsedTime.from_study(study)
    Replication.from_study(study)


def _check_config(
    run: RunFolder, options: Options, definitions: Sequence[SearchDefinition]
) -> None:
    """Compare config.yaml with the definitions that it is a copy of.

    Args:
        definitions: those of ``.definition.json`` and study.db. They differ if a session that
            raised the budget was killed between the two writes.

    Raises:
        InputError: an option that defines the search was changed.
        EditedConfig: an option that a run may change was edited.
        DamagedFile: the file was changed otherwise.
        OSError: the file can't be read.
    """
    text = read_file(run.config)
    definition = definitions[0]
    expected = [run.config_text(known.options) for known in definitions]
    # Comments are ignored: they contain the version.
    if _without_comments(text) in map(_without_comments, expected):
        return
    problems: list[str] = []
    try:
        raw = read_config(run.config, problems, of_run=True)
        edited = complete(parse_options(raw, f"{run.config}: {{}}"))
        if problems or raw.keys() != set(map(canonical_name, definition.options)):
            raise InputError("options are missing or duplicated")
    except InputError as error:
        why = error.messages[0].removeprefix(f"{run.config}: ")
        raise DamagedFile(why) from None
    check_same(edited, options, f"{run.config}: {{}}", "restore that, or start a new run")
    raise EditedConfig(edited)


def _without_comments(text: bytes) -> list[bytes]:
    return [line for line in text.splitlines() if not line.startswith(b"#")]
