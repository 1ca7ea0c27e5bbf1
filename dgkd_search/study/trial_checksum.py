"""What a trial in study.db says of itself, under a checksum.

SQLite itself would not notice a changed number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from dgkd_search.utils.hashing import sha256, to_json

FACTS = "facts"  # attribute of a trial that has ended: what it did
CHECKSUM = "checksum"  # among them
SAMPLED = "drawn"  # attribute of every trial: checksum of its parameters


def facts_of(trial: FrozenTrial) -> dict[str, object]:
    """What a trial did (``TrialStats``), as it is stored; empty where nothing is known."""
    return {k: v for k, v in trial.user_attrs.get(FACTS, {}).items() if k != CHECKSUM}


def is_sound(trial: FrozenTrial) -> bool:
    """Whether parameters, curve, values, facts, state and notes are what was written."""
    drawn = trial.user_attrs.get(SAMPLED)
    sound = drawn is None or drawn == trial_checksum(trial.number, trial.params)
    recorded = trial.user_attrs.get(FACTS, {}).get(CHECKSUM)
    if recorded is None and trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
        return sound
    if trial.state == TrialState.RUNNING:  # a stop came before its end was told
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
    """Of what a trial says; the same before it was stored and after, where 50 becomes 50.0."""
    settings = {k: float(v) if isinstance(v, int | float) else v for k, v in params.items()}
    curve = {str(step): _exact(accuracy) for step, accuracy in (steps or {}).items()}
    ends = [_exact(value) for value in values or ()]
    last = (ends[0] if len(ends) == 1 else ends) if ends else None
    exact_notes = {k: _exact(v) if isinstance(v, float) else v for k, v in (notes or {}).items()}
    return sha256(to_json([number, settings, last, curve, dict(facts or {}), state, exact_notes]))


def _exact(value: float) -> str:
    return float(value).hex()  # to the last bit, and NaN too, which JSON can't say
