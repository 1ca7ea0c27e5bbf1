"""What is wrong, useless or costly in a set of options."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from dgkd_search.config.options import Options
from dgkd_search.data import get_dataset
from dgkd_search.data.config import DATASETS
from dgkd_search.errors import InputError
from dgkd_search.models import get_family, parameter_count
from dgkd_search.study.config import Resources, StudyConfig
from dgkd_search.utils.formatting import pluralize
from dgkd_search.utils.system import cores


def check_data(options: Options, problems: list[str]) -> None:
    if options.dataset == "imagefolder" and options.data_dir is None:
        problems.append(
            "--data-dir: missing; --dataset imagefolder needs the folder that holds train/ "
            "and test/, one sub-folder a class"
        )
    if options.dataset == "arrays":
        if options.data_dir is None:
            problems.append("--data-dir: missing; --dataset arrays needs the .npz file")
        elif Path(options.data_dir).expanduser().is_dir():
            problems.append(f"--data-dir {options.data_dir}: is a folder; name the .npz file")
    if options.dataset == "digits" and options.data_dir is not None:
        problems.append(
            f"--data-dir {options.data_dir}: the digits are embedded; leave it out, or name "
            "another --dataset"
        )
    if options.dataset not in DATASETS:
        try:
            get_dataset(options.dataset)
        except InputError as error:
            problems += [f"--{message}" for message in error.messages]
        if options.data_dir is not None:
            problems.append(
                f"--data-dir {options.data_dir}: datasets of your own know where they lie; leave "
                "it out"
            )
    if options.images == "stream" and options.dataset != "imagefolder":
        problems.append(
            f"--images stream: only an imagefolder is streamed, not {options.dataset}; "
            "leave it out, or use --dataset imagefolder"
        )
    if options.dataset in ("imagefolder", "cifar10", "cifar100") and options.data_dir:
        path = Path(options.data_dir).expanduser()
        if path.exists() and not path.is_dir():
            problems.append(f"--data-dir {path}: is a file; name a folder")


def option_warnings(resources: Resources) -> list[str]:
    threads = resources.concurrency * resources.cpus_per_trial
    if resources.address is None and threads > cores():
        return [
            f"{pluralize(resources.concurrency, 'trial')} of "
            f"{pluralize(resources.cpus_per_trial, 'thread')} share {pluralize(cores(), 'core')}"
        ]
    return []


def ineffective_options(options: Options) -> list[str]:
    """Options that were given and change nothing."""
    notes = []
    if options.views is not None and options.augment == "none":
        notes.append("--views changes nothing: without --augment there is one view of each image")
    if len(options.objective) > 1:
        notes.append("two objectives: nothing is pruned, for Optuna prunes by one alone")
    if options.outputs == "online" and options.store_limit is not None:
        notes.append("--store-limit changes nothing: --outputs online stores none")
    return notes


def size_notes(config: StudyConfig, classes: int, channels: int, image_size: int) -> list[str]:
    """Where a family's order and parameter counts disagree, a line for each pair of neighbors."""
    space = config.space
    names, family = (space.teacher, *space.pool, space.student), get_family(config.family)
    counts = {
        name: parameter_count(family.architectures(classes, channels, image_size)(name))
        for name in names
    }
    return [
        f"{larger} ranks above {smaller} but has fewer parameters "
        f"({counts[larger]:,} against {counts[smaller]:,}); chains go by rank"
        for larger, smaller in pairwise(names)
        if counts[larger] < counts[smaller]
    ]
