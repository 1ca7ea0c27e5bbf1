"""What a worker tells the driver of its trial, as Tune carries it."""

from __future__ import annotations

import json
from typing import Any


def merge_facts(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """The facts of two attempts at one trial, as one: what either trained, the trial trained."""
    if not (earlier and later):
        return {**earlier, **later}
    before = {stage["key"]: stage for stage in earlier.get("stages", ())}
    stages = []
    for stage in later.get("stages", ()):
        other = before.pop(stage["key"], {})
        sums = {name: stage[name] + other.get(name, 0) for name in ("trained", "seconds")}
        stages.append({**stage, **sums})
    sums = {
        name: earlier.get(name, 0) + later.get(name, 0)
        for name in ("computing", "waiting", "taught", "forwards")
    }
    notes = [*earlier.get("notes", ()), *later.get("notes", ())]
    # The later attempt's stages stay last: of a finished trial, the student.
    return {**earlier, **later, **sums, "stages": [*before.values(), *stages], "notes": notes}


def encode_event(event: dict[str, Any]) -> str:
    """An event as one string: Tune would flatten, copy and merge a nested one."""
    return json.dumps(event)


def decode_event(text: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(text)
    return event
