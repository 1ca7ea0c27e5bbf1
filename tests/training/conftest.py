"""Fixtures: data on the device, and teachers."""

from __future__ import annotations

import pytest
from helpers.trainers import CPU, online

from dgkd_search.data import PreparedData
from dgkd_search.training.batches import DeviceData
from dgkd_search.training.teachers import OnlineTeachers
from dgkd_search.training.trainer import Trainer


@pytest.fixture(scope="module")
def data(digits: PreparedData) -> DeviceData:
    return DeviceData(digits, CPU)


@pytest.fixture
def sources(trained: tuple[Trainer, Trainer]) -> OnlineTeachers:
    return online(*(learner.model for learner in trained))


@pytest.fixture
def teacher(trained: tuple[Trainer, Trainer]) -> OnlineTeachers:
    return online(trained[0].model)
