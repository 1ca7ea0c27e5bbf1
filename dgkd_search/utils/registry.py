"""Things of one kind by name: built in, registered, or brought along by installed packages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from types import ModuleType
from typing import Any, Generic, Protocol, TypeVar, cast

from dgkd_search.errors import InputError, one_line


class Named(Protocol):
    """What a registry holds."""

    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


@cache
def _installed() -> EntryPoints:
    """Those of all packages: reading them takes a while, and a start asks for many groups."""
    return cast(EntryPoints, entry_points())  # Python 3.11 has another class, with the same select


_registries: list[Registry[Any]] = []


def calling_module() -> str:
    """The module whose code has called the function that asks."""
    return str(sys._getframe(2).f_globals["__name__"])


def check_name(kind: str, name: str) -> None:
    """That a name can stand in lists, in YAML and in file names.

    Raises:
        ValueError: it has other letters.
    """
    if not name.isidentifier():
        raise ValueError(f"{kind} {name!r}: a name has letters, digits and _ alone")


def check_class(kind: str, added: type[Named], *texts: str) -> None:
    """That a class which is to be registered says what it is.

    Args:
        texts: attributes that must be texts, beside ``name``.

    Raises:
        ValueError: one is missing or something else, or its name is none.
    """
    for attribute in ("name", *texts):
        if not isinstance(getattr(added, attribute, None), str):
            raise ValueError(f"{added.__name__}: has no {attribute}; give it one, a text")
    check_name(kind, str(added.name))


def adds_something(module: str) -> bool:
    """Whether a module has registered a thing of any kind, or one that it imports has.

    Of a package these are its own modules, of a module those that it names or takes something from.
    """
    origins = {origin for registry in _registries for origin in registry.origins()}
    named = vars(sys.modules[module]).values() if module in sys.modules else ()
    taken = {getattr(each, "__module__", None) for each in named}
    taken |= {each.__name__ for each in named if isinstance(each, ModuleType)}
    return any(origin in {module, *taken} or origin.startswith(f"{module}.") for origin in origins)


class Registry(Generic[T]):
    """The things of one kind.

    Args:
        kind: what one of them is called in messages.
        group: of the entry points by which installed packages bring some along. An entry point's
            name is the thing's; what it names is imported when the thing is first asked for, and
            registers it.
        built_in: the product's own, in the order in which they are listed.
        declared: names of more of them, which follow in the list. Whoever calls ``get`` has
            registered them before; until then they are names alone.
        canonical: gives the name that is meant by another spelling of it.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        built_in: Iterable[T] = (),
        declared: Iterable[str] = (),
        canonical: Callable[[str], str] = str,
    ) -> None:
        self._kind, self._group, self._canonical = kind, group, canonical
        self._known: dict[str, T] = {each.name: each for each in built_in}
        self._built_in = (*self._known, *declared)
        self._origins: dict[str, str] = dict.fromkeys(self._known, "")
        _registries.append(self)

    def register(self, item: T, origin: str) -> None:
        """Make a thing known by its name.

        Args:
            origin: the module that does; imported again, it replaces its own. Empty for the
                product's own, which nothing replaces.

        Raises:
            ValueError: the name is taken.
        """
        if item.name in self._known and not (origin and self._origins[item.name] == origin):
            raise ValueError(
                f"{self._kind} {item.name!r}: already registered; register it once, or rename it"
            )
        self._known[item.name] = item
        self._origins[item.name] = origin
        if not origin and item.name not in self._built_in:
            self._built_in += (item.name,)

    def names(self) -> tuple[str, ...]:
        """Those that are built in, in their order; then all others, by the alphabet."""
        return (*self._built_in, *self.added())

    def added(self) -> tuple[str, ...]:
        """Names of those that aren't built in."""
        return tuple(sorted({*self._known, *self._entries()} - {*self._built_in}))

    def __contains__(self, name: str) -> bool:
        """Whether the name, in any spelling, is known; nothing is imported for it."""
        name = self._canonical(name)
        return name in self._known or name in self._entries()

    def origins(self) -> set[str]:
        """The modules that have registered some of them."""
        return {*self._origins.values()} - {""}

    def known(self) -> tuple[T, ...]:
        """Those that are built in or registered by now; nothing is imported for it."""
        return tuple(self._known.values())

    def load_all(self) -> tuple[tuple[T, ...], tuple[str, ...]]:
        """All of them, in the order of ``names``, and a message for each that can't be loaded."""
        items: list[T] = []
        problems: list[str] = []
        for name in self.names():
            try:
                items.append(self.get(name))
            except InputError as error:
                problems += error.messages
        return tuple(items), tuple(problems)

    def of(self, origin: str) -> tuple[T, ...]:
        """Those that a module has registered."""
        return tuple(each for name, each in self._known.items() if self._origins[name] == origin)

    def code(self, name: str) -> str:
        """Checksum of the module that has registered a thing; empty for the product's own."""
        from dgkd_search.utils.source_code import code_checksum  # --help does without

        module = sys.modules.get(self._origins.get(name, ""))
        return "" if module is None else code_checksum(getattr(module, "__file__", None))

    def get(self, name: str, label: str | None = None) -> T:
        """The one of that name.

        Args:
            label: what messages call it, as ``--pruner NAME``.

        Raises:
            InputError: there is none, or its package can't be loaded.
        """
        label = label or f"{self._kind} {name!r}"
        name = self._canonical(name)
        if name not in self._known:
            for entry in self._entries().get(name, ()):
                try:
                    entry.load()
                except (Exception, SystemExit) as error:  # whatever the package raises
                    raise InputError(
                        f"{label}: {entry.value}, which is installed, can't be "
                        f"loaded ({one_line(error, 200, with_class=True)})"
                    ) from None
        if name not in self._known and name in self._entries():
            raise InputError(f"{label}: its package is installed and doesn't register it")
        if name not in self._known:
            choices = ", ".join(self.names())
            raise InputError(
                f"{label}: unknown; choose from {choices}, or name your own module with --models"
            )
        return self._known[name]

    def _entries(self) -> dict[str, list[EntryPoint]]:
        """The entry points of installed packages, by the names of what they add."""
        entries: dict[str, list[EntryPoint]] = {}
        for entry in _installed().select(group=self._group):
            entries.setdefault(self._canonical(entry.name), []).append(entry)
        return entries
