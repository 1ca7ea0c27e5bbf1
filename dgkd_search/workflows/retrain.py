"""From a found configuration to students for use: its chain trained anew, on all the images.

The search has chosen, so its validation images needn't be kept apart any more. Every repeat trains
the whole chain with a seed of its own, and reads the test set once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dgkd_search.config.options import Options
from dgkd_search.config.resolve import resolve
from dgkd_search.config.yaml_file import to_yaml, to_yaml_values
from dgkd_search.data import PreparedData, has_test, prepare
from dgkd_search.data.config import DataConfig
from dgkd_search.distillation.chain import Chain
from dgkd_search.distillation.guidances.registry import NO_GUIDANCE
from dgkd_search.distillation.pretrained import as_stage, read_teacher
from dgkd_search.distillation.trial import Trial
from dgkd_search.errors import InputError
from dgkd_search.results.best import load_best, load_student, write_best
from dgkd_search.results.best_config import BestConfig
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.store.store import Store
from dgkd_search.study.planner import Planner
from dgkd_search.study.space import Configuration
from dgkd_search.training.evaluation import test_accuracy
from dgkd_search.training.recipe import Distillation
from dgkd_search.training.spec import StageSpec
from dgkd_search.utils.files import TEMPORARY, make_folder, write_bytes
from dgkd_search.utils.intervals import half_width, plus_minus
from dgkd_search.utils.log import Log, silent
from dgkd_search.workflows.reproduce import (
    check_same_loss,
    local_options,
    open_store,
    options_from_best,
    prepare_same_data,
)


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
            mean = plus_minus(sum(self.tests) / len(self.tests), half_width(self.tests))
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
    overrides: Mapping[str, object] | None = None,
    log: Log = silent,
) -> Retrained:
    """Train the chain of a best.yaml again, on training and validation images.

    What the store has of it is not trained again: a call that was interrupted goes on, and more
    repeats are added to those that are there.

    Args:
        best: the file, or the folder it lies in.
        out: folder for ``repeat-1``, ``repeat-2``, …, each with a student and its best.yaml.
        repeats: how often, at least 1.
        overrides: options of the place: ``data_dir``, ``store``, ``teacher_weights``, ``models``,
            ``cpus_per_trial``, ``gpus_per_trial``.
        log: is given a line at a time.

    Raises:
        InputError: best.yaml is damaged, of before options were noted in it, or of a student that
            is retrained already; the data or the teacher's weights are others; or ``out`` holds
            something else.
    """
    contents = load_best(best)
    if contents.retrained is not None:
        raise InputError(f"{best}: is retrained already; name the best.yaml of its search")
    options = options_from_best(best, contents, overrides or {})
    resolved = resolve(options)
    config, options = resolved.config, resolved.options
    with open_store(options) as store:
        data = prepare_same_data(best, contents, config.data, store, log)
        configuration = _configuration(contents)
        check_same_loss(best, contents)
        _check_models(best, contents, Planner(config, data.info).stages(configuration))
        merged = prepare(replace(config.data, merged=True), store.data, log)
        chain = configuration.chain.canonical()
        folders, tests, problem = [], [], None
        for repeat in range(1, repeats + 1):
            seeded = Planner(replace(config, train_seed=config.train_seed + repeat), merged.info)
            planner = _with_teacher(best, contents, seeded, options, merged, store)
            stages = planner.stages(configuration)
            log(f"repeat {repeat} of {repeats}: {chain}")
            folder = out / f"repeat-{repeat}"
            if not _finished(folder, stages):
                make_folder(out)
                make_folder(folder)
                _write_places(folder, options)
                weights = _train(stages, merged, store)
                described = contents.retrained_as(repeat, stages, merged.info)
                write_best(RunFolder(folder), described, weights)
            test, why = _tested(folder, config.data, merged, stages[-1])
            problem = problem or why
            if test is not None:
                tests.append(test)
                log(f"repeat {repeat} of {repeats}: {test:.2f} % on test")
            folders.append(folder)
        count = merged.info.train_count
        return Retrained(chain, count, tuple(folders), tuple(tests), problem)


def _configuration(best: BestConfig) -> Configuration:
    """What a best.yaml has chosen."""
    student = best.stages[-1]
    labels_only = not student.teachers
    chain = (
        Chain((best.student,), NO_GUIDANCE) if labels_only else Chain(best.models, best.guidance)
    )
    return Configuration(chain, student.distillation or Distillation(), student.recipe.lr)


def _check_models(best: Path, contents: BestConfig, stages: Sequence[StageSpec]) -> None:
    """That the networks are those of the search.

    Raises:
        InputError: their code has changed since.
    """
    trained = [stage.architecture for stage in contents.stages]
    now = [stage.architecture for stage in stages]
    if trained != now:
        names = ", ".join(a.name for a, b in zip(now, trained, strict=False) if a != b)
        raise InputError(
            f"{best}: {names or 'its models'} aren't what they were when it was found; put their "
            "code back"
        )


def _with_teacher(
    best: Path,
    contents: BestConfig,
    planner: Planner,
    options: Options,
    data: PreparedData,
    store: Store,
) -> Planner:
    """With the weights of the teacher that the search was given, if it was.

    Raises:
        InputError: they aren't given now, or are others.
    """
    wanted = contents.stages[0].pretrained
    if not wanted:
        return planner
    if options.teacher_weights is None:
        raise InputError(
            f"{best}: its teacher was given; name the file of its weights with --teacher-weights"
        )
    architecture = planner.architecture(planner.config.space.teacher)
    teacher = read_teacher(Path(options.teacher_weights), architecture)
    if teacher.checksum != wanted:
        raise InputError(
            f"--teacher-weights {teacher.path}: aren't those that the search was given; name "
            "their file"
        )
    planner = replace(planner, pretrained=teacher.checksum)
    as_stage(teacher, planner.teacher(), data, store).put_into(store)
    return planner


def _finished(folder: Path, stages: Sequence[StageSpec]) -> bool:
    """Whether the student of these stages lies there.

    Raises:
        InputError: something else does.
    """
    run = RunFolder(folder)
    ours = (run.student.name, run.config.name)  # of a call that was interrupted
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    if run.best.name not in names:
        if any(name not in ours and not name.startswith(TEMPORARY) for name in names):
            raise InputError(f"--out {folder}: isn't empty; choose a fresh folder")
        return False
    load_student(folder)  # compares checksums
    if load_best(folder).stages[-1].key != stages[-1].key:
        raise InputError(f"--out {folder}: holds another student; choose a fresh folder")
    return True


def _train(stages: Sequence[StageSpec], data: PreparedData, store: Store) -> bytes:
    Trial(stages, data, store).run()
    entry = store.get(stages[-1].key)
    if entry is None:
        raise InputError(f"{store.root}: loses what is stored in it; look at its disk")
    return entry.tensors


def _tested(
    folder: Path, config: DataConfig, data: PreparedData, student: StageSpec
) -> tuple[float | None, str | None]:
    """The student's test accuracy in percent: the one that is known, or read now.

    Returns:
        It, or None and why it couldn't be read (None where there is no test set).
    """
    run, known = RunFolder(folder), load_best(folder)
    if known.test_accuracy is not None or not has_test(config):
        return known.test_accuracy, None
    weights = run.student.read_bytes()
    # Counted before it is read, or a stop in between would hide it.
    counted = replace(known, test_reads=known.test_reads + 1)
    write_best(run, counted, weights)
    test, problem = test_accuracy(config, data.info, student, weights)
    write_best(run, known if test is None else replace(counted, test_accuracy=test), weights)
    return test, problem


def _write_places(folder: Path, options: Options) -> None:
    """Where the data lie, for an export of the student from there."""
    text = to_yaml(local_options(to_yaml_values(options)))
    write_bytes(RunFolder(folder).config, text.encode())
