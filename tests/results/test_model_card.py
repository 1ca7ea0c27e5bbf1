from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dgkd_search.data import DataInfo
from dgkd_search.distillation.chain import Chain
from dgkd_search.results.best_config import Accuracies, BestConfig
from dgkd_search.results.model_card import (
    ExportedModel,
    ModelCard,
    forms_table,
    is_model_card,
    model_card,
)
from dgkd_search.study.replication_report import MeanInterval, ReplicationReport, ReplicationRow
from dgkd_search.study.space import Configuration
from dgkd_search.training.recipe import Distillation
from dgkd_search.utils.tables import Column, Table

FORMS = [ExportedModel("PyTorch", 123_456, 0.1234, 5.678), ExportedModel("onnx", 98_765_432, 1, 99)]
CARD = """\
# resnet8 on digits

A classifier of 3 classes for 8 x 8 images of 1 channel, trained with dgkd-search.

- chain: resnet20 > resnet14 > resnet8, dense guidance, drop probability 0.25
- trained on 1,500 images (fingerprint 0ca4)
- validation accuracy 96.25 % (used by the search for selection); test accuracy 95.00 %

## With fresh seeds

Validation accuracy in percent, mean and 95 % interval:

|  | % | seeds |
| --- | ---: | ---: |
| labels alone | 90.00 | 1 |

## Use

Images are float32 [batch, 1, 8, 8], pixels in 0..255; normalization is part of the model. Outputs \
are logits in the order of the classes: cat, \\*dog\\*, a\\|b.

    model = dgkd_search.load_student("FOLDER")    # student.safetensors, best.yaml
    logits = model(images)
    one
    two
    three

## Size and latency

One CPU thread, median of 30 runs. Every form predicts the same classes as the \
PyTorch model on 64 validation images.

|  | MB | one image, ms | 64 images, ms |
| --- | ---: | ---: | ---: |
| PyTorch | 0.123 | 0.12 | 5.68 |
| onnx | 98.8 | 1.00 | 99.00 |

## Recipe

- resnet20: pretrained weights
- resnet14: 1 epoch, batch size 32, learning rate 0.05 (constant), weight decay 0.0005, \
augmentation none; 1 teacher, weight 0.9, temperature 4
- resnet8: 1 epoch, batch size 32, learning rate 0.05 (constant), weight decay 0.0005, \
augmentation none; 2 teachers, weight 0.9, temperature 4

## Versions

python 3.11.7, torch 2.6
"""


@pytest.fixture
def card(stages_of: Any) -> ModelCard:
    teacher, *others = stages_of("resnet20", "resnet14", "resnet8")
    return ModelCard(
        student="resnet8",
        dataset="digits",
        classes=("cat", "*dog*", "a|b"),
        image_size=8,
        channels=1,
        chain=("resnet20", "resnet14", "resnet8"),
        guidance="dense",
        drop_prob=0.25,
        train_count=1500,
        fingerprint="0ca4",
        retrained=False,
        validation=96.25,
        test=95.0,
        replicates=Table(
            (Column(), Column("%", "right"), Column("seeds", "right")),
            [("labels alone", "90.00", 1)],
        ),
        stages=(replace(teacher, pretrained="ab" * 32), *others),
        forms=forms_table(FORMS, 64),
        uses=("one\ntwo", "three"),
        images=64,
        versions={"python": "3.11.7", "torch": "2.6"},
    )


def test_a_card_to_the_letter(card: ModelCard) -> None:
    assert str(card) == CARD


def test_what_is_not_known_is_left_out(card: ModelCard) -> None:
    text = str(replace(card, replicates=None, test=None))
    assert "fresh seeds" not in text
    assert "(used by the search for selection)\n\n## Use" in text
    assert "\n- accuracy not measured\n" in str(replace(card, validation=None, test=None))
    assert ", including the validation set\n" in str(replace(card, retrained=True))


def test_the_method_is_named(card: ModelCard) -> None:
    assert replace(card, drop_prob=None).method == "dense guidance"
    plain = replace(card, chain=("resnet20", "resnet8"), stages=card.stages[::2])
    assert plain.method == "plain KD"
    assert replace(plain, stages=card.stages[-1:]).method == "labels alone"


def test_of_many_classes_some_are_named(card: ModelCard) -> None:
    text = str(replace(card, classes=tuple(f"c{i}" for i in range(103)), channels=3))
    assert "c18, c19 and 83 more (best.yaml).\n" in text
    assert "103 classes for 8 x 8 images of 3 channels" in text


def test_the_card_of_a_best_yaml(card: ModelCard) -> None:
    alone = ReplicationRow(None, None, None, None, MeanInterval(90.0, None), (90.0,))
    chain, values = "resnet20 > resnet8", (95.0, 95.252)
    other = ReplicationRow(0, chain, "dense", 0.25, MeanInterval(95.126, 0.5), values)
    info = DataInfo("digits", card.classes, 1, 8, (0.5,), (0.5,), 1500, 10, "0ca4", "")
    chosen = Configuration(Chain(card.chain), Distillation(drop_prob=0.25), 0.05)
    best = replace(
        BestConfig.of(
            3,
            chosen,
            card.stages,
            info,
            Accuracies(96.25, 95.0, None, None, None, None),
            options={},
            test_reads=1,
            confirmation=ReplicationReport((alone, other), True),
        ),
        versions=card.versions,
    )
    row = "| labels alone | 90.00 | 1 |\n"
    more = "| resnet20 > resnet8, drop 0.25 | 95.13 ± 0.50 | 2 |\n"
    assert model_card(best, FORMS, card.uses, 64) == CARD.replace(row, row + more)
    again = best.retrained_as(1, card.stages, info)
    assert ModelCard.from_best(again, FORMS, (), 64).retrained


def test_the_template_is_in_the_package() -> None:
    """setuptools includes only non-Python files that pyproject.toml names."""
    root = Path(__file__).parents[2]
    patterns = tomllib.loads((root / "pyproject.toml").read_text())
    named = patterns["tool"]["setuptools"]["package-data"]["dgkd_search"]
    templates = {*(root / "dgkd_search").rglob("*.jinja")}
    assert templates == {path for name in named for path in (root / "dgkd_search").glob(name)} - {
        root / "dgkd_search" / "py.typed"
    }


def test_cards_of_every_version_are_recognized() -> None:
    assert is_model_card(CARD.encode())
    assert is_model_card(CARD.replace("trained with", "found by").encode())
    assert not is_model_card(b"# My project, with a student of a search")
