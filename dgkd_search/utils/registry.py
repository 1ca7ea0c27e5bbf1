"""Registries of parts by name: built in, registered, or added by installed packages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from types import ModuleType
from typing import Any, Generic, Protocol, TypeVar, cast

from dgkd_search.errors import InputError, one_line


class Named(Protocol):
    """An item of a registry."""

    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


@cache
def _installed() -> EntryPoints:
    """Return the entry points of all packages; cached, as reading them is slow."""
    return cast(EntryPoints, entry_points())  # Python 3.11 has another class with the same method


_registries: list[Registry[Any]] = []


def calling_module() -> str:
    """Return the name of the module that called the caller of this function."""
    return str(sys._getframe(2).f_globals["__name__"])


def check_name(kind: str, name: str) -> None:
    """Check that a name is valid in comma-separated lists, in YAML and in file names.

    Raises:
        ValueError: the name is no identifier.
    """
    if not name.isidentifier():
        raise ValueError(f"{kind} {name!r}: a name may have only letters, digits and _")


def check_class(kind: str, added: type[Named], *texts: str) -> None:
    """Check the attributes of a class before it is registered.

    Args:
        kind: kind of the class in messages.
        added: the class.
        texts: attributes that must be texts, besides ``name``.

    Raises:
        ValueError: an attribute is missing or no text, or the name is invalid.
    """
    for attribute in ("name", *texts):
        if not isinstance(getattr(added, attribute, None), str):
            raise ValueError(f"{added.__name__}: {attribute} must be a text; set it in the class")
    check_name(kind, str(added.name))


def adds_something(module: str) -> bool:
    """Return whether a module, or a module that it imports, has registered an item of any kind.

    For a package its own modules count; for a module those that it imports, or imports names from.
    """
    origins = {origin for registry in _registries for origin in registry.origins()}
    named = vars(sys.modules[module]).values() if module in sys.modules else ()
    taken = {getattr(each, "__module__", None) for each in named}
    taken |= {each.__name__ for each in named if isinstance(each, ModuleType)}
    return any(origin in {module, *taken} or origin.startswith(f"{module}.") for origin in origins)


class Registry(Generic[T]):
    """A registry of items of one kind.

    Args:
        kind: name of the kind in messages.
        group: group of the entry points by which installed packages add items. The name of an entry
            point is that of the item. Its module is imported when the item is first used, and
            registers the item.
        built_in: built-in items, in the order of listings.
        declared: names of further built-in items, which follow in listings. They must be registered
            before ``get`` is called.
        canonical: returns the canonical spelling of a name.
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
        """Register an item by its name.

        Args:
            origin: name of the calling module, which may replace its own items when it is imported
                again. Empty for built-in items, which can't be replaced.

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
        """Return all names: the built-in ones in their order, then the others alphabetically."""
        return (*self._built_in, *self.added())

    def added(self) -> tuple[str, ...]:
        """Return the names of items that aren't built in."""
        return tuple(sorted({*self._known, *self._entries()} - {*self._built_in}))

    def __contains__(self, name: str) -> bool:
        """Return whether a name, in any spelling, is known; imports nothing."""
        name = self._canonical(name)
        return name in self._known or name in self._entries()

    def origins(self) -> set[str]:
        """Return the names of the modules that have registered items."""
        return {*self._origins.values()} - {""}

    def known(self) -> tuple[T, ...]:
        """Return the items that are built in or registered so far; imports nothing."""
        return tuple(self._known.values())

    def load_all(self) -> tuple[tuple[T, ...], tuple[str, ...]]:
        """Return all items in the order of ``names``, and a message for each that can't be loaded.

        Imports all packages that add items.
        """
        items: list[T] = []
        problems: list[str] = []
        for name in self.names():
            try:
                items.append(self.get(name))
            except InputError as error:
                problems += error.messages
        return tuple(items), tuple(problems)

    def of(self, origin: str) -> tuple[T, ...]:
        """Return the items that a module has registered."""
        return tuple(each for name, each in self._known.items() if self._origins[name] == origin)

    def code(self, name: str) -> str:
        """Return the checksum of the module that has registered an item; empty if built in."""
        from dgkd_search.utils.source_code import code_checksum  # not needed by --help

        module = sys.modules.get(self._origins.get(name, ""))
        return "" if module is None else code_checksum(getattr(module, "__file__", None))

    def get(self, name: str, label: str | None = None) -> T:
        """Return the item of a name; may import the package that adds it.

        Args:
            label: name of the item in messages, such as ``--pruner NAME``.

        Raises:
            InputError: the name is unknown, or its package can't be imported.
        """
        label = label or f"{self._kind} {name!r}"
        name = self._canonical(name)
        if name not in self._known:
            for entry in self._entries().get(name, ()):
                try:
                    entry.load()
                except (Exception, SystemExit) as error:  # a package may raise anything
                    why = one_line(error, 200, with_class=True)
                    raise InputError(
                        f"{label}: the installed module {entry.value} can't be imported ({why}); "
                        "fix or uninstall its package"
                    ) from None
        if name not in self._known and name in self._entries():
            raise InputError(
                f"{label}: its package is installed but doesn't register it; fix the package"
            )
        if name not in self._known:
            choices = ", ".join(self.names())
            raise InputError(
                f"{label}: unknown; choose from {choices}, or name your own module with --models"
            )
        return self._known[name]

    def _entries(self) -> dict[str, list[EntryPoint]]:
        """Return the entry points of installed packages, by the names of the items they add."""
        entries: dict[str, list[EntryPoint]] = {}
        for entry in _installed().select(group=self._group):
            entries.setdefault(self._canonical(entry.name), []).append(entry)
        return entries
