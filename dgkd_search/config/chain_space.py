"""The space of chains of a study, from a family's members and the options that select them."""

from __future__ import annotations

from itertools import groupby

from dgkd_search.config.defaults import require
from dgkd_search.config.options import Options
from dgkd_search.errors import InputError
from dgkd_search.models import Family
from dgkd_search.study.config import ChainSpace


def chain_space(options: Options, family: Family, problems: list[str]) -> ChainSpace:
    """Return the space that complete options describe.

    Args:
        problems: receives a message for each problem.
    """
    teacher, student = require(options.teacher), require(options.student)
    pool = options.assistants or ()
    sizes = _sizes(options, family, problems)
    if teacher in sizes and student in sizes:
        problems += _unordered(options, family, sizes)
    ordered = tuple(sorted(pool, key=lambda name: (-sizes.get(name, 0), name)))
    for size, same in groupby((n for n in ordered if n in sizes), key=sizes.__getitem__):
        equals = tuple(same)
        if len(equals) > 1:
            problems.append(
                f"--assistants {','.join(equals)}: have the same size ({size:,}), but sizes must "
                "strictly decrease along a chain; keep one of them"
            )
    bound = require(options.max_assistants)
    if bound > len(pool):
        problems.append(
            f"--max-assistants {bound}: must be at most {len(pool)}, the number of candidates"
        )
    drop_probs = options.drop_prob.allowed(options.drop_scope)
    if not drop_probs:
        problems.append(
            f"--drop-prob {options.drop_prob}: must contain one of 0, .25, .5, .75, the values for "
            "--drop-scope all; widen the range or list values"
        )
        drop_probs = (0.0,)
    return ChainSpace(
        teacher=teacher,
        student=student,
        pool=ordered,
        max_assistants=bound,
        guidances=options.guidance,
        drop_probs=drop_probs,
        drop_scope=options.drop_scope,
        tune=tuple(sorted(options.tune)),
    )


def _sizes(options: Options, family: Family, problems: list[str]) -> dict[str, int]:
    """Return the sizes of the named models that the family has."""
    named = (
        ("teacher", (require(options.teacher),)),
        ("student", (require(options.student),)),
        ("assistants", options.assistants or ()),
    )
    sizes: dict[str, int] = {}
    for option, names in named:
        for name in names:
            try:
                sizes[name] = family.member(name).size
            except InputError as error:
                problems.extend(f"--{option}: {message}" for message in error.messages)
    return sizes


def _unordered(options: Options, family: Family, sizes: dict[str, int]) -> list[str]:
    """Return the problems with the order of the models by size."""
    teacher, student = require(options.teacher), require(options.student)
    if sizes[teacher] <= sizes[student]:
        return [
            f"--teacher {teacher}: must be larger than the student {student}; name a larger "
            "teacher or a smaller student of this family, or your own with --models"
        ]
    outside = [
        name
        for name in options.assistants or ()
        if name in sizes and not sizes[student] < sizes[name] < sizes[teacher]
    ]
    if not outside:
        return []
    choices = ", ".join(family.between(teacher, student)) or "none"
    return [
        f"--assistants {','.join(outside)}: must be strictly between {student} and {teacher}; "
        f"choose from {choices}"
    ]
