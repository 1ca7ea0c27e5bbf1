"""The family of a chain: named, or that of the models that are named."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dgkd_search.config.options import Options
from dgkd_search.data import get_dataset
from dgkd_search.data.kinds import DatasetKind
from dgkd_search.errors import InputError
from dgkd_search.models import Family, get_family, load_families
from dgkd_search.models.names import FAMILIES
from dgkd_search.utils.registry import adds_something

_NEAR = 4  # names that resemble an unknown one, in its message


@dataclass(frozen=True)
class NamedModel:
    """A model that a user has named.

    Attributes:
        option: the option that names it, for example ``--teacher``; empty for a model of a chain.
    """

    name: str
    option: str = ""

    def __str__(self) -> str:
        return f"{self.option or 'model'} {self.name}"


def family_of(options: Options, chain: Sequence[str] = ()) -> Family:
    """Return the family of a search or of a chain.

    Without ``--family`` it is the one that has all named models, or that of the user's own module,
    or the dataset's default.

    Args:
        chain: models that are named besides those of the options.

    Raises:
        InputError: the family or a model is unknown, the models are of several families, or the
            module can't be imported.
    """
    own = load_families(options.models) if options.models is not None else ()
    if options.models is not None and not adds_something(options.models):
        raise InputError(
            f"--models {options.models}: must register something; call dgkd_search.family(...), "
            "dgkd_search.dataset(...) or a dgkd_search.register_... function in it"
        )
    models = _named_models(options, chain)
    if options.family is not None:
        return _checked(options, own, models)
    if models:
        return _family_with(models, options, own)
    if len(own) > 1:
        raise InputError(
            f"--family: missing; choose one of {options.models}: {_names(own)}, or name models"
        )
    return own[0] if own else default_family(options.dataset)


def default_family(dataset: str) -> Family:
    """Return the default family of a dataset; the checks of the data report an unknown one."""
    try:
        return get_family(get_dataset(dataset).family)
    except InputError:
        return get_family(DatasetKind.family)


def _named_models(options: Options, chain: Sequence[str]) -> list[NamedModel]:
    ends = (("--teacher", options.teacher), ("--student", options.student))
    models = [NamedModel(name, option) for option, name in ends if name is not None]
    models += [NamedModel(name, "--assistants") for name in options.assistants or ()]
    others = [model for model in models if model.name not in chain]  # ``compare`` sets the ends
    return [NamedModel(str(name)) for name in chain] + others


def _checked(options: Options, own: Sequence[Family], models: Sequence[NamedModel]) -> Family:
    """Return the family of ``--family``, which must have all named models.

    Raises:
        InputError: it is unknown, it isn't one of the module's families, or it lacks a model.
    """
    family = get_family(str(options.family), f"--family {options.family}")
    if own and family not in own:
        raise InputError(
            f"--family {options.family}: is not a family of {options.models}; leave out "
            f"--models, or name {_names(own)}"
        )
    outside = [model for model in models if not _has(family, model)]
    if outside:
        raise InputError(
            _outside(
                outside,
                f"--family {family.name}",
                f"leave out --family, or choose from {', '.join(m.name for m in family.members)}",
            )
        )
    return family


def _family_with(models: Sequence[NamedModel], options: Options, own: Sequence[Family]) -> Family:
    """Return the only family that has all these models, of the user's own module if it has any.

    Raises:
        InputError: there is none, or there are several.
    """
    families = own or FAMILIES.load_all()[0]
    complete = [family for family in families if all(_has(family, model) for model in models)]
    if len(complete) == 1:
        return complete[0]
    if complete:
        raise InputError(
            f"{_listed(models)}: in each of the families {_names(complete)}; choose one with "
            "--family"
        )
    outside = [model for model in models if not any(_has(family, model) for family in families)]
    if outside:
        members = [member.name for family in own for member in family.members]
        hint = f"leave out --models, or choose from {', '.join(members)}"
        raise InputError(_outside(outside, f"--models {options.models}", hint))
    first = {_in_words(_homes(model, families)): model for model in models[::-1]}
    shown = ", ".join(f"{model} ({home})" for home, model in reversed(first.items()))
    raise InputError(
        f"{shown}: are of several families, but a chain has models of one; name models of one "
        "family"
    )


def _outside(models: Iterable[NamedModel], chosen: str, hint: str) -> list[str]:
    """Return the problems with models that the chosen families lack.

    Those of other families contradict the choice; others are unknown.

    Args:
        chosen: the option that chooses families, with its value.
        hint: what to do about a contradiction.
    """
    families, problems = FAMILIES.load_all()
    elsewhere, unknown = [], []
    for model in models:
        homes = _homes(model, families)
        if homes:
            elsewhere.append(f"{model} ({_in_words(homes)})")
        else:
            unknown.append(_unknown(model, families))
    messages = [f"{chosen}: contradicts {', '.join(elsewhere)}; {hint}"] if elsewhere else []
    return [*messages, *unknown, *(problems if unknown else ())]


def _unknown(model: NamedModel, families: Sequence[Family]) -> str:
    """Return the message about a model that no family has; it names those with near names."""
    label = f"{model.option}: model {model.name!r}" if model.option else f"model {model.name!r}"
    homes = {member.name: family.name for family in families for member in family.members}
    near = difflib.get_close_matches(model.name[:60], homes, n=_NEAR)
    if not near:
        return (
            f"{label}: unknown; name a model of the families {_names(families)}, or your own with "
            "--models"
        )
    shown = ", ".join(f"{name} (family {homes[name]})" for name in near)
    return f"{label}: unknown; near names: {shown}; choose one, or name your own with --models"


def _has(family: Family, model: NamedModel) -> bool:
    return any(member.name == model.name for member in family.members)


def _homes(model: NamedModel, families: Iterable[Family]) -> list[Family]:
    return [family for family in families if _has(family, model)]


def _names(families: Iterable[Family]) -> str:
    return ", ".join(family.name for family in families)


def _in_words(homes: Sequence[Family]) -> str:
    return f"{'family' if len(homes) == 1 else 'families'} {_names(homes)}"


def _listed(models: Iterable[NamedModel]) -> str:
    return ", ".join(map(str, models))
