"""What repeats with fresh seeds say about a winner, in words."""

from __future__ import annotations

from dgkd_search.confirmation import Confirmation, Repeats
from dgkd_search.intervals import plus_minus
from dgkd_search.sizes import counted


def verdict(confirmation: Confirmation) -> list[tuple[str, str]]:
    """Rows of a summary: what was measured, the gains, and what can be said of them.

    Nothing where no winner is known.
    """
    winner = confirmation.winner
    if winner is None:
        return []
    stand_ins = (("the student alone", confirmation.alone), ("plain KD", confirmation.kd))
    names = {repeats.trial: name for name, repeats in reversed(stand_ins) if repeats is not None}
    rivals = [(name, found) for name, found in stand_ins if found is not None and found.values]
    others = [
        f"{names.get(repeats.trial, f'trial {repeats.trial}')} "
        f"{plus_minus(repeats.mean, repeats.half_width)}"
        for repeats in confirmation.repeats
        if repeats is not winner and repeats.values
    ]
    failed = [
        f"{names.get(repeats.trial, f'trial {repeats.trial}')} failed with "
        f"{counted(len(repeats.failed), 'seed')} ({next(iter(repeats.failed.values()))})"
        for repeats in confirmation.repeats
        if repeats.failed
    ]
    mean = plus_minus(winner.mean, winner.half_width)
    seeds = counted(len(winner.values), "fresh seed")
    rows = [("repeated", "; ".join([f"{mean} %, mean of {seeds}", *others, *failed]))]
    against = [(name, found) for name, found in rivals if found is not winner]
    if against:
        gains = ", ".join(
            f"{plus_minus(*winner.over(found), '+')} over {name}" for name, found in against
        )
        rows.append(("gain", f"{gains} (95 % intervals)"))
    rows.append(("so", "; ".join(_words(winner, rivals)) or "there was nothing to compare it with"))
    return rows


def _words(winner: Repeats, rivals: list[tuple[str, Repeats]]) -> list[str]:
    better: list[str] = []
    unclear: list[str] = []
    worse: list[str] = []
    words: list[str] = []
    for name, found in rivals:
        if found is winner:
            words.append(f"the best chain is {name} itself")
            continue
        gain, half = winner.over(found)
        told = half is not None and abs(gain) > half
        (unclear if not told else better if gain > 0 else worse).append(name)
    if better:
        words.append(f"better than {_joined(better)}")
    if worse:
        words.append(f"worse than {_joined(worse)}: distillation gained nothing")
    if unclear:
        words.append(
            f"can't be told from {_joined(unclear)}: seeds alone make such differences; more "
            "seeds (--resume with --confirm), or other chains, would have to show one"
        )
    return words


def _joined(names: list[str]) -> str:
    return " and ".join(names)
