"""Starting Ray, with Ray replaced."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dgkd_search.study.config import Resources
from dgkd_search.study.ray_tune.ray_session import _connect, _environment


def test_a_sigterm_while_ray_starts_is_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray handles the signal itself until its start is complete."""

    def terminated(**_: object) -> None:
        sys.exit(15)

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=terminated))
    with pytest.raises(KeyboardInterrupt):
        _connect(Resources(), tmp_path)


def test_the_environment_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    with _environment({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "somewhere"}):
        assert (os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN_PATH"]) == (
            "token",
            "somewhere",
        )
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ
