"""Checksums of the trials in study.db.

SQLite itself would not notice a changed number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from dgkd_search.utils.hashing import sha256, to_json

FACTS = "facts"  # attribute: the stats of a trial, and its checksum
CHECKSUM = "checksum"  # key of the checksum in FACTS
SAMPLED = "drawn"  # attribute: checksum of a trial's parameters


def facts_of(trial: FrozenTrial) -> dict[str, object]:
    """Return the stored ``TrialStats`` of a trial as JSON; empty without any."""
    return {k: v for k, v in trial.user_attrs.get(FACTS, {}).items() if k != CHECKSUM}


def is_sound(trial: FrozenTrial) -> bool:
    """Return whether parameters, curve, values, facts, state and notes match their checksums."""
    drawn = trial.user_attrs.get(SAMPLED)
    sound = drawn is None or drawn == trial_checksum(trial.number, trial.params)
    recorded = trial.user_attrs.get(FACTS, {}).get(CHECKSUM)
    if recorded is None and trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
        return sound
    if trial.state == TrialState.RUNNING:  # stopped before its end was recorded
        return sound
    values = None if trial.state == TrialState.FAIL else trial.values
    expected = trial_checksum(
        trial.number,
        trial.params,
        values,
        trial.intermediate_values,
        facts_of(trial),
        trial.state.name,
        trial.system_attrs,
    )
    return bool(sound and recorded == expected)


def trial_checksum(
    number: int,
    params: Mapping[str, object],
    values: Sequence[float] | None = None,
    steps: Mapping[int, float] | None = None,
    facts: Mapping[str, object] | None = None,
    state: str = "",
    notes: Mapping[str, object] | None = None,
) -> str:
    """Return the checksum of a trial; it is the same after storage, where 50 becomes 50.0."""
    settings = {k: float(v) if isinstance(v, int | float) else v for k, v in params.items()}
    curve = {str(step): _exact(accuracy) for step, accuracy in (steps or {}).items()}
    ends = [_exact(value) for value in values or ()]
    last = (ends[0] if len(ends) == 1 else ends) if ends else None
    exact_notes = {k: _exact(v) if isinstance(v, float) else v for k, v in (notes or {}).items()}
    return sha256(to_json([number, settings, last, curve, dict(facts or {}), state, exact_notes]))


def _exact(value: float) -> str:
    return float(value).hex()  # exact, and defined for NaN, which JSON lacks
