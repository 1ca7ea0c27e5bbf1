"""The model card of a student: what it is, how it came about, what it was measured at."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from dgkd_search.training.losses.base import KL
from dgkd_search.training.losses.registry import get_loss
from dgkd_search.training.recipe import Distillation
from dgkd_search.utils.intervals import plus_minus

CARD_MARK = "found by dgkd-search"  # in every card


def model_card(
    best: Mapping[str, Any],
    forms: Sequence[Mapping[str, Any]],
    uses: Sequence[str],
    images: int,
) -> str:
    """The card as Markdown.

    Args:
        best: contents of best.yaml.
        forms: name, size (bytes), single and batch (milliseconds) of each form.
        uses: lines of Python code that use each form's file.
        images: that the forms were compared on, and timed with.
    """
    data, student = best["data"], best["student"]
    size, channels = data["image_size"], data["channels"]
    code = "\n".join(textwrap.indent(use, "    ") for use in uses)
    return f"""\
# {student} on {data["dataset"]}

A classifier of {len(data["classes"])} classes for {size} x {size} images of {channels} \
channel{"s" if channels > 1 else ""}, {CARD_MARK}.

- chain: {" > ".join([best["teacher"], *best["assistants"], student])}, {_guidance(best)}
- trained on {data["train_count"]:,} images (fingerprint {data["fingerprint"]})\
{_retrained(best)}
- {_accuracies(best)}
{_confirmed(best)}
## Use

Images are float32 [batch, {channels}, {size}, {size}], pixels in 0..255; normalization is part of \
the model. Outputs are logits in the order of the classes: {_classes(data["classes"])}.

    model = dgkd_search.load_student("FOLDER")    # student.safetensors, best.yaml
    logits = model(images)
{code}

## Size and latency

One CPU thread, median of 30 runs. Each form gave the model's predictions on {images} images of \
the validation part.

| | MB | one image, ms | {images} images, ms |
|---|---|---|---|
{_rows(forms)}

## Recipe

{_recipe(best)}

## Versions

{_versions(best)}
"""


def _guidance(best: Mapping[str, Any]) -> str:
    if not best["assistants"]:
        return "plain KD" if len(best["stages"]) > 1 else "labels alone"
    drop = best["drop_probability"]
    return f"{best['guidance']} guidance" + (f", drop probability {drop:g}" if drop else "")


def _retrained(best: Mapping[str, Any]) -> str:
    return ", those of validation among them" if "retrained" in best else ""


def _accuracies(best: Mapping[str, Any]) -> str:
    parts = [
        f"{name} accuracy {best[key]:.2f} %{note}"
        for name, key, note in (
            ("validation", "validation_accuracy", " (the search chose by validation)"),
            ("test", "test_accuracy", ""),
        )
        if best[key] is not None
    ]
    return "; ".join(parts) or "accuracy not measured"


def _confirmed(best: Mapping[str, Any]) -> str:
    replication = best.get("confirmation")
    if not replication:
        return ""
    rows = []
    for row in replication["configurations"]:
        name = "the student alone" if row["student_alone"] else row["chain"]
        if row.get("drop_probability") is not None:
            name += f", drop {row['drop_probability']:g}"
        mean = plus_minus(row["mean"], row["half_width"])
        rows.append(f"| {name} | {mean} | {len(row['accuracies'])} |")
    return "\n".join(
        [
            "",
            "## With fresh seeds",
            "",
            "Validation accuracy in percent, mean and 95 % interval:",
            "",
            "| | % | seeds |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def _classes(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:20])
    return shown + (f" and {len(classes) - 20} more (best.yaml)" if len(classes) > 20 else "")


def _rows(forms: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(
        f"| {form['name']} | {form['size'] / 1e6:.3g} "
        f"| {form['single']:.2f} | {form['batch']:.2f} |"
        for form in forms
    )


def _recipe(best: Mapping[str, Any]) -> str:
    lines = []
    for stage in best["stages"]:
        recipe, name = stage["recipe"], stage["architecture"]["name"]
        if stage.get("given"):
            lines.append(f"- {name}: weights given")
            continue
        line = (
            f"- {name}: {recipe['epochs']} epochs, batch {recipe['batch_size']}, rate "
            f"{recipe['lr']:g} ({recipe['schedule']}), weight decay {recipe['weight_decay']:g}, "
            f"augmentation {recipe['augment']}"
        )
        if settings := stage["distillation"]:
            line += (
                f"; {len(stage['sources'])} teacher{'s' if len(stage['sources']) > 1 else ''}, "
                f"{_loss(Distillation.from_dict(settings))}"
            )
        lines.append(line)
    return "\n".join(lines)


def _loss(settings: Distillation) -> str:
    loss, tau = get_loss(settings.loss.name), settings.used_temperature
    parts = [f"loss {loss.title}"] if settings.loss != KL else []
    if parts and loss.source:
        parts = [f"{parts[0]} ({loss.source})"]
    parts.append(f"weight {settings.kd_weight:g}")
    if tau is not None:
        parts.append(f"temperature {tau:g}")
    return ", ".join(parts)


def _versions(best: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in best["versions"].items())
