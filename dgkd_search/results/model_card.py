"""The model card of a student: its chain, recipe, accuracies, size and latency."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import jinja2

from dgkd_search.errors.shown import escape_markdown
from dgkd_search.results.best_config import BestConfig
from dgkd_search.study.replication_report import ReplicationReport
from dgkd_search.training.losses.base import KL
from dgkd_search.training.losses.registry import get_loss
from dgkd_search.training.recipe import Distillation
from dgkd_search.training.spec import StageSpec
from dgkd_search.utils.formatting import pluralize
from dgkd_search.utils.intervals import plus_minus
from dgkd_search.utils.option_values import OptionValue
from dgkd_search.utils.tables import Column, Table

CARD_MARK = "trained with dgkd-search"  # in every card: export overwrites no other README.md
_EARLIER_MARKS = ("found by dgkd-search",)


def is_model_card(text: bytes) -> bool:
    """Return whether this package, in this version or an earlier one, wrote a README.md."""
    return any(mark.encode() in text for mark in (CARD_MARK, *_EARLIER_MARKS))


@dataclass(frozen=True)
class ExportedModel:
    """The student or its teacher in one export form.

    Attributes:
        name: of the form.
        size: bytes of the file; for the teacher, of its weights.
        single, batch: milliseconds for one image and for a batch, on one CPU thread.
    """

    name: str
    size: int
    single: float
    batch: float


@dataclass(frozen=True)
class ModelCard:
    """The content of a model card.

    Attributes:
        classes: their names, in the order of the outputs.
        image_size: height and width in pixels.
        chain: names of the models, teacher first.
        drop_prob: drop probability of the student's teachers, or None.
        fingerprint: of the dataset.
        retrained: whether the student was trained on the validation images too.
        validation, test: accuracies in percent, or None.
        replicates: accuracies with fresh seeds, or None if there are none.
        stages: the recipe of each model, teacher first.
        forms: size and latency of each export form.
        uses: Python code that loads and runs the file of each form.
        images: number of images that the forms were compared on and timed with.
        versions: of packages, by name.
    """

    student: str
    dataset: str
    classes: tuple[str, ...]
    image_size: int
    channels: int
    chain: tuple[str, ...]
    guidance: str
    drop_prob: float | None
    train_count: int
    fingerprint: str
    retrained: bool
    validation: float | None
    test: float | None
    replicates: Table | None
    stages: tuple[StageSpec, ...]
    forms: Table
    uses: tuple[str, ...]
    images: int
    versions: Mapping[str, str]

    @classmethod
    def from_best(
        cls,
        best: BestConfig,
        forms: Sequence[ExportedModel],
        uses: Sequence[str],
        images: int,
    ) -> ModelCard:
        """Create the card of the student in best.yaml; see ``model_card``."""
        data, replication = best.data, best.confirmation
        return cls(
            student=best.student,
            dataset=data.dataset,
            classes=data.classes,
            image_size=data.image_size,
            channels=data.channels,
            chain=best.models,
            guidance=best.guidance,
            drop_prob=best.drop_probability,
            train_count=data.train_count,
            fingerprint=data.fingerprint,
            retrained=best.retrained is not None,
            validation=best.validation_accuracy,
            test=best.test_accuracy,
            replicates=_replicates_table(replication) if replication is not None else None,
            stages=best.stages,
            forms=forms_table(forms, images),
            uses=tuple(uses),
            images=images,
            versions=best.versions,
        )

    @property
    def method(self) -> str:
        """The guidance of the student, in words."""
        if len(self.chain) == 2:
            return "plain KD" if len(self.stages) > 1 else "labels alone"
        drop = f", drop probability {self.drop_prob:g}" if self.drop_prob else ""
        return f"{self.guidance} guidance{drop}"

    @property
    def accuracies(self) -> list[str]:
        """The measured accuracies, in words."""
        parts = []
        if self.validation is not None:
            parts.append(
                f"validation accuracy {self.validation:.2f} % (used by the search for selection)"
            )
        if self.test is not None:
            parts.append(f"test accuracy {self.test:.2f} %")
        return parts

    def __str__(self) -> str:
        """As Markdown."""
        return _template().render(card=self, mark=CARD_MARK)


def model_card(
    best: BestConfig, forms: Sequence[ExportedModel], uses: Sequence[str], images: int
) -> str:
    """Return the model card as Markdown.

    Args:
        best: the content of best.yaml.
        forms: export forms of the student, and the teacher for comparison.
        uses: Python code that loads and runs the file of each form.
        images: number of images that the forms were compared on and timed with.
    """
    return str(ModelCard.from_best(best, forms, uses, images))


def forms_table(forms: Sequence[ExportedModel], images: int) -> Table:
    """Return one row per form: its size, and its latency for one image and for ``images``."""
    columns = (
        Column(),
        Column("MB", "right", ".3g"),
        Column("one image, ms", "right", ".2f"),
        Column(f"{images} images, ms", "right", ".2f"),
    )
    return Table(columns, [(form.name, form.size / 1e6, form.single, form.batch) for form in forms])


def _replicates_table(replication: ReplicationReport) -> Table:
    """Return one row per configuration that was trained again with fresh seeds."""
    rows = []
    for row in replication.rows:
        name = row.chain or "labels alone"
        if row.drop_probability is not None:
            name += f", drop {row.drop_probability:g}"
        mean = plus_minus(row.interval.mean, row.interval.half_width)
        rows.append((name, mean, len(row.accuracies)))
    return Table((Column(), Column("%", "right"), Column("seeds", "right")), rows)


def _recipe_words(stage: StageSpec) -> str:
    if stage.pretrained:
        return "pretrained weights"
    recipe, loss = stage.recipe, stage.distillation
    words = (
        f"{pluralize(recipe.epochs, 'epoch')}, batch size {recipe.batch_size}, learning rate "
        f"{recipe.lr:g} "
        f"({recipe.schedule}), weight decay {recipe.weight_decay:g}, augmentation {recipe.augment}"
    )
    if loss is not None:
        teachers = pluralize(len(stage.teachers), "teacher")
        words += f"; {teachers}, {_loss_words(loss)}"
    return words


def _loss_words(settings: Distillation) -> str:
    loss, tau = get_loss(settings.loss.name), settings.used_temperature
    parts = [f"loss {loss.title}"] if settings.loss != KL else []
    if parts and loss.source:
        parts = [f"{parts[0]} ({loss.source})"]
    parts += [f"{name.replace('_', '-')} {_value_words(v)}" for name, v in settings.loss.options]
    parts.append(f"weight {settings.kd_weight:g}")
    if tau is not None:
        parts.append(f"temperature {tau:g}")
    return ", ".join(parts)


def _value_words(value: OptionValue) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


class _Markdown(str):
    """Text that is already Markdown; the template escapes every other value."""


def _escape(value: object) -> str:
    return value if isinstance(value, _Markdown) else escape_markdown(str(value))


def _code(pieces: Sequence[str]) -> _Markdown:
    return _Markdown("\n".join(textwrap.indent(piece, "    ") for piece in pieces))


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(  # autoescape is for HTML; finalize escapes Markdown
        loader=jinja2.PackageLoader("dgkd_search.results", ""),
        finalize=_escape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "code": _code,
        "pluralize": pluralize,
        "recipe": _recipe_words,
        "table": lambda table: _Markdown("\n".join(table.markdown())),
    }
    return environment.get_template("model_card.md.jinja")
