"""Validation of a search before it starts; nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dgkd_search.callbacks.trackers import missing_trackers
from dgkd_search.config.checks import size_notes
from dgkd_search.config.options import Options
from dgkd_search.config.resolve import Resolved, resolve
from dgkd_search.data import get_dataset
from dgkd_search.data.cache import decoding_of, is_streamed
from dgkd_search.data.config import DataConfig
from dgkd_search.data.normalization import known_statistics
from dgkd_search.data.notes import data_notes
from dgkd_search.data.open import open_dataset_files
from dgkd_search.data.splits import Split, choose_split
from dgkd_search.data.types import Dataset, Downloadable, Labels
from dgkd_search.distillation.pretrained import PretrainedTeacher, read_teacher
from dgkd_search.errors import InputError
from dgkd_search.models import get_family, validate_custom_model
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.store.location import FORMAT_FILE, NO_STORE, default_root
from dgkd_search.study.disk_usage import OutputsEstimate, estimate_outputs, space_errors
from dgkd_search.training.losses.custom import validate_custom_loss
from dgkd_search.training.losses.registry import get_loss
from dgkd_search.utils.files import write_error
from dgkd_search.workflows.export_forms import FORMS
from dgkd_search.workflows.own_parts import start_checksums

_SHOWN = 8  # class names in the description of the data
_MANY = 200  # validation images; fewer cause a note
_UNEVEN = 3  # ratio of images per class that causes a note


@dataclass(frozen=True)
class ValidatedSearch:
    """A search with valid options and data.

    Attributes:
        run: the run folder.
        dataset: the opened dataset.
        outputs: size of the stored outputs; None if the data must be downloaded first.
        images: description of the data; None if unknown.
        teacher: the pretrained teacher, or None.
        start: ``own_parts.start_checksums`` of the models.
    """

    resolved: Resolved
    run: RunFolder
    dataset: Dataset
    outputs: OutputsEstimate | None
    images: str | None = None
    teacher: PretrainedTeacher | None = None
    start: str = ""


def validate(options: Options, run: RunFolder | None = None) -> ValidatedSearch:
    """Check everything that can be checked before anything is written.

    Image files are not decoded, but some of their bytes are compared between the parts; the arrays
    of a user's own dataset are checked.

    Args:
        run: an existing run folder; by default a new one is chosen.

    Raises:
        InputError: all problems of the options or, if the options are valid, of the run folder and
            the data.
    """
    resolved = resolve(options)
    problems: list[str] = []
    try:
        run = run or RunFolder.choose(resolved.options)
    except InputError as error:
        problems.extend(error.messages)
    problems.extend(_store_problems(options.store))
    problems.extend(missing_trackers(options.log_to))
    try:
        dataset = open_dataset_files(resolved.config.data)
        if (normalize := resolved.config.data.normalize) != "train":
            known_statistics(normalize, dataset.channels)
        split = _split(resolved, dataset)
        outputs = _outputs(resolved, dataset, split)
    except InputError as error:
        problems.extend(error.messages)
    else:
        if outputs is not None:
            limit = resolved.options.store_limit
            problems += space_errors(outputs, "--store-limit", outputs.store, limit)
    if problems:
        raise InputError(problems)
    assert run is not None
    classes = get_dataset(resolved.config.data.dataset).class_count or len(dataset.classes)
    space = resolved.config.space
    architecture = get_family(resolved.config.family).architectures(
        classes, dataset.channels, dataset.image_size
    )
    models = [architecture(name) for name in (space.teacher, *space.pool, space.student)]
    weights = resolved.options.teacher_weights
    for model in models:
        validate_custom_model(model, trained=weights is None or model is not models[0])
    loss = resolved.config.distillation.loss
    validate_custom_loss(get_loss(loss.name), classes, loss.options)
    notes = size_notes(resolved.config, classes, dataset.channels, dataset.image_size)
    notes += _unused_options(resolved)
    notes += _data_notes(resolved.config.data, dataset, split)
    images = _images(dataset, split)
    teacher = (
        read_teacher(Path(weights), architecture(space.teacher)) if weights is not None else None
    )
    notes += teacher.notes if teacher is not None else ()
    resolved = replace(resolved, warnings=(*resolved.warnings, *notes))
    return ValidatedSearch(
        resolved, run, dataset, outputs, images, teacher, start_checksums(models)
    )


def _unused_options(resolved: Resolved) -> list[str]:
    """Return a note for each option of a package that neither the search nor an export takes."""
    config = resolved.config
    taken = dict((*config.sampler_options, *config.pruner_options))
    taken |= dict(config.distillation.loss.options)
    left = [name for name, _ in resolved.options.extra if name not in taken]
    forms = FORMS.load_all()[0] if left else ()
    for_export = {name for form in forms for name in form.options}
    return [
        f"--{name.replace('_', '-')} has no effect: none of the chosen parts takes it"
        for name in left
        if name not in for_export
    ]


def _data_notes(config: DataConfig, dataset: Dataset, split: Split | None) -> list[str]:
    """Return notes on the data, and on options without an effect on them."""
    notes = []
    if config.background != DataConfig.background and (
        decoding_of(config, dataset, is_streamed(config, dataset)) is None
    ):
        notes.append(f"--background has no effect: {config.dataset} has no image files")
    if split is not None:
        notes += data_notes(dataset, split)
        notes += _imbalance_notes(dataset.classes, split.train_labels)
        notes += _small_validation_notes(len(split.validation_labels))
        if config.validation is not None and split.validation_in == "val":
            notes.append("--validation has no effect: the dataset has a validation set")
    return notes


def _split(resolved: Resolved, dataset: Dataset) -> Split | None:
    """Return the split of the data; None if they may have to be downloaded first."""
    if isinstance(dataset, Downloadable):
        return None
    data = resolved.config.data
    return choose_split(dataset, data)


def _images(dataset: Dataset, split: Split | None) -> str | None:
    """Describe the images; None if nothing is known of them."""
    if isinstance(dataset, Downloadable):
        return dataset.missing() or f"in {dataset.root}; counted when the search starts"
    if split is None:
        return None
    names = dataset.classes
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    color = "gray" if dataset.channels == 1 else "color"
    test = "a test set" if dataset.has_test else "no test set"
    return (
        f"{len(split.train_labels):,} to train, {len(split.validation_labels):,} to validate, "
        f"{test}; {len(names)} classes ({shown}), {dataset.image_size} x {dataset.image_size}, "
        f"{color}"
    )


def _small_validation_notes(validation: int) -> list[str]:
    """Return a note if the validation set is small."""
    if validation >= _MANY:
        return []
    return [
        f"the validation set has {validation} images, each {100 / validation:.1f} % of the "
        "accuracy: only large differences are visible; use more images or a larger val/"
    ]


def _imbalance_notes(classes: Sequence[str], labels: Labels) -> list[str]:
    """Return a note if the classes differ much in size."""
    counts = np.bincount(labels, minlength=len(classes))
    most, least = int(counts.argmax()), int(counts.argmin())
    if counts[most] < _UNEVEN * counts[least]:
        return []
    return [
        f"classes are imbalanced: {classes[most]} has {counts[most]:,} training images, "
        f"{classes[least]} has {counts[least]:,}; accuracy favors large classes"
    ]


def _outputs(resolved: Resolved, dataset: Dataset, split: Split | None) -> OutputsEstimate | None:
    config = resolved.config
    if split is None:
        return None
    images = len(split.rows.train)
    shared = resolved.options.store != NO_STORE
    concurrency = resolved.resources.concurrency
    return estimate_outputs(config, images, len(dataset.classes), concurrency, shared)


def _store_problems(store: str | None) -> list[str]:
    """Return the problem with the folder of a store that doesn't exist yet, if any."""
    root = default_root() if store is None else Path(store).expanduser()
    if store == NO_STORE or (root / FORMAT_FILE).exists():
        return []
    problem = write_error(root)
    return [f"--store {root}: {problem}; choose another folder"] if problem else []
