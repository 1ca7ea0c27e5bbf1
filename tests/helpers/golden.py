"""Golden values of keys and weights, and of everything that determines them.

    python tests/helpers/golden.py

writes ``tests/compatibility/frozen/golden.json``. Write it again only when
``TRAINING_VERSION`` is raised or a family is added. ``test_golden.py`` compares with it.

Only this module imports the internals of the package that golden values need.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dgkd_search.data import PreparedData, prepare
from dgkd_search.data.config import DataConfig
from dgkd_search.distillation.chain import Chain
from dgkd_search.distillation.stages import ChainSettings, chain_stages
from dgkd_search.models import build, get_family
from dgkd_search.models.architecture import Architecture
from dgkd_search.models.weight_names import to_earlier_names
from dgkd_search.training.recipe import NUMERICS, Distillation, Numerics, Recipe
from dgkd_search.training.spec import OutputsSpec, StageSpec
from dgkd_search.training.train_stage import train_stage
from dgkd_search.training.weights import to_bytes
from dgkd_search.utils.hashing import derive_seed
from dgkd_search.workflows.single_chain import plan

FILE = Path(__file__).parents[1] / "compatibility" / "frozen" / "golden.json"

# The smallest member of each family: all tensors are compared, and two steps are trained.
SMALLEST = {
    "resnet": "resnet8",
    "plain": "plain2",
    "plain-c10": "plain2-c10",
    "wrn": "wrn_10_1",
    "vgg": "vgg8",
    "resnet-imagenet": "resnet18",
}
# Members with parts that the smallest ones lack: only totals are compared.
OTHERS = {
    "resnet8x4": "resnet",
    "resnet20": "resnet",
    "plain10": "plain",
    "plain8-c10": "plain-c10",
    "wrn_16_2": "wrn",
    "vgg13": "vgg",
    "resnet50": "resnet-imagenet",
}
# Three members per family, only for keys.
CHAINS = {
    "resnet": ("resnet20", "resnet14", "resnet8"),
    "plain": ("plain10", "plain6", "plain2"),
    "plain-c10": ("plain10-c10", "plain6-c10", "plain2-c10"),
    "wrn": ("wrn_40_2", "wrn_22_2", "wrn_16_2"),
    "vgg": ("vgg13", "vgg11", "vgg8"),
    "resnet-imagenet": ("resnet50", "resnet34", "resnet18"),
}

Values = dict[str, Any]


def everything(folder: Path) -> Values:
    """Return all golden values.

    Args:
        folder: an empty folder for data.
    """
    return {
        "data": fingerprints(folder),
        **named(),
        "spec": settings()["everything else"][-1].to_dict(),
        "keys": {name: [spec.key for spec in specs] for name, specs in settings().items()},
        "defaults": defaults(folder),
        "drawn": {name: drawn(family, name) for family, name in SMALLEST.items()},
        "totals": {name: totals(family, name) for name, family in OTHERS.items()},
        **trained(folder),
    }


# Keys of stages.


def named() -> Values:
    return {
        "seeds": {"": derive_seed(), "stage,a,0": derive_seed("stage", "a", 0)},
        "outputs": {name: spec.key for name, spec in outputs().items()},
    }


def pictures(folder: Path) -> Path:
    """Return color images of three classes whose pixels are computed from their position."""
    file = folder / "pictures.npz"
    if not file.exists():
        count = 24 + 12
        at = np.arange(count * 8 * 8 * 3).reshape(count, 8, 8, 3)
        images = ((at * at // 7 + at // 64 * 31) % 251).astype(np.uint8)
        labels = np.arange(count) % 3
        images[labels == 1, :4] //= 3
        images[labels == 2, :, 4:] //= 5
        np.savez(
            file,
            train_images=images[:24],
            train_labels=labels[:24],
            val_images=images[24:],
            val_labels=labels[24:],
            classes=np.array(["a", "b", "c"]),
        )
    return file


def prepared(folder: Path, **settings: Any) -> PreparedData:
    return prepare(DataConfig("arrays", str(pictures(folder)), **settings), folder / "data")


def fingerprints(folder: Path) -> Values:
    digits: dict[str, dict[str, Any]] = {
        "digits": {},
        "limit": {"train_limit": 100},
        "split": {"split_seed": 1},
        "size": {"image_size": 12, "train_limit": 100},
        "merged": {"train_limit": 100, "merged": True},
    }
    found = {
        name: prepare(DataConfig("digits", **values), folder / "data").info.fingerprint
        for name, values in digits.items()
    }
    return {
        **found,
        "pictures": prepared(folder).info.fingerprint,
        "normalised": prepared(folder, normalize="cifar10").info.fingerprint,
    }


RECIPE = Recipe(8, 128, 0.1, 1e-4, "step", "crop", views=4)


def stages(
    *models: str,
    guidance: str = "dense",
    of: Callable[[str], Architecture] | None = None,
    **settings: Any,
) -> tuple[StageSpec, ...]:
    """Return the stages of a ResNet chain, on data that need not exist."""
    values: dict[str, Any] = {
        "architecture": of or get_family("resnet").architectures(10, 1, 8),
        "data": "0123456789abcdef0123456789abcdef",
        "recipe": RECIPE,
        "student_recipe": RECIPE,
        "distillation": Distillation(),
        "assistant_distillation": Distillation(),
        "numerics": NUMERICS["cpu"],
    }
    return chain_stages(
        Chain(models or CHAINS["resnet"], guidance), ChainSettings(**{**values, **settings})
    )


def settings() -> dict[str, tuple[StageSpec, ...]]:
    """Return chains that differ from the first in one setting, and one that differs in all."""
    drop = Distillation(drop_prob=0.25)
    cpu = NUMERICS["cpu"]

    def own(name: str) -> Architecture:
        return Architecture("mlp", name, 10, 1, 8, "mymodels", "c" * 32)

    return {
        "dense": stages(),
        "sequential": stages(guidance="sequential"),
        "teacher": stages(guidance="teacher"),
        "none": stages(guidance="none"),
        "two models": stages("resnet20", "resnet8"),
        "drop": stages(distillation=drop),
        "drop everywhere": stages(
            *("resnet26", "resnet20", "resnet14", "resnet8"),
            distillation=drop,
            assistant_distillation=drop,
        ),
        "temperature": stages(distillation=Distillation(temperature=2.5)),
        "kd weight": stages(distillation=Distillation(kd_weight=0.55)),
        "labels alone count": stages(distillation=Distillation(kd_weight=0)),
        "sum": stages(distillation=Distillation(loss_scale="sum")),
        "lr": stages(student_recipe=replace(RECIPE, lr=0.025)),
        "epochs": stages(student_recipe=replace(RECIPE, epochs=16)),
        "views": stages(recipe=Recipe(40, 64, 0.05, 5e-4, "late", "crop+flip")),
        "plain views": stages(recipe=Recipe(40, 64, 0.05, 0, "cosine", "none")),
        "momentum": stages(recipe=replace(RECIPE, momentum=0.5)),
        "replicate": stages(replicate=3),
        "train seed": stages(train_seed=7),
        "online": stages(outputs="online"),
        "bf16": stages(numerics=replace(cpu, precision="bf16")),
        "compiled": stages(numerics=replace(cpu, compiled=True)),
        "threads": stages(numerics=replace(cpu, threads=2)),
        "plain numerics": stages(numerics=Numerics()),
        "gpu": stages(numerics=NUMERICS["cuda"]),
        "given": stages(pretrained={"resnet20": "d" * 32}),
        "own": stages("large", "mini", of=own),
        "everything else": stages(
            recipe=Recipe(3, 16, 0.3, 1e-3, "thirds", "resized-crop+flip", 2, 0.8),
            student_recipe=Recipe(5, 32, 0.2, 2e-3, "onecycle", "flip", 3, 0.7),
            distillation=Distillation(0.7, 3, "sum", 0.75),
            assistant_distillation=Distillation(0.6, 2, "mean", 0.5),
            numerics=Numerics("cuda", 3, "bf16", "contiguous", True),
            train_seed=11,
            replicate=2,
            outputs="online",
        ),
    }


def outputs() -> dict[str, OutputsSpec]:
    first = OutputsSpec("0123456789abcdef0123456789abcdef", "crop", 0, NUMERICS["cpu"])
    return {
        "first": first,
        "flip": replace(first, augment="crop+flip"),
        "bank": replace(first, bank=5),
        "gpu": replace(first, numerics=NUMERICS["cuda"]),
    }


def defaults(folder: Path) -> Values:
    """Return the keys of chains with the default settings of families and datasets."""
    data: dict[str, dict[str, Any]] = {
        "digits": {"train_limit": 100},
        "arrays": {"data_dir": str(pictures(folder))},
    }
    keys = {}
    for dataset, values in data.items():
        for family, models in CHAINS.items():
            options: dict[str, Any] = {"gpus_per_trial": 0, "store": str(folder), **values}
            specs, _ = plan(models, dataset=dataset, family=family, drop_prob=0.5, **options)
            keys[f"{dataset} {family}"] = [spec.key for spec in specs]
    return keys


# What determines the weights.


def rounded(value: float) -> float:
    return float(f"{value:.8g}")


def sums(tensor: Tensor) -> list[float]:
    """Return the sum of the values, and of the absolute values."""
    values = tensor.double()
    return [rounded(float(values.sum())), rounded(float(values.abs().sum()))]


def network(family: str, name: str) -> dict[str, Tensor]:
    """Return newly drawn weights of a network, under the names that they had at first."""
    architecture = get_family(family).architectures(3, 3, 8)(name)
    model = build(architecture, torch.Generator().manual_seed(20090825))
    return to_earlier_names(family, model.state_dict())


def drawn(family: str, name: str) -> list[list[Any]]:
    """Return name, shape, sums and first three values of each tensor, in order."""
    return [
        [key, list(value.shape), *sums(value), *map(rounded, value.flatten()[:3].tolist())]
        for key, value in network(family, name).items()
    ]


def totals(family: str, name: str) -> list[Any]:
    """Return the number of tensors, a hash of names and shapes, and the sums of all values."""
    tensors = network(family, name)
    shapes = repr([(key, list(value.shape)) for key, value in tensors.items()])
    total, size = np.sum([sums(value) for value in tensors.values()], axis=0).tolist()
    named = hashlib.sha256(shapes.encode()).hexdigest()[:16]
    return [len(tensors), named, rounded(total), rounded(size)]


class Source(nn.Module):
    """A teacher whose logits are some pixels, so that machines cannot differ."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self.first = first

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = images.flatten(1)[:, self.first :: 50][:, :3]
        return logits * 2


def two_steps(family: str, name: str, data: PreparedData) -> dict[str, Values]:
    """Train two steps of a stage on labels and of one with two teachers and drops.

    Returns for each the loss, the number of teacher outputs used, the change of each tensor (sum of
    values and of absolute values), and the checksum of the weights.
    """
    recipe = Recipe(1, 12, 0.01, 0.05, "cosine", "crop+flip")
    chain = tuple(member.name for member in get_family(family).members[:3])[::-1]
    found = {}
    for kind, guidance, sources in (("labels", "none", 0), ("sources", "dense", 2)):
        spec = chain_stages(
            Chain(chain, guidance),
            ChainSettings(
                architecture=get_family(family).architectures(3, 3, 8),
                data=data.info.fingerprint,
                recipe=recipe,
                student_recipe=recipe,
                distillation=Distillation(0.7, 3, "mean", 0.5),
                assistant_distillation=Distillation(),
                numerics=NUMERICS["cpu"],
                train_seed=5,
            ),
        )[-1]
        assert spec.architecture.name == name
        learner = train_stage(spec, data, [Source(3), Source(20)][:sources])
        start = build(spec.architecture, generator(spec)).state_dict()
        end = learner.model.state_dict()
        (row,) = learner.rows
        found[kind] = {
            "key": spec.key,
            "loss": rounded(row.train_loss),
            "taught": row.taught,
            "change": [sums(end[key].double() - value.double()) for key, value in start.items()],
            "sha256": hashlib.sha256(to_bytes(to_earlier_names(family, end))).hexdigest(),
        }
    return found


def generator(spec: StageSpec) -> torch.Generator:
    """Return the generator that draws a stage's weights."""
    return torch.Generator().manual_seed(derive_seed(spec.seed, "initialisation", 0))


def trained(folder: Path) -> Values:
    data = prepared(folder)
    found = {name: two_steps(family, name, data) for family, name in SMALLEST.items()}
    bits = {
        name: {kind: stage.pop("sha256") for kind, stage in kinds.items()}
        for name, kinds in found.items()
    }
    return {"trained": found, "bits": {"machine": machine(), "sha256": bits}}


def machine() -> dict[str, str]:
    """Return what affects last bits: torch's version, and the properties that select kernels."""
    processor = platform.processor()
    described = Path("/proc/cpuinfo")
    if described.exists():
        kinds = ("model name", "flags", "Features", "CPU part")
        lines = described.read_text().splitlines()
        processor = "\n".join(sorted({line for line in lines if line.startswith(kinds)}))
    return {
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "processor": hashlib.sha256(processor.encode()).hexdigest()[:16],
    }


def to_text(values: Mapping[str, Any]) -> str:
    """Return JSON with one line per innermost entry."""

    def lines(value: object, indent: str) -> str:
        inner = f"{indent} "
        if isinstance(value, Mapping) and value:
            parts = [f"{json.dumps(k)}: {lines(v, inner)}" for k, v in value.items()]
            return "{\n" + ",\n".join(inner + part for part in parts) + f"\n{indent}}}"
        if isinstance(value, Sequence) and value and isinstance(value[0], list):
            return "[\n" + ",\n".join(inner + json.dumps(part) for part in value) + f"\n{indent}]"
        return json.dumps(value)

    return lines(values, "") + "\n"


def main() -> None:
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        FILE.write_text(to_text(everything(Path(folder))))
    print(f"{FILE}: {FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
