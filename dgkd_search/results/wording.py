"""Texts that the summary and the report page share."""

from __future__ import annotations

from collections.abc import Sequence

from dgkd_search.distillation.chain import Chain
from dgkd_search.results.work import Work
from dgkd_search.training.losses.base import KL


def chain_in_words(
    chain: Chain, *, drop_prob: float | None, loss: str, tuned: Sequence[str], trial: int | None
) -> str:
    """Return a chain and its settings, for example ``a > b > c  (dense, trial 7)``.

    Args:
        chain: in canonical form.
        loss: its name; shown if a teacher guides the student and it is not the paper's loss.
        tuned: tuned values beside the chain; see ``tuned_values``.
        trial: its number; None for the student trained on labels alone.
    """
    if trial is None:
        return f"{chain}  (no teacher: labels alone)"
    details = [chain.guidance] if chain.assistants else []
    details += [f"drop {drop_prob:g}"] if drop_prob is not None else []
    details += [f"loss {loss}"] if len(chain.models) > 1 and loss != KL.name else []
    return f"{chain}  ({', '.join([*details, *tuned, f'trial {trial}'])})"


def read_result(accuracy: float, reads: int) -> str:
    """Return the test accuracy in percent, and how often the test set was read."""
    return f"{accuracy:.2f} % (test set read {'once' if reads == 1 else f'{reads} times'})"


def gains(
    validation: float, *, baseline: float | None, kd: float | None, full: float | None
) -> str:
    """Return the gains of an accuracy over the baselines of the same search, from single runs.

    Args:
        validation: the accuracy in percent, as all others.
        baseline, kd, full: as in ``Accuracies``; None if it was not trained.
    """
    others = (("labels alone", baseline), ("plain KD", kd), ("the full chain", full))
    parts = [
        f"{validation - other:+.2f} over {name} ({other:.2f})"
        for name, other in others
        if other is not None
    ]
    if not parts:
        return "unknown: no baseline was trained"
    return f"{', '.join(parts)}; single runs, so part of each difference may be due to the seed"


def trial_counts(work: Work, budget: int) -> str:
    """Return how many trials of a budget have ended, by outcome."""
    share = f" ({100 * work.pruned / work.finished:.0f} %)" if work.finished else ""
    return (
        f"{work.finished} of {budget}: {work.completed} completed, {work.pruned} pruned{share}, "
        f"{work.failed} failed"
    )


def teacher_outputs(work: Work) -> str:
    """Return how often teachers were run, and how often their outputs were used."""
    return (
        f"{work.forwards:,} images run through teachers; their outputs were used "
        f"{work.taught:,} times"
    )
