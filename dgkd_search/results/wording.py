"""What the summary and the page of a run say in the same words."""

from __future__ import annotations

from collections.abc import Sequence

from dgkd_search.distillation.chain import Chain
from dgkd_search.results.work import Work
from dgkd_search.training.losses.base import KL


def chain_in_words(
    chain: Chain, *, drop_prob: float | None, loss: str, tuned: Sequence[str], trial: int | None
) -> str:
    """A chain and what it was trained with, for example ``a > b > c  (dense, trial 7)``.

    Args:
        chain: in canonical form.
        loss: its name, which is told where a teacher teaches with another one than the paper's.
        tuned: values of what was searched over beside the chain; see ``tuned_values``.
        trial: its number; None for the student on labels alone.
    """
    if trial is None:
        return f"{chain}  (no teacher: labels alone)"
    details = [chain.guidance] if chain.assistants else []
    details += [f"drop {drop_prob:g}"] if drop_prob is not None else []
    details += [f"loss {loss}"] if len(chain.models) > 1 and loss != KL.name else []
    return f"{chain}  ({', '.join([*details, *tuned, f'trial {trial}'])})"


def read_result(accuracy: float, reads: int) -> str:
    """The accuracy on the test set in percent, and how often that was read."""
    return f"{accuracy:.2f} %, read {'once' if reads == 1 else f'{reads} times'}"


def gains(
    validation: float, *, baseline: float | None, kd: float | None, full: float | None
) -> str:
    """What an accuracy gains over what the same search trained, one run each.

    Args:
        validation: the accuracy, in percent as all others.
        baseline, kd, full: as in ``Accuracies``; None for what wasn't trained.
    """
    others = (("the student alone", baseline), ("plain KD", kd), ("the full chain", full))
    parts = [
        f"{validation - other:+.2f} over {name} ({other:.2f})"
        for name, other in others
        if other is not None
    ]
    if not parts:
        return "unknown: nothing to compare with was trained"
    return f"{', '.join(parts)}; one run each, seeds alone may make such differences"


def trial_counts(work: Work, budget: int) -> str:
    """How many trials of a budget ended, and how."""
    share = f" ({100 * work.pruned / work.finished:.0f} %)" if work.finished else ""
    return (
        f"{work.finished} of {budget}: {work.completed} completed, {work.pruned} pruned{share}, "
        f"{work.failed} failed"
    )
