from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgkd_search.errors import InputError
from dgkd_search.utils.registry import Registry


@dataclass(frozen=True)
class Thing:
    name: str
    value: int = 0


def registry(*names: str) -> Registry[Thing]:
    return Registry("thing", "tests.things", map(Thing, names))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two packages: one registers an item in the registry ``THINGS``, one is broken."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "things_of_others.py").write_text(
        "from test_registry_things import THINGS, Thing\n"
        "THINGS.register(Thing('theirs', 7), __name__)\n"
    )
    (tmp_path / "broken_things.py").write_text("raise SystemExit('no licence')\n")
    entries = metadata.EntryPoints(
        [
            metadata.EntryPoint("theirs", "things_of_others", "tests.things"),
            metadata.EntryPoint("broken", "broken_things", "tests.things"),
            metadata.EntryPoint("elsewhere", "things_of_others", "tests.others"),
        ]
    )
    monkeypatch.setattr("dgkd_search.utils.registry._installed", lambda: entries)
    for name in ("things_of_others", "broken_things"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_what_is_installed_is_loaded_when_it_is_asked_for(
    installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    things = registry("b", "a")
    module = type(sys)("test_registry_things")
    vars(module).update(THINGS=things, Thing=Thing)
    monkeypatch.setitem(sys.modules, "test_registry_things", module)
    assert things.names() == ("b", "a", "broken", "theirs")
    assert "things_of_others" not in sys.modules
    assert [thing.name for thing in things.known()] == ["b", "a"]
    assert things.get("theirs") == Thing("theirs", 7)
    assert things.of("things_of_others") == (Thing("theirs", 7),)
    with pytest.raises(InputError, match=r"^thing 'broken': the installed module broken_things "):
        things.get("broken")
    with pytest.raises(InputError, match=r"^--thing broken: .* \(SystemExit: no licence\); fix or"):
        things.get("broken", "--thing broken")
    items, problems = things.load_all()
    assert [thing.name for thing in items] == ["b", "a", "theirs"]
    assert len(problems) == 1 and "no licence" in problems[0]
    importlib.reload(sys.modules["things_of_others"])  # imported again


def test_a_name_may_have_other_spellings(installed: None) -> None:
    things = Registry[Thing](
        "thing", "tests.things", map(Thing, ["b"]), canonical=lambda name: name.lower()
    )
    assert things.get("B") == Thing("b")
    assert [name in things for name in ("B", "Theirs", "elsewhere")] == [True, True, False]
    assert things.added() == ("broken", "theirs")
    with pytest.raises(InputError, match=r"^thing 'BROKEN': the installed module broken_things"):
        things.get("BROKEN")


def test_a_declared_name_is_known_before_its_thing_is() -> None:
    things: Registry[Thing] = Registry("thing", "tests.things", declared=("b", "a"))
    assert things.names() == ("b", "a") and things.known() == ()
    for name in ("a", "c", "b"):
        things.register(Thing(name), "")
    assert things.names() == ("b", "a", "c")
    with pytest.raises(ValueError, match="thing 'a': already registered"):
        things.register(Thing("a"), "mine")


def test_an_unknown_name_is_told_with_those_there_are() -> None:
    with pytest.raises(InputError) as caught:
        registry("b", "a").get("c")
    assert caught.value.messages == (
        "thing 'c': unknown; choose from b, a, or name your own module with --models",
    )


def test_a_name_is_one_modules() -> None:
    things = registry("a")
    for origin in ("", "mine", "another"):
        with pytest.raises(ValueError, match="thing 'a': already registered"):
            things.register(Thing("a"), origin)
    things.register(Thing("b", 1), "mine")
    things.register(Thing("b", 2), "mine")
    assert things.get("b").value == 2
    for origin in ("", "another"):
        with pytest.raises(ValueError, match="'b': already registered"):
            things.register(Thing("b"), origin)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["", "x", "y"]))))
def test_names_are_each_there_once(calls: list[tuple[str, str]]) -> None:
    things = registry("c", "a")
    expected = {"c": "", "a": ""}
    for name, origin in calls:
        taken = name in expected and not (origin and expected[name] == origin)
        if taken:
            with pytest.raises(ValueError, match="already registered"):
                things.register(Thing(name), origin)
        else:
            things.register(Thing(name), origin)
            expected[name] = origin
    own = [name for name, origin in expected.items() if not origin]
    assert things.names() == (*own, *sorted(expected.keys() - {*own}))
    for origin in ("x", "y"):
        registered = {thing.name for thing in things.of(origin)}
        assert registered == {name for name, o in expected.items() if o == origin}
