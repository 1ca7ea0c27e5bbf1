"""Streamed images equal those in memory to the last bit, and no process is left behind."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.random_states import random_states
from helpers.stages import WithoutSeconds
from PIL import Image, ImageOps
from torch import Tensor

from dgkd_search.data import PreparedData, prepare
from dgkd_search.data.augmentation import crop_box
from dgkd_search.data.config import AUGMENTS, DataConfig
from dgkd_search.distillation.chain import Chain
from dgkd_search.distillation.stages import ChainSettings, chain_stages
from dgkd_search.distillation.trial import Trial
from dgkd_search.errors import StageFailed
from dgkd_search.models import get_family
from dgkd_search.store.store import Store
from dgkd_search.training.batches import DeviceData
from dgkd_search.training.loader_workers import WorkerProcess
from dgkd_search.training.recipe import Distillation, Numerics, Recipe
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.streaming import StreamedData, open_data, worker_count
from dgkd_search.training.train_stage import train_stage
from dgkd_search.training.trainer import Trainer, views_of

CPU = torch.device("cpu")

# Some machines have fewer than three cores.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 images of three classes and several sizes: turned JPEG, transparent and 12-bit PNG."""
    root = tmp_path_factory.mktemp("folder") / "data"
    generator = np.random.default_rng(0)
    for name, low in (("a", 0), ("b", 60), ("c", 120)):
        (root / "train" / name).mkdir(parents=True)
        for i in range(30):
            pixels = generator.integers(low, low + 120, (16 + i % 3, 16 + i % 5, 3), np.uint8)
            image, path, exif = (
                Image.fromarray(pixels),
                root / "train" / name / str(i),
                Image.Exif(),
            )
            exif[0x0112] = i % 8 + 1
            if i % 2 == 0:
                image.save(path.with_suffix(".jpg"), exif=exif)
                continue
            if i % 3 == 0:
                image.putalpha(Image.fromarray(pixels[..., 0]))
            elif i % 5 == 0:
                image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 16)
            image.save(path.with_suffix(".png"), exif=exif)
    return root


def as_decoded(path: Path) -> Image.Image:
    """Return the upright RGB picture, on white, by other means than the package uses."""
    image: Image.Image = ImageOps.exif_transpose(Image.open(path))
    if image.mode == "I;16":
        image = Image.fromarray((np.asarray(image) // 16).astype(np.uint8))
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def prepared_from(folder: Path, images: str, cache: Path) -> PreparedData:
    return prepare(DataConfig("imagefolder", str(folder), 16, images=images), cache)


@pytest.fixture(scope="module")
def memory(folder: Path) -> PreparedData:
    return prepared_from(folder, "memory", folder.parent / "cache")


@pytest.fixture(scope="module")
def streamed(folder: Path, memory: PreparedData) -> PreparedData:
    """The same images, streamed; with the in-memory fingerprint, which seeds the views."""
    data = prepared_from(folder, "stream", folder.parent / "cache")
    assert data.info.streamed and data.info.fingerprint != memory.info.fingerprint
    return PreparedData(data.path, replace(data.info, fingerprint=memory.info.fingerprint))


@pytest.fixture
def data(streamed: PreparedData) -> StreamedData:
    return StreamedData(streamed, CPU, 1)


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[WorkerProcess]]:
    """Records every worker that a test starts; afterwards, none may live."""
    started: list[WorkerProcess] = []
    plain = WorkerProcess.start

    def start(self: WorkerProcess) -> None:
        plain(self)
        started.append(self)

    monkeypatch.setattr(WorkerProcess, "start", start)
    yield started
    assert not [worker for worker in started if is_there(worker)]


def is_there(worker: WorkerProcess) -> bool:
    """Return whether a process still exists, even as a zombie; its server may take a moment."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(worker.pid or 0, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.02)
    return True


def shuffled(count: int, size: int = 32) -> tuple[Tensor, ...]:
    return torch.split(torch.randperm(count, generator=torch.Generator().manual_seed(1)), size)


def equal(some: Iterator[Any], others: Iterator[Any]) -> bool:
    """Return whether two iterators yield the same tensors."""
    pairs = list(itertools.zip_longest(some, others))
    return bool(pairs) and all(torch.equal(x, y) for pair in pairs for x, y in zip(*pair))  # noqa: B905


@pytest.mark.parametrize("augment", [a for a in AUGMENTS if not a.startswith("resized")])
def test_batches_are_those_of_memory_for_any_number_of_workers(
    memory: PreparedData, streamed: PreparedData, augment: str, workers: list[WorkerProcess]
) -> None:
    at_hand = DeviceData(memory, CPU)
    views = views_of(memory.info, augment)
    batches = shuffled(at_hand.count)
    assert len(batches) == 3 and len(batches[-1]) < 32
    for count, bank in ((1, 0), (2, 1), (3, 1)):
        data = StreamedData(streamed, CPU, count)
        assert data.count == at_hand.count
        assert equal(data.batches(batches, views, bank), at_hand.batches(batches, views, bank))
    assert len(workers) >= 1 + 2 + 3


def test_resized_crops_are_parts_of_the_files_for_any_number_of_workers(
    streamed: PreparedData,
) -> None:
    views = views_of(streamed.info, "resized-crop+flip")
    bank = views.bank(2)
    assert bank is not None
    batches = shuffled(streamed.info.train_count)
    one, two = (StreamedData(streamed, CPU, count) for count in (1, 2))
    assert equal(one.batches(batches, views, 2), two.batches(batches, views, 2))
    rows, shown = next(iter(one.batches(batches[:1], views, 2)))
    mirrored = 0
    for row, image in zip(rows.tolist(), shown, strict=True):
        (path,) = streamed.listing("train").paths([row])
        picture = as_decoded(path)
        left, top, wide, tall = crop_box(bank.offsets[row][None], *picture.size)[0].tolist()
        box = (left, top, min(left + wide, picture.width), min(top + tall, picture.height))
        part = np.asarray(picture.resize((16, 16), Image.Resampling.BILINEAR, box=box))
        part = part[:, ::-1] if bank.flips[row] else part
        mirrored += bool(bank.flips[row])
        expected = torch.from_numpy(part.transpose(2, 0, 1).copy())[None]
        assert torch.equal(image[None], one.normalize(expected))
    assert 0 < mirrored < len(rows)


def test_labels_validation_and_order_are_those_of_memory(
    memory: PreparedData, data: StreamedData
) -> None:
    at_hand = DeviceData(memory, CPU)
    rows = torch.tensor([3, 80, 3, 0])
    assert torch.equal(data.labels(rows), at_hand.labels(rows))
    assert equal(data.validation(), at_hand.validation())
    assert equal(iter([data.in_order()]), iter([at_hand.in_order()]))
    views = views_of(memory.info, "none")
    with torch.inference_mode():  # as teachers are run
        assert equal(
            data.batches(data.in_order(), views, 0), at_hand.batches(data.in_order(), views, 0)
        )


def test_large_parts_are_evaluated_in_large_batches(
    memory: PreparedData, data: StreamedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgkd_search.training.streaming.evaluation_batch", lambda *_: 4)
    monkeypatch.setattr("dgkd_search.training.batches.evaluation_batch", lambda *_: 4)
    assert [len(rows) for rows in data.in_order()] == [4] * 20 + [1]
    assert equal(data.validation(), DeviceData(memory, CPU).validation())


def test_nothing_to_show_starts_no_worker(data: StreamedData, workers: list[WorkerProcess]) -> None:
    assert list(data.batches([], views_of(data.info, "none"), 0)) == []
    assert not workers


def test_no_global_random_state_is_touched(data: StreamedData) -> None:
    before = random_states()
    list(data.validation())
    assert random_states() == before


def close(stream: Any) -> None:
    stream.close()


def forget(stream: Any) -> None:
    """Do nothing: the last reference to the argument ends here."""


def fail(stream: Any) -> None:
    with pytest.raises(RuntimeError, match="of somebody else"):
        stream.throw(RuntimeError("of somebody else"))


@pytest.mark.parametrize("end", [close, forget, fail])
def test_an_iterator_that_ends_early_leaves_no_process(
    data: StreamedData, workers: list[WorkerProcess], end: Callable[[Any], None]
) -> None:
    stream = data.batches(shuffled(data.count, 2), views_of(data.info, "crop"), 0)
    next(stream)
    (worker,) = workers
    assert worker.is_alive()
    end(stream)
    del stream
    assert not worker.is_alive()


def test_it_works_outside_of_the_main_thread(
    memory: PreparedData, data: StreamedData, workers: list[WorkerProcess]
) -> None:
    found: list[bool] = []
    at_hand = DeviceData(memory, CPU)

    def work() -> None:
        found.append(equal(data.validation(), at_hand.validation()))
        next(stream := data.validation())
        stream.close()  # type: ignore[attr-defined]

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True] and len(workers) == 2


def test_a_worker_that_is_killed_ends_the_stage_in_one_line(
    data: StreamedData, workers: list[WorkerProcess]
) -> None:
    stream = data.batches(shuffled(data.count, 2), views_of(data.info, "none"), 0)
    next(stream)
    os.kill(workers[0].pid or 0, signal.SIGKILL)
    with pytest.raises(StageFailed, match="a process that decodes images died") as caught:
        list(stream)
    assert "\n" not in str(caught.value) and "--concurrency" in str(caught.value)


def test_a_worker_that_cannot_be_started_ends_the_stage_in_one_line(
    data: StreamedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: WorkerProcess) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(WorkerProcess, "start", start)
    with pytest.raises(StageFailed, match=r"can't be started .*temporarily unavailable"):
        list(data.validation())


def specs(data: PreparedData, outputs: str = "stored", epochs: int = 2) -> tuple[StageSpec, ...]:
    """Return a small chain on the data."""
    info = data.info
    recipe = Recipe(epochs, 27, 0.05, 5e-4, "constant", "crop+flip")
    return chain_stages(
        Chain(("resnet14", "resnet8"), "dense"),
        ChainSettings(
            architecture=get_family("resnet").architectures(
                len(info.classes), info.channels, info.image_size
            ),
            data=info.fingerprint,
            recipe=replace(recipe, epochs=1, views=0),
            student_recipe=recipe,
            distillation=Distillation(),
            assistant_distillation=Distillation(),
            numerics=Numerics(),
            outputs=outputs,
        ),
    )


@pytest.mark.parametrize("outputs", ["stored", "online"])
def test_training_gives_the_weights_that_it_gives_in_memory(
    memory: PreparedData,
    streamed: PreparedData,
    outputs: str,
    without_seconds: WithoutSeconds,
    workers: list[WorkerProcess],
) -> None:
    first, second = specs(memory, outputs)
    learners: list[Trainer] = []
    for data in (memory, streamed):
        teacher = train_stage(first, data)
        learners.append(train_stage(second, data, [teacher.model]))
    assert learners[0].weights() == learners[1].weights()
    assert without_seconds(learners[0].rows) == without_seconds(learners[1].rows)
    assert workers


@pytest.mark.parametrize("outputs", ["stored", "online"])
def test_a_trial_on_streamed_data(
    streamed: PreparedData, tmp_path: Path, outputs: str, workers: list[WorkerProcess]
) -> None:
    data = PreparedData(streamed.path, replace(streamed.info, fingerprint="f" * 32))
    store = Store(tmp_path)
    stages = specs(data, outputs)
    # As a search that prunes between two epochs.
    rows = iter(Trial(stages, data, store))
    assert [next(rows).stage for _ in range(2)] == ["resnet14", "resnet8"]
    rows.close()
    result = Trial(stages, data, store).run()
    assert [(stage.name, stage.trained) for stage in result.stages] == [
        ("resnet14", 0),
        ("resnet8", 1),
    ]
    assert all(stage.finished for stage in result.stages)
    assert result.forwards == data.info.train_count
    assert workers


@pytest.mark.parametrize("part", ["train", "validation"])
@pytest.mark.parametrize("harm", ["damaged", "gone"])
def test_an_image_that_cannot_be_read_is_named_in_one_line(
    folder: Path, tmp_path: Path, part: Any, harm: str, workers: list[WorkerProcess]
) -> None:
    copy = folder.rename(tmp_path / "copy")
    try:
        data = prepared_from(copy, "stream", tmp_path / "cache")
        (path,) = data.listing(part).paths([5])
        content = path.read_bytes()
        if harm == "damaged":
            path.write_bytes(content[:100])
        else:
            path.unlink()
        trial = Trial(specs(data), data, Store(tmp_path / "store"))
        with pytest.raises(StageFailed) as caught:
            trial.run()
        message = str(caught.value)
        assert message.startswith(f"{path}: not a readable image (")
        assert message.endswith("; replace or remove the file") and "\n" not in message
        path.write_bytes(content)
    finally:
        copy.rename(folder)


def test_where_the_data_lie_decides(memory: PreparedData, streamed: PreparedData) -> None:
    assert isinstance(open_data(memory, CPU), DeviceData)
    assert isinstance(open_data(streamed, CPU), StreamedData)


def test_the_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, expected in (
        (1, {("cpu", 1): 1, ("cpu", 4): 1, ("cuda", 1): 1}),
        (4, {("cpu", 1): 1, ("cpu", 3): 3, ("cpu", 9): 4, ("cuda", 1): 4}),
        (64, {("cpu", 1): 1, ("cpu", 32): 8, ("cuda", 1): 8}),
    ):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cores: set(range(n)))
        for (device, threads), count in expected.items():
            assert worker_count(torch.device(device), threads) == count
