"""Resolved options, and the errors of invalid ones."""

from __future__ import annotations

from typing import Any

import pytest

from dgkd_search.config.parse_options import parse_options
from dgkd_search.config.resolve import Resolved, resolve
from dgkd_search.errors import InputError


def resolved(**options: Any) -> Resolved:
    return resolve(parse_options(options))


def messages(**options: Any) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        resolved(**options)
    return caught.value.messages
