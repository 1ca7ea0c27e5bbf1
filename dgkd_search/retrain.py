"""From a found configuration to students for use: its chain trained anew, on all the images.

The search has chosen, so its validation images needn't be kept apart any more. Every repeat trains
the whole chain with a seed of its own, and reads the test set once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dgkd_search.chain import Chain
from dgkd_search.closing import test_accuracy
from dgkd_search.config_file import read_config
from dgkd_search.data import PreparedData, prepare
from dgkd_search.driver import store_path
from dgkd_search.errors import InputError
from dgkd_search.files import make_folder
from dgkd_search.given import as_entry, read_teacher
from dgkd_search.identity import StageSpec
from dgkd_search.intervals import half_width
from dgkd_search.options import Options
from dgkd_search.planner import Planner
from dgkd_search.recipe import Distillation
from dgkd_search.resolve import resolve
from dgkd_search.results.best import load_best, load_student, write_student
from dgkd_search.results.run import RunFolder, versions
from dgkd_search.space import Configuration
from dgkd_search.store import Store
from dgkd_search.trial import Trial

_NEARBY = ("data-dir", "teacher-weights", "store")  # what a run's config.yaml may say of places


@dataclass(frozen=True)
class Retrained:
    """Students of one configuration, each of a chain of its own.

    Attributes:
        chain: what was trained.
        images: that each was trained on.
        folders: of the students, for ``load_student``.
        tests: test accuracies in percent, in the same order; empty where there is no test set.
        problem: why the test set couldn't be read, or None.
    """

    chain: Chain
    images: int
    folders: tuple[Path, ...]
    tests: tuple[float, ...]
    problem: str | None = None

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        test = f"could not be read: {self.problem}" if self.problem else "there is no test set"
        if self.tests:
            half = half_width(self.tests)
            mean = f"{sum(self.tests) / len(self.tests):.2f}"
            mean += f" ± {half:.2f}" if half is not None else ""
            each = ", ".join(f"{value:.2f}" for value in self.tests)
            test = f"{mean} % (95 % interval of the mean; {each}), read once a repeat"
        names = ", ".join(str(folder) for folder in self.folders)
        return [
            f"chain       {self.chain}",
            f"trained on  {self.images:,} images, those of validation among them",
            f"test        {test}",
            f"students    {names}",
        ]


def retrain(
    best: Path,
    out: Path,
    repeats: int = 3,
    given: Mapping[str, Any] | None = None,
    tell: Callable[[str], object] = lambda text: None,
) -> Retrained:
    """Train the chain of a best.yaml again, on training and validation images.

    What the store has of it is not trained again: a call that was interrupted goes on.

    Args:
        best: the file, or the folder it lies in.
        out: folder for ``repeat-1``, ``repeat-2``, …, each with a student and its best.yaml.
        repeats: how often, at least 1.
        given: options of the place: ``data_dir``, ``store``, ``teacher_weights``, ``models``,
            ``cpus_per_trial``, ``gpus_per_trial``.
        tell: is given a line at a time.

    Raises:
        InputError: best.yaml is damaged or of before options were noted in it, the data are
            others, or ``out`` holds something else.
    """
    found = load_best(best)
    options = _options(best, found, given or {})
    resolved = resolve(options)
    config = resolved.config
    store = Store(store_path(resolved.options), resolved.options.store_limit)
    data = prepare(config.data, store.data, tell)
    if data.info.fingerprint != found["data"]["fingerprint"]:
        raise InputError(
            f"{best}: its search had other data (fingerprint {found['data']['fingerprint']}, "
            f"these have {data.info.fingerprint}); name the right ones with --data-dir"
        )
    planner = Planner(config, data.info)
    configuration = _configuration(found)
    _check_models(best, found, planner.stages(configuration))
    merged = prepare(replace(config.data, merged=True), store.data, tell)
    chain = configuration.chain.canonical()
    folders, tests, problem = [], [], None
    for repeat in range(1, repeats + 1):
        seeded = replace(config, train_seed=config.train_seed + repeat)
        planner = _plan(Planner(seeded, merged.info), resolved.options, merged, store)
        stages = planner.stages(configuration)
        tell(f"repeat {repeat} of {repeats}: {chain}")
        folder = out / f"repeat-{repeat}"
        weights, known = _train(stages, merged, store, folder)
        test = known
        if known is None:
            test, problem = test_accuracy(config, merged.info, stages[-1], weights)
            _write(folder, found, stages, merged, weights, test, repeat)
        if test is not None:
            tests.append(test)
            tell(f"repeat {repeat} of {repeats}: {test:.2f} % on test")
        folders.append(folder)
    count = merged.info.train_count
    return Retrained(chain, count, tuple(folders), tuple(tests), problem)


def _options(best: Path, found: Mapping[str, Any], given: Mapping[str, Any]) -> Options:
    """Those of the search, with the places of now."""
    if "options" not in found:
        raise InputError(
            f"{best}: was written by an earlier version, which noted no options in it; "
            "--resume of its run writes it again"
        )
    said = dict(found["options"])
    if said.pop("models", None) is not None and given.get("models") is None:
        raise InputError(  # a file doesn't choose what is imported
            f"{best}: its models are of a family of your own; name their module with --models"
        )
    folder = best if best.is_dir() else best.parent
    near = RunFolder(folder).config
    values = read_config(near, []) if near.exists() else {}
    places = {name: v for name in _NEARBY if (v := values.get(name.replace("-", "_"))) is not None}
    now = {name.replace("_", "-"): value for name, value in given.items() if value is not None}
    return Options.parse({**said, **places, **now}, "--{}")


def _configuration(found: Mapping[str, Any]) -> Configuration:
    """What a best.yaml has chosen.

    Raises:
        InputError: its values are no configuration.
    """
    try:
        student = StageSpec.from_dict(found["stages"][-1])
        chain = [found["teacher"], *found["assistants"], found["student"]]
        alone = not student.sources
        models = tuple(chain[-1:] if alone else chain)
        loss = student.distillation or Distillation()
        guidance = "none" if alone else found["guidance"]
        return Configuration(Chain(models, guidance), loss, student.recipe.lr)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise InputError("best.yaml: is damaged; --resume of its run writes it again") from None


def _check_models(best: Path, found: Mapping[str, Any], stages: Sequence[StageSpec]) -> None:
    """That the networks are those of the search.

    Raises:
        InputError: their code has changed since.
    """
    trained = [StageSpec.from_dict(stage).architecture for stage in found["stages"]]
    now = [stage.architecture for stage in stages]
    if trained != now:
        names = ", ".join(a.name for a, b in zip(now, trained, strict=False) if a != b)
        raise InputError(
            f"{best}: {names or 'its models'} aren't what they were when it was found; put their "
            "code back"
        )


def _plan(planner: Planner, options: Options, data: PreparedData, store: Store) -> Planner:
    """With the weights of the teacher, where the user has brought them along."""
    if options.teacher_weights is None:
        return planner
    architecture = planner.architecture(planner.config.space.teacher)
    teacher = read_teacher(Path(options.teacher_weights), architecture)
    planner = replace(planner, given=teacher.checksum)
    store.put(*as_entry(teacher, planner.teacher(), data, store))
    return planner


def _train(
    stages: Sequence[StageSpec], data: PreparedData, store: Store, folder: Path
) -> tuple[bytes, float | None]:
    """The student's weights, and its test accuracy if it lies there finished.

    Raises:
        InputError: something else lies there.
    """
    if folder.exists() and any(folder.iterdir()):
        load_student(folder)
        known = load_best(folder)
        if known["stages"][-1]["key"] != stages[-1].key:
            raise InputError(f"--out {folder}: holds another student; choose a fresh folder")
        return b"", known["test_accuracy"]
    Trial(stages, data, store).run()
    entry = store.get(stages[-1].key)
    if entry is None:
        raise InputError(f"{store.root}: loses what is stored in it; look at its disk")
    return entry.tensors, None


def _write(
    folder: Path,
    found: Mapping[str, Any],
    stages: Sequence[StageSpec],
    data: PreparedData,
    weights: bytes,
    test: float | None,
    repeat: int,
) -> None:
    make_folder(folder)
    value = {
        **found,
        "validation_accuracy": None,
        "test_accuracy": test,
        "test_reads": int(test is not None),
        "retrained": {
            "repeat": repeat,
            "what": "on training and validation images, with a seed of its own; what the search "
            "measured stands under comparison and confirmation",
        },
        "data": {k: v for k, v in data.info.to_dict().items() if k != "path"},
        "stages": [{"key": stage.key, **stage.to_dict()} for stage in stages],
        "versions": versions(),
    }
    write_student(RunFolder(folder), value, weights)
