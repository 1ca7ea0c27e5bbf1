"""The weights of a network are found wherever training scripts keep them."""

from __future__ import annotations

import argparse
import datetime
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from dgkd_search.distillation.pretrained import read_teacher
from dgkd_search.errors import InputError
from dgkd_search.models import build
from dgkd_search.models.architecture import Architecture
from dgkd_search.training.weights import from_bytes

CNN = Architecture("cnn", "cnn2", 10, 1, 8)
StateDict = dict[str, Tensor]


class Config(dict[str, object]):
    """As EasyDict and CfgNode: a mapping of a class that a reader doesn't know."""

    def __init__(self, **values: object) -> None:
        super().__init__(values)
        self.__dict__.update(values)


class Meter:
    def __init__(self) -> None:
        self.best, self.history = 93.1, [1, 2]


@pytest.fixture
def state() -> StateDict:
    return draw(1)


def draw(seed: int) -> StateDict:
    return build(CNN, torch.Generator().manual_seed(seed)).state_dict()


def prefixed(prefix: str, state: StateDict) -> StateDict:
    return {f"{prefix}{name}": value for name, value in state.items()}


def assert_read(path: Path, state: StateDict, rounded: torch.dtype = torch.float32) -> None:
    found = from_bytes(read_teacher(path, CNN).weights)
    assert found.keys() == state.keys()
    for name, value in state.items():
        expected = value.to(rounded).float() if value.is_floating_point() else value
        assert torch.equal(found[name], expected), name


KEYS = (
    *("state_dict", "model", "net", "model_state_dict", "model_ema", "ema", "teacher", "student"),
    *("network", "weights", "params", "resnet", "best_model"),
)
PREFIXES = (
    *("module.", "_orig_mod.", "model.", "net.", "student.", "teacher.", "backbone."),
    *(
        "module._orig_mod.",
        "_orig_mod.module.",
        "model.module.",
        "module.module.",
        "model.net.net.",
    ),
    "my_network.",
)


@pytest.mark.parametrize("key", KEYS)
def test_a_state_dict_may_be_at_any_key(tmp_path: Path, state: StateDict, key: str) -> None:
    torch.save({"epoch": 3, key: state, "acc": torch.tensor(9.0)}, tmp_path / "t")
    assert_read(tmp_path / "t", state)
    torch.save({"checkpoint": {"inner": {key: prefixed("module.", state)}}}, tmp_path / "t")
    assert_read(tmp_path / "t", state)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_names_may_have_any_prefix(tmp_path: Path, state: StateDict, prefix: str) -> None:
    torch.save(prefixed(prefix, state), tmp_path / "t.ckpt")
    assert_read(tmp_path / "t.ckpt", state)


def test_parts_of_names_that_torch_adds_are_dropped(tmp_path: Path, state: StateDict) -> None:
    named = {name.replace("features.", "features._orig_mod."): v for name, v in state.items()}
    torch.save(prefixed("module.", named), tmp_path / "t")
    assert_read(tmp_path / "t", state)


BESIDE: dict[str, Callable[[], Any]] = {
    "Namespace": lambda: argparse.Namespace(lr=0.1, device=torch.device("cpu")),
    "NumPy scalar": lambda: np.float64(93.1),
    "NumPy array": lambda: np.arange(6.0).reshape(2, 3),
    "NumPy random state": lambda: np.random.RandomState(0).get_state(),
    "dtype": lambda: (np.dtype("float32"), torch.float16),
    "time": lambda: datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
    "path": lambda: Path("/data"),
    "unknown mapping": lambda: Config(lr=0.1, nested=Config(a=1)),
    "unknown object": Meter,
    "defaultdict": lambda: defaultdict(list, {"a": [1]}),
    "sets": lambda: ({1, 2}, frozenset([3])),
    "odd numbers": lambda: (1 << 80, 2 + 1j, -1.5, None, True, b"bytes", range(3)),
    "optimizer": lambda: {"state": {0: {"step": 1, "exp_avg": torch.ones(2)}}, "param_groups": []},
    "whole network": lambda: nn.Sequential(nn.Linear(1, 1)),
    "sparse tensor": lambda: torch.eye(3).to_sparse(),
}


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("beside", BESIDE)
def test_other_objects_beside_it_are_not_read(
    tmp_path: Path, state: StateDict, beside: str, protocol: int
) -> None:
    for zipped in (True, False):
        torch.save(
            {"args": BESIDE[beside](), "model": state},
            tmp_path / "t",
            pickle_protocol=protocol,
            _use_new_zipfile_serialization=zipped,
        )
        assert_read(tmp_path / "t", state)


def _in_one_storage(state: StateDict) -> StateDict:
    flat = torch.cat([value.flatten() for value in state.values() if value.is_floating_point()])
    parts = {}
    first = 0
    for name, value in state.items():
        parts[name] = value
        if value.is_floating_point():
            parts[name] = flat[first : first + value.numel()].view(value.shape)
            first += value.numel()
    return parts


CONTAINERS: dict[str, Callable[[StateDict], Any]] = {
    "OrderedDict": OrderedDict,
    "unknown mapping": lambda state: Config(**state),
    "parameters": lambda s: {k: nn.Parameter(v, v.is_floating_point()) for k, v in s.items()},
    "one storage": _in_one_storage,
    "channels last": lambda s: {
        k: v.to(memory_format=torch.channels_last) if v.dim() == 4 else v for k, v in s.items()
    },
    "parts of larger": lambda s: {k: torch.stack([v, v + 1, v], -1)[..., 0] for k, v in s.items()},
    "averaged": lambda s: {"n_averaged": torch.tensor(3), **prefixed("module.", s)},
    "thop": lambda s: {**s, "total_ops": torch.zeros(1), "features.0.total_params": torch.ones(1)},
    "without counters": lambda s: {k: v for k, v in s.items() if "num_batches" not in k},
    "tuple": lambda s: ("resnet20", s, 7),
    "nested lists": lambda s: {"history": [[1, 2], "text"], "models": [[s]]},
    "beside a number": lambda s: {**s, "epoch": 7, "best": 0.5},
    "beside a loss": lambda s: {**prefixed("model.", s), "loss.weight": torch.ones(3)},
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_state_dict_may_be_kept_in_many_ways(
    tmp_path: Path, state: StateDict, container: str
) -> None:
    torch.save(CONTAINERS[container](state), tmp_path / "t.bin")
    assert_read(tmp_path / "t.bin", state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_precision_is_read(tmp_path: Path, state: StateDict, dtype: torch.dtype) -> None:
    state["features.1.num_batches_tracked"] += 7
    torch.save({name: value.to(dtype) for name, value in state.items()}, tmp_path / "t")
    assert_read(tmp_path / "t", state, dtype)
    large = {**state, "features.1.num_batches_tracked": torch.tensor(float("inf"))}
    torch.save(large, tmp_path / "t")
    read_teacher(tmp_path / "t", CNN)  # a counter that overflowed in half precision


@pytest.mark.parametrize(
    ("make", "chosen", "note"),
    [
        (lambda a, b: {"ema": b, "model": a}, 1, "read model; ema would fit too"),
        (lambda a, b: {"student": a, "teacher": b}, 2, "read teacher; student would fit too"),
        (
            lambda a, b: {
                "net": {**prefixed("module.student.", a), **prefixed("module.teacher.", b)}
            },
            2,
            "read net.module.teacher; net.module.student would fit too",
        ),
        (lambda a, b: {"model": b, "state_dict": a}, 1, "read state_dict; model would fit too"),
        (lambda a, b: {"last": b, "best": a}, 2, "read last; best would fit too"),
        (lambda a, b: [b, a], 2, "read 0; 1 would fit too"),
        (lambda a, b: {"a\n\x1b[1m": a, "b": b}, 1, "read a; b would fit too"),
        (
            lambda a, b: {**prefixed("net.", a), "head.weight": torch.ones(1)},
            1,
            "read net; 1 other tensor beside it left out",
        ),
        (
            lambda a, b: {"model": a, "optimizer": {"model": draw(1) | {"x": torch.ones(1)}}},
            1,
            None,
        ),
    ],
)
def test_the_choice_among_several_is_named(
    tmp_path: Path, make: Callable[[StateDict, StateDict], Any], chosen: int, note: str | None
) -> None:
    torch.save(make(draw(1), draw(2)), tmp_path / "t.pt")
    assert_read(tmp_path / "t.pt", draw(chosen))
    label = f"--teacher-weights {tmp_path / 't.pt'}"
    notes = () if note is None else (f"{label}: {note}",)
    assert read_teacher(tmp_path / "t.pt", CNN).notes == notes


def test_of_several_the_one_that_fits_is_read(tmp_path: Path, state: StateDict) -> None:
    other = build(Architecture("cnn", "cnn8", 10, 1, 8), torch.Generator()).state_dict()
    torch.save({"state_dict": other, "model": other, "student": state}, tmp_path / "t")
    assert_read(tmp_path / "t", state)


WEIGHT = "classifier.weight"
ODD: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "sparse": (lambda w: w.to_sparse(), "not plain tensors: classifier.weight (sparse)"),
    "csr": (lambda w: w.to_sparse_csr(), "not plain tensors: classifier.weight (sparse)"),
    "meta": (lambda w: w.to("meta"), "not plain tensors: classifier.weight (meta)"),
    "quantized": (
        lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8),
        "not plain tensors: classifier.weight (quantized)",
    ),
    "nested": (
        lambda w: torch.nested.nested_tensor([w, w]),
        "not plain tensors: classifier.weight (",
    ),
    "complex": (lambda w: torch.complex(w, w), "is complex64; give weights in float32"),
    "integer": (lambda w: w.to(torch.int8), "is int8; give weights in float32"),
    "boolean": (lambda w: w > 0, "is bool; give weights in float32"),
    "NumPy": (lambda w: w.numpy(), "not plain tensors: classifier.weight (numpy."),
    "list": (lambda w: w.tolist(), "not plain tensors: classifier.weight (list)"),
    "conjugate": (
        lambda w: torch.complex(w, w).conj().imag,
        "not plain tensors: classifier.weight (lazily negated)",
    ),
    "expanded": (lambda w: w[:1, :1].expand(10**6, 10**6), "wrong shapes: classifier.weight ["),
    "not finite": (lambda w: w / 0, "not finite: classifier.weight; give finite weights"),
    "too large": (lambda w: w.double() * 1e300, "not finite: classifier.weight"),
    "set": (lambda w: {1}, "not plain tensors: classifier.weight ("),
    "mapping": (lambda w: {"a": w}, "not plain tensors: classifier.weight (Entries)"),
    "no tensor": (lambda w: None, "missing tensors: classifier.weight"),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.filterwarnings("ignore:Sparse CSR", "ignore:.*prototype", "ignore:torch.quantize")
def test_odd_tensors_are_refused(tmp_path: Path, state: StateDict, odd: str) -> None:
    make, message = ODD[odd]
    torch.save({"model": {**state, WEIGHT: make(state[WEIGHT])}}, tmp_path / "t")
    with pytest.raises(InputError) as caught:
        read_teacher(tmp_path / "t", CNN)
    (line,) = caught.value.messages
    assert message in line and "\n" not in line


@pytest.mark.parametrize("kind", [torch.int8, torch.complex64, torch.float8_e4m3fn])
def test_safetensors_are_held_to_the_same(
    tmp_path: Path, state: StateDict, kind: torch.dtype
) -> None:
    state[WEIGHT] = state[WEIGHT].to(kind)
    safetensors.torch.save_file(prefixed("module.", state), tmp_path / "t.pth")
    if kind.is_floating_point:
        assert_read(tmp_path / "t.pth", {**state, WEIGHT: state[WEIGHT].float()})
        return
    with pytest.raises(InputError, match="give weights in float32"):
        read_teacher(tmp_path / "t.pth", CNN)


@pytest.mark.parametrize("depth", [0, 1, 60])
def test_a_mapping_that_contains_itself_is_refused(
    tmp_path: Path, state: StateDict, depth: int
) -> None:
    root: dict[str, Any] = {}
    inner: dict[str, Any] = root
    for _ in range(depth):
        inner["model"] = inner = {}
    inner.update(state)
    if depth < 60:
        inner["self"] = root
    torch.save(root, tmp_path / "t")
    with pytest.raises(InputError, match=r"contains itself|nested too deeply"):
        read_teacher(tmp_path / "t", CNN)


def test_one_mapping_at_two_keys_is_read(tmp_path: Path, state: StateDict) -> None:
    torch.save({"a": state, "b": {"c": state}}, tmp_path / "t")
    assert_read(tmp_path / "t", state)
