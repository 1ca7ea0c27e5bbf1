"""Defaults by family and dataset, with their sources."""

from __future__ import annotations

from typing import Any

DEFAULT_FAMILY = "resnet"

# Largest and smallest model of the default chain. Published for ResNet: 26 to 8, and 56 to 20;
# for wide ResNets 40-2 to 16-2, for VGG 13 to 8 (the field's CIFAR-100 benchmarks).
ENDS = {
    "resnet": ("resnet56", "resnet8"),
    "plain": ("plain10", "plain2"),
    "plain-c10": ("plain10-c10", "plain2-c10"),
    "wrn": ("wrn_40_2", "wrn_16_2"),
    "vgg": ("vgg13", "vgg8"),
    "resnet-imagenet": ("resnet50", "resnet18"),
}
DIGITS_ENDS = {"resnet": ("resnet26", "resnet8")}

BENCHMARK_RECIPE: dict[str, Any] = {
    "epochs": 240,
    "batch_size": 64,
    "lr": 0.05,
    "weight_decay": 5e-4,
    "schedule": "late",
}
# Those of arXiv 2009.08825 (experiments) for its first two families, the field's for the others.
RECIPES: dict[str, dict[str, Any]] = {
    "resnet": {
        "epochs": 160,
        "batch_size": 128,
        "lr": 0.1,
        "weight_decay": 1e-4,
        "schedule": "step",
    },
    "plain": {
        "epochs": 160,
        "batch_size": 128,
        "lr": 0.01,
        "weight_decay": 1e-4,
        "schedule": "constant",
    },
    "wrn": BENCHMARK_RECIPE,
    "vgg": BENCHMARK_RECIPE,
    "resnet-imagenet": {
        "epochs": 100,
        "batch_size": 512,
        "lr": 0.2,
        "weight_decay": 1e-4,
        "schedule": "thirds",
    },
}
# 1,150 images of 8x8 pixels are learnt in a few epochs.
DIGITS_RECIPE: dict[str, Any] = {
    "epochs": 12,
    "batch_size": 64,
    "lr": 0.1,
    "weight_decay": 5e-4,
    "schedule": "onecycle",
}
# What its networks are made for, and trained by everywhere.
IMAGENET_DATASETS: dict[str, Any] = {"image_size": 224, "augment": "resized-crop+flip"}
BUDGETS = {"digits": 20}
DEFAULT_BUDGET = 32
