"""Training of the best chain on all images, for use.

After the search the validation images may be trained on, too. Each repeat trains the complete chain
with its own seed and reads the test set once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dgkd_search.config.options import Options
from dgkd_search.config.resolve import resolve
from dgkd_search.config.yaml_file import to_yaml, to_yaml_values
from dgkd_search.data import PreparedData, has_test, prepare
from dgkd_search.data.cache import find_prepared
from dgkd_search.data.config import DataConfig
from dgkd_search.data.earlier_rules import why_other_pixels
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
    """Students of one configuration, each trained with its own chain.

    Attributes:
        chain: the chain that was trained.
        images: number of training images.
        folders: folders of the students, for ``load_student``.
        tests: test accuracies in percent, in the same order; empty without a test set.
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
            test = f"{mean} % (95 % interval of the mean; {each}), read once per repeat"
        names = ", ".join(str(folder) for folder in self.folders)
        return [
            f"chain       {self.chain}",
            f"trained on  {self.images:,} images, including the validation images",
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
    """Train the chain of a best.yaml on training and validation images.

    Cached stages are not trained again: a second call resumes an interrupted one, or adds repeats.

    Args:
        best: the file, or the folder that holds it.
        out: folder for ``repeat-1``, ``repeat-2``, …, each with a student and its best.yaml.
        repeats: number of trainings, at least 1.
        overrides: options for this machine: ``data_dir``, ``store``, ``teacher_weights``,
            ``models``, ``cpus_per_trial``, ``gpus_per_trial``.
        log: is called with a line at a time.

    Raises:
        InputError: best.yaml is damaged, has no options, or belongs to a retrained student; the
            data or the teacher's weights have changed; or ``out`` holds other files.
    """
    contents = load_best(best)
    if contents.retrained is not None:
        raise InputError(
            f"{best}: its student is already retrained; name the best.yaml of its search"
        )
    options = options_from_best(best, contents, overrides or {})
    resolved = resolve(options)
    config, options = resolved.config, resolved.options
    with open_store(options) as store:
        data = prepare_same_data(best, contents, config.data, store, log)
        configuration = _configuration(contents)
        check_same_loss(best, contents)
        _check_models(best, contents, Planner(config, data.info).stages(configuration), log)
        merged = _merged(best, config.data, data, store, log)
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
                _write_paths(folder, options)
                weights = _train(stages, merged, store)
                described = contents.retrained_as(repeat, stages, merged.info)
                write_best(RunFolder(folder), described, weights)
            test, why = _read_test_once(folder, config.data, merged, stages[-1])
            problem = problem or why
            if test is not None:
                tests.append(test)
                log(f"repeat {repeat} of {repeats}: {test:.2f} % on test")
            folders.append(folder)
        count = merged.info.train_count
        return Retrained(chain, count, tuple(folders), tuple(tests), problem)


def _merged(
    best: Path, config: DataConfig, data: PreparedData, store: Store, log: Log
) -> PreparedData:
    """Prepare training and validation images, decoded as ``data`` are.

    Raises:
        InputError: the rules of decoding have changed since the search.
    """
    config, rules = replace(config, merged=True), data.info.decoded_by.rules
    merged = prepare(config, store.data, log)
    if merged.info.decoded_by.rules != rules and (reason := why_other_pixels(config, rules)):
        earlier = find_prepared(config, store.data, rules)  # of an interrupted call
        if earlier is None:
            raise InputError(
                f"{best}: {reason}; training and validation images together can't be prepared by "
                "those rules any more, start a new search"
            )
        return earlier
    return merged


def _configuration(best: BestConfig) -> Configuration:
    """Return the configuration of a best.yaml."""
    student = best.stages[-1]
    labels_only = not student.teachers
    chain = (
        Chain((best.student,), NO_GUIDANCE) if labels_only else Chain(best.models, best.guidance)
    )
    return Configuration(chain, student.distillation or Distillation(), student.recipe.lr)


def _check_models(best: Path, contents: BestConfig, stages: Sequence[StageSpec], log: Log) -> None:
    """Check that the networks are those of the search.

    Raises:
        InputError: their code or their start weights have changed.
    """
    trained = [stage.architecture for stage in contents.stages]
    now = [stage.architecture for stage in stages]
    unstarted = [[replace(a, start="") for a in each] for each in (trained, now)]
    if unstarted[0] != unstarted[1]:
        names = ", ".join(a.name for a, b in zip(*unstarted[::-1], strict=False) if a != b)
        raise InputError(
            f"{best}: the code of {names or 'its models'} has changed since the search; restore it"
        )
    pairs = [pair for pair in zip(now, trained, strict=True) if pair[0] != pair[1]]
    if names := ", ".join(a.name for a, b in pairs if b.start):
        raise InputError(
            f"{best}: the constructors of {names} load other start weights than in the search; "
            "restore their files"
        )
    if names := ", ".join(a.name for a, _ in pairs):
        log(
            f"{best}: records no start weights of {names}, as an early version wrote it; those "
            "that their constructors load now are used"
        )


def _with_teacher(
    best: Path,
    contents: BestConfig,
    planner: Planner,
    options: Options,
    data: PreparedData,
    store: Store,
) -> Planner:
    """Add the pretrained teacher to a planner, if the search had one.

    Raises:
        InputError: the teacher's weights are missing or have changed.
    """
    wanted = contents.stages[0].pretrained
    if not wanted:
        return planner
    if options.teacher_weights is None:
        raise InputError(
            f"{best}: its teacher was pretrained; name the file of its weights with "
            "--teacher-weights"
        )
    architecture = planner.architecture(planner.config.space.teacher)
    teacher = read_teacher(Path(options.teacher_weights), architecture)
    if teacher.checksum != wanted:
        raise InputError(
            f"--teacher-weights {teacher.path}: differ from the weights of the search; name the "
            "file that the search used"
        )
    planner = replace(planner, pretrained=teacher.checksum)
    as_stage(teacher, planner.teacher(), data, store).put_into(store)
    return planner


def _finished(folder: Path, stages: Sequence[StageSpec]) -> bool:
    """Return whether the folder holds the finished student of these stages.

    Raises:
        InputError: the folder holds other files.
    """
    run = RunFolder(folder)
    expected = (run.student.name, run.config.name)  # an interrupted call may have left them
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    if run.best.name not in names:
        if any(name not in expected and not name.startswith(TEMPORARY) for name in names):
            raise InputError(f"--out {folder}: isn't empty; choose a new folder")
        return False
    load_student(folder)  # verifies checksums
    if load_best(folder).stages[-1].key != stages[-1].key:
        raise InputError(f"--out {folder}: holds another student; choose a new folder")
    return True


def _train(stages: Sequence[StageSpec], data: PreparedData, store: Store) -> bytes:
    Trial(stages, data, store).run()
    entry = store.get(stages[-1].key)
    if entry is None:
        raise InputError(f"{store.root}: a stored stage has disappeared; check the disk")
    return entry.tensors


def _read_test_once(
    folder: Path, config: DataConfig, data: PreparedData, student: StageSpec
) -> tuple[float | None, str | None]:
    """Return the student's test accuracy in percent; read the test set unless it is known.

    Returns:
        The accuracy and None; or None and why the test set couldn't be read (None without one).
    """
    run, known = RunFolder(folder), load_best(folder)
    if known.test_accuracy is not None or not has_test(config):
        return known.test_accuracy, None
    weights = run.student.read_bytes()
    # Count the read first: an interruption in between would hide it.
    counted = replace(known, test_reads=known.test_reads + 1)
    write_best(run, counted, weights)
    test, problem = test_accuracy(config, data.info, student, weights)
    write_best(run, known if test is None else replace(counted, test_accuracy=test), weights)
    return test, problem


def _write_paths(folder: Path, options: Options) -> None:
    """Write the paths of data and store, which an export of the student needs."""
    text = to_yaml(local_options(to_yaml_values(options)))
    write_bytes(RunFolder(folder).config, text.encode())
