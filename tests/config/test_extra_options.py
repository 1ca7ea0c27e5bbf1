"""Options of other packages: parsed, recorded and passed on like built-in ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers.registries import isolate
from helpers.resolving import messages, resolved
from hypothesis import given
from hypothesis import strategies as st

from dgkd_search import register_loss, register_option, register_sampler
from dgkd_search.cli.commands import COMMANDS
from dgkd_search.cli.main import main
from dgkd_search.cli.search_parser import search_parser
from dgkd_search.config.extra_options import GROUPS, check_options_known, taken_values
from dgkd_search.config.option import Scope
from dgkd_search.config.options import OPTIONS, Options, scope_of
from dgkd_search.config.parse_options import parse_options
from dgkd_search.config.yaml_file import read_config, to_yaml_values
from dgkd_search.errors import InputError
from dgkd_search.results.manifest import check_same
from dgkd_search.training.losses.base import DistillationLoss

ONE_LINE = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8)


def several(value: object) -> tuple[float, ...]:
    """Parse numbers, separated by commas or in a list."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise ValueError("must be numbers, separated by commas")
    return tuple(float(part) for part in parts)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register an option of each type, and a sampler that takes two of them."""
    isolate(monkeypatch)
    register_option("search-width", int, 3, "trials that are looked at (3)", "N")
    register_option("beta", float, 1.0, "weight of the rest (1)", group="recipe")
    register_option("eager", bool, False, "begin at once", scope=Scope.EXTENT)
    register_option("label", str, None, "what it is called", scope=Scope.PLACE)
    register_option("knots", several, (), "points of a curve", "X,...", scope=Scope.SESSION)
    register_sampler("wide", lambda seed, **options: options, ("search-width", "eager"))  # type: ignore[arg-type]


def test_values_are_read_as_those_of_the_products_own() -> None:
    options = parse_options({"search-width": "5", "beta": 2, "knots": "1,2", "epochs": "3"})
    assert options.extra == (("beta", 2.0), ("knots", (1.0, 2.0)), ("search_width", 5))
    assert (options.epochs, options.value("search-width"), options.value("eager")) == (3, 5, False)
    same = {"search_width": 5.0, "beta": np.float64(2), "knots": [1, 2], "epochs": 3}
    assert parse_options(same) == options
    assert hash(parse_options(same)) == hash(options)


def test_problems_are_told_in_the_words_of_the_products_own() -> None:
    with pytest.raises(InputError) as caught:
        parse_options(
            {"search-width": "2.5", "beta": "nan", "eager": "yes", "label": " ", "knots": "a"}
            | {"search-widht": 1}
        )
    assert caught.value.messages == (
        "--search-width 2.5: must be a whole number",
        "--beta nan: must be a finite number",
        "--eager yes: must be true or false",
        "--label '': must be a non-empty text of printable characters",
        "--knots a: could not convert string to float: 'a'",
        "--search-widht: unknown option; did you mean search-width?",
    )
    with pytest.raises(InputError, match="search-width: is given twice, in two spellings"):
        parse_options({"search_width": 1, "search-width": 1})


def test_a_rule_that_fails_or_does_not_read_its_own_value_is_named() -> None:
    register_option("odd", lambda value: value.upper(), "A", "of one's own")
    register_option("twice", lambda value: 2 * int(value), 0, "of one's own")
    register_option("table", lambda value: {"a": value}, None, "of one's own")
    with pytest.raises(InputError) as caught:
        parse_options({"odd": 3, "twice": 1, "table": 1, "beta": {"a": 1}})
    assert caught.value.messages == (
        "--odd 3: can't be parsed (AttributeError: 'int' object has no attribute 'upper')",
        "--twice 1: is parsed as 2, which must parse as itself; fix its rule",
        "--table 1: is a dict; must be a bool, int, float, text or a list of these",
        "--beta {'a': 1}: must be one value or a list of values",
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": "Beta"}, "'Beta': a name has lower-case letters"),
        ({"name": "a--b"}, "'a--b': a name has"),
        ({"name": "resume"}, "'resume': the name is reserved"),
        ({"name": "lambda"}, "'lambda': the name is reserved"),
        ({"name": "batch-size"}, "'batch_size': already registered"),
        ({"name": "normalise"}, "'normalize': already registered"),
        ({"group": "misc"}, "group 'misc' is unknown; choose from data, chain"),
        ({"help": "two\nlines"}, "help must be one line"),
        ({"scope": "STUDY"}, "scope 'STUDY' must be a"),
        ({"parse": bool, "default": True}, "default True: a flag can only be turned on"),
        ({"default": "x"}, "default 'x': must be a finite number"),
        ({"parse": int, "default": [1]}, "default .1.: must be a whole number"),
        ({"parse": several, "default": [1]}, "default .1. is parsed as another value"),
    ],
)
def test_what_is_no_option_is_not_registered(change: dict[str, Any], problem: str) -> None:
    described = {"name": "gamma", "parse": float, "default": 1.0, "help": "some weight"}
    with pytest.raises(ValueError, match=rf"^option .*{problem}"):
        register_option(**{**described, **change})
    assert "gamma" not in OPTIONS


def from_command_line(values: dict[str, object], path: Path) -> Options:
    words = []
    for name, value in values.items():
        flag = f"--{name.replace('_', '-')}"
        text = ",".join(map(str, value)) if isinstance(value, tuple) else value
        words += [flag] if value is True else [f"{flag}={text}"] if value is not False else []
    known = vars(search_parser().parse(words))
    return parse_options({k: v for k, v in known.items() if k not in ("config", "resume")})


def from_yaml(values: dict[str, object], path: Path) -> Options:
    told = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
    path.write_text(yaml.safe_dump(told, allow_unicode=True), encoding="utf-8")
    return parse_options(read_config(path, []))


@pytest.mark.parametrize("read", [from_command_line, from_yaml])
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "search_width": st.integers(-(2**62), 2**62),
            "beta": st.floats(allow_nan=False, allow_infinity=False),
            "eager": st.just(True),
            "label": ONE_LINE,
            "knots": st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=3).map(tuple),
            "epochs": st.integers(1, 99),
        },
    )
)
def test_what_is_given_is_noted_and_read_again(
    tmp_path_factory: pytest.TempPathFactory,
    read: Callable[[dict[str, object], Path], Options],
    values: dict[str, object],
) -> None:
    path = tmp_path_factory.getbasetemp() / "c.yaml"
    options = read(values, path)
    assert {name: options.value(name) for name in values} == values
    noted = to_yaml_values(options)
    assert "knots" not in noted, "it is of one session"
    again = from_yaml(noted, path)
    assert again.extra == tuple(pair for pair in options.extra if pair[0] != "knots")
    assert to_yaml_values(again) == noted


def test_the_scope_decides_as_for_the_products_own() -> None:
    assert scope_of("search-width") is Scope.STUDY
    begun = parse_options({"search_width": 4, "label": "a"})
    now = parse_options({"search_width": 5, "eager": True, "label": "b"})
    with pytest.raises(InputError) as caught:
        check_same(now, begun, "--{}", "leave it out")
    assert caught.value.messages == ("--search-width 5: the run was started with 4; leave it out",)
    check_same(parse_options({"beta": 1}), begun, "--{}", "", ["beta"])  # its default


def test_a_part_gets_what_it_takes_and_its_defaults_are_noted() -> None:
    search = resolved(sampler="wide", search_width=7, beta=2)
    assert search.config.sampler_options == (("eager", False), ("search_width", 7))
    assert search.config.pruner_options == search.config.distillation.loss.options == ()
    noted = to_yaml_values(search.options)
    assert (noted["search-width"], noted["eager"], noted["beta"]) == (7, False, 2.0)
    assert resolved(sampler="tpe").options.extra == (), "nobody takes any"
    assert dict(resolved(sampler="wide").config.sampler_options)["search_width"] == 3


def test_a_part_takes_registered_options_alone() -> None:
    for name in ("nowhere", "epochs"):  # unknown, and built-in
        with pytest.raises(InputError, match=f"^--x y: takes --{name}, which no package registers"):
            taken_values(Options(), [name], "--x y")


def test_what_a_loss_takes_may_not_change_on_resume() -> None:
    @register_loss
    class Odd(DistillationLoss):
        name, title, options = "odd", "odd loss", ("beta", "eager")

        def divergence(self, student: Any, teachers: Any, temperature: float, **_: Any) -> Any:
            return student.sum()

    assert messages(loss="odd") == (
        "--loss odd: takes --eager, whose scope must be Scope.STUDY; fix its package",
    )


def test_a_file_of_an_earlier_session_names_what_is_missing() -> None:
    check_options_known(["beta", "search-width", "epochs", "normalise"], "run")
    with pytest.raises(InputError) as caught:
        check_options_known(["gone", "beta", "also-gone"], "run")
    assert caught.value.messages == (
        "run: was written with --also-gone, --gone, which no installed package adds; install "
        "the package that does, then try again",
    )


def test_a_module_of_ones_own_adds_options_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    name = f"options_{tmp_path.name}"
    Path(f"{name}.py").write_text(
        "from dgkd_search import register_option\n"
        "register_option('depth', int, 1, 'how deep (1)')\n"
    )
    Path("c.yaml").write_text("depth: x\n")
    assert main(["--depth", "2", "--dry-run"]) == 2
    assert capsys.readouterr().err.startswith("dgkd-search: --depth: unknown option")
    assert main(["--models", name, "--config", "c.yaml", "--dry-run"]) == 2
    assert capsys.readouterr().err == "dgkd-search: c.yaml: depth x: must be a whole number\n"
    monkeypatch.delitem(OPTIONS._known, "depth")
    monkeypatch.delitem(sys.modules, name)
    assert main(["--depth", "x", "--models", name, "--dry-run"]) == 2
    assert capsys.readouterr().err == "dgkd-search: --depth x: must be a whole number\n"
    monkeypatch.delitem(OPTIONS._known, "depth")
    monkeypatch.delitem(sys.modules, name)
    assert parse_options({"models": name, "depth": 4}).value("depth") == 4


def test_a_package_is_imported_when_its_option_is_given_or_for_the_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    names = good, broken = f"good_{tmp_path.name}", f"broken_{tmp_path.name}"
    (tmp_path / f"{good}.py").write_text(
        "from dgkd_search import register_option\n"
        "register_option('knob-a', int, 1, 'turned by 100 % (1)', 'N')\n"
    )
    (tmp_path / f"{broken}.py").write_text("raise SystemExit('no licence')\n")
    entries = [
        EntryPoint(option, module, "dgkd_search.options")
        for option, module in (("knob-a", good), ("knob_b", broken))
    ]
    monkeypatch.setattr("dgkd_search.utils.registry._installed", lambda: EntryPoints(entries))
    parser = search_parser()
    assert parser.parse(["--epochs", "3"]).epochs == "3"
    with pytest.raises(InputError, match=r"--knob-aa: unknown option; did you mean --knob-a\?"):
        parser.parse(["--knob-aa", "3"])
    with pytest.raises(InputError, match=f"^--knob-b: the installed module {broken} can't be"):
        parser.parse(["--knob_b=3"])
    with pytest.raises(InputError, match=f"^--knob-b: the installed module {broken} can't be"):
        parse_options({"knob-b": 3})
    assert not {*names} & {*sys.modules}
    assert parser.parse(["--knob-a", "-3"]).knob_a == "-3"
    assert parse_options({"knob_a": "-3"}).value("knob-a") == -3
    shown = " ".join(search_parser().format_help().split())
    assert "--knob-a N turned by 100 % (1)" in shown
    assert f"option 'knob_b': the installed module {broken} can't be imported" in shown
    assert "turned" not in COMMANDS.get("compare").parser().format_help(), "it is of search"


def test_groups_are_those_of_the_commands() -> None:
    taken = {option.group for option in OPTIONS.known()}
    assert taken | {"export"} == {*GROUPS}
