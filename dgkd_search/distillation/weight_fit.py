"""Which tensors of a checkpoint are the weights of a network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from dgkd_search.distillation.checkpoint_file import Checkpoint
from dgkd_search.distillation.stored_tensor import Damaged, Inert, StoredTensor
from dgkd_search.errors import InputError, one_line
from dgkd_search.models.architecture import Architecture
from dgkd_search.models.weight_names import NameScheme, name_schemes

_SHOWN = 3  # names in an error message
_LONG = 100  # characters of a name, which a file may make long
# Limits that no real checkpoint reaches; a hostile one must not take minutes.
_PREFIXES = 8
_DEPTH = 50
_STATE_DICTS = 200
_NAME = 300

# Where training scripts keep a network: keys of a checkpoint and prefixes of names. The first one
# that fits is taken.
PREFERRED = (
    *("state_dict", "model_state_dict", "model", "net", "network", "params", "weights"),
    *("model_ema", "ema", "teacher", "student", "backbone"),
)
# Parts of names that wrappers of torch add anywhere.
_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
# Names of tensors that averaging and counters of operations add.
_EXTRA = ("n_averaged", "total_ops", "total_params")
_COUNTER = "num_batches_tracked"  # missing in old checkpoints, and without effect


@dataclass(frozen=True)
class Fit:
    """The weights of a network in a checkpoint.

    Attributes:
        tensors: the stored tensors by our names; counters may be missing.
        problems: why they do not fit; empty if they do.
        place: keys and prefix of the names, for messages.
        outside: number of other tensors beside them that are not read.
        differs: names the other network that they belong to; empty for ours.
    """

    tensors: Mapping[str, StoredTensor]
    problems: tuple[str, ...]
    place: str
    outside: int
    differs: str = ""


def fit(
    checkpoint: Checkpoint, architecture: Architecture, expected: Mapping[str, Tensor], label: str
) -> tuple[Fit, tuple[str, ...]]:
    """Find the weights of a network.

    All keys of the checkpoint, prefixes of names, and the names of known repositories are tried.

    Args:
        checkpoint: an opened file.
        architecture: the network.
        expected: its state dict; only names and shapes are used.
        label: begins messages.

    Returns:
        The weights, and notes about the choice.

    Raises:
        InputError: no weights fit; names those of the nearest that don't.
        Damaged: a mapping or list in the checkpoint contains itself.
    """
    fits = list(_fits(checkpoint, architecture, expected))
    good = [each for each in fits if not each.problems and not each.differs]
    if not good:
        raise _error(checkpoint, fits, architecture, label)
    chosen = good[0]
    place, notes = some([chosen.place]), []
    others = [each.place for each in good[1:] if each.place != chosen.place]
    if others:
        notes.append(f"{label}: read {place}; {some(others)} would fit too")
    elif chosen.outside:
        rest = "other tensor" if chosen.outside == 1 else "other tensors"
        notes.append(f"{label}: read {place}; {chosen.outside} {rest} beside it left out")
    return chosen, tuple(notes)


def _fits(
    checkpoint: Checkpoint, architecture: Architecture, expected: Mapping[str, Tensor]
) -> Iterator[Fit]:
    schemes = name_schemes(architecture.family, expected)
    for path, mapping in _state_dicts(checkpoint.root):
        entries = _unwrapped(mapping, expected)
        for scheme in schemes:
            for prefix in _prefixes(entries, scheme):
                yield _attempt(entries, scheme, prefix, expected, path)


def _rank(parts: Sequence[str]) -> tuple[int, ...]:
    return tuple(PREFERRED.index(part) if part in PREFERRED else len(PREFERRED) for part in parts)


def _state_dicts(root: object) -> list[tuple[tuple[str, ...], Mapping[str, object]]]:
    """Return all mappings that contain tensors, with their keys, in order of preference."""
    found: list[tuple[tuple[str, ...], Mapping[str, object]]] = []
    seen: set[int] = set()
    above: list[int] = []  # the mappings and lists that contain the present one
    waiting: list[tuple[tuple[str, ...], object]] = [((), root)]
    while waiting:
        path, value = waiting.pop()
        if not isinstance(value, Mapping | list | tuple):
            continue
        if len(path) > _DEPTH:
            raise Damaged("it is nested too deeply; save its state dict alone")
        del above[len(path) :]
        if id(value) in above:
            raise Damaged("a part of it contains itself; save its state dict alone")
        above.append(id(value))
        if id(value) in seen:
            continue
        seen.add(id(value))
        if not isinstance(value, Mapping):  # as of ``torch.save((state_dict, epoch), file)``
            value = {str(index): entry for index, entry in enumerate(value)}
        elif any(isinstance(entry, StoredTensor) for entry in value.values()):
            found.append((path, value))
        waiting += [((*path, name), entry) for name, entry in reversed(list(value.items()))]
    return sorted(found, key=lambda each: _rank(each[0]))[:_STATE_DICTS]  # stable


def _unwrapped(mapping: Mapping[str, object], expected: Mapping[str, Tensor]) -> dict[str, object]:
    """Return the entries without the parts of names that wrappers add."""
    own = {part for name in expected for part in name.split(".")}
    wrappers = _WRAPPERS - own
    return {
        ".".join(part for part in name.split(".") if part not in wrappers): entry
        for name, entry in mapping.items()
        if len(name) < _NAME
    }


def _prefixes(entries: Mapping[str, object], scheme: NameScheme) -> list[str]:
    """Return the prefixes with which most names of a scheme are found, preferred ones first."""
    longest = max(name.count(".") for name in scheme.ours) + 1
    counts: Counter[str] = Counter()
    for name in entries:
        parts = name.split(".")
        for i in range(max(len(parts) - longest, 0), len(parts)):
            if ".".join(parts[i:]) in scheme.ours:
                counts[".".join(parts[:i])] += 1
    most = max(counts.values(), default=0)
    best = [prefix for prefix, count in counts.items() if count == most][:_PREFIXES]
    return sorted(best, key=lambda prefix: _rank(prefix.split(".")) if prefix else ())


def _attempt(
    entries: Mapping[str, object],
    scheme: NameScheme,
    prefix: str,
    expected: Mapping[str, Tensor],
    path: tuple[str, ...],
) -> Fit:
    start = f"{prefix}." if prefix else ""
    inside = {name[len(start) :]: e for name, e in entries.items() if name.startswith(start)}
    tensors = {name: entry for name, entry in inside.items() if isinstance(entry, StoredTensor)}
    extra = [name for name in tensors if not name.endswith(_EXTRA)]
    outside = sum(
        isinstance(entry, StoredTensor) and not name.endswith(_EXTRA)
        for name, entry in entries.items()
        if not name.startswith(start)
    )
    place = ".".join((*path, *prefix.split("."))).strip(".") or "the state dict"
    if scheme.differs:
        same = {*extra, *_counters(scheme)} == scheme.ours.keys()
        differs = f"{scheme.title}: {scheme.differs}" if same else ""
        return Fit({}, ("",), place, outside, differs)
    needed = [name for name in scheme.ours if name not in _counters(scheme)]
    odd = {name: _kind(inside[name]) for name in scheme.ours if inside.get(name) is not None}
    odd = {name: kind for name, kind in odd.items() if kind and (name in needed or name in tensors)}
    missing = [name for name in needed if name not in tensors and name not in odd]
    problems = [
        f"{what} {some(names)}"
        for what, names in (
            ("missing tensors:", missing),
            ("unexpected tensors:", [name for name in extra if name not in scheme.ours]),
            ("not plain tensors:", [f"{name} ({kind})" for name, kind in odd.items()]),
            ("wrong shapes:", list(_wrong_shapes(tensors, scheme, expected))),
        )
        if names
    ]
    found = {ours: tensors[name] for name, ours in scheme.ours.items() if name in tensors}
    return Fit(found, tuple(problems), place, outside)


def _counters(scheme: NameScheme) -> set[str]:
    return {name for name in scheme.ours if name.endswith(_COUNTER)}


def _kind(entry: object) -> str:
    """Return what an entry is instead of a plain tensor; empty for one."""
    if isinstance(entry, StoredTensor):
        return entry.kind
    return (entry.origin if isinstance(entry, Inert) else "") or type(entry).__name__


def _wrong_shapes(
    tensors: Mapping[str, StoredTensor], scheme: NameScheme, expected: Mapping[str, Tensor]
) -> Iterator[str]:
    for name, ours in scheme.ours.items():
        if name not in tensors or tensors[name].kind:
            continue
        actual, wanted = list(tensors[name].shape), list(expected[ours].shape)
        if actual != wanted:
            yield f"{name} {actual} instead of {wanted}"


def _error(
    checkpoint: Checkpoint, fits: Sequence[Fit], architecture: Architecture, label: str
) -> InputError:
    wanted = f"give weights of {architecture.name} for {architecture.classes} classes"
    for each in fits:
        if each.differs:
            return InputError(f"{label}: is not {architecture.name}, but {each.differs}; {wanted}")
    near = [each for each in fits if each.tensors]
    if near:
        nearest = max(near, key=lambda each: len(each.tensors))  # the first of several
        problems = [f"{label}: {problem}" for problem in nearest.problems]
        problems[-1] += f"; {wanted}"
        return InputError(problems)
    if names := _weight_names(checkpoint):
        return InputError(
            f"{label}: has no tensor of {architecture.name}, but {some(names)}; {wanted}"
        )
    if checkpoint.unknown:
        return InputError(
            f"{label}: contains more than tensors and is not read, because it could run code "
            f"({some(checkpoint.unknown)}); save a state dict of tensors alone"
        )
    return InputError(f"{label}: contains no state dict; save a mapping of names to tensors")


def _weight_names(checkpoint: Checkpoint) -> list[str]:
    """Return the names of the largest state dict; those of weights have a dot, a loss has none."""
    names = (
        [name for name, entry in mapping.items() if isinstance(entry, StoredTensor) and "." in name]
        for _, mapping in _state_dicts(checkpoint.root)
    )
    return max(names, key=len, default=[])


def some(names: Sequence[str]) -> str:
    """Join the first names of a message."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(one_line(name, _LONG) for name in names[:_SHOWN]) + more
