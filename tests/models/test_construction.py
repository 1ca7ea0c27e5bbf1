"""Construction of custom networks: start weights of every kind, and global state."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dgkd_search.models.architecture import Architecture
from dgkd_search.models.construction import (
    NetworkError,
    construct,
    construct_planned,
    require_tensors,
    start_checksum,
    start_weights,
)

ONE = Architecture("mine", "small", 3, 1, 8, origin="mymodels", code="c")


def start(make: Callable[[], nn.Module]) -> str:
    return start_weights(lambda _: make(), ONE)


def holding(kind: str, tensor: Tensor) -> nn.Module:
    """Return a network that draws a layer and holds ``tensor`` in one of many ways."""
    layer: Any = nn.Linear(64, 3)
    if kind == "parameter":
        layer.register_parameter("held", nn.Parameter(tensor, requires_grad=False))
    elif kind in ("buffer", "unsaved buffer"):
        layer.register_buffer("held", tensor, persistent=kind == "buffer")
    elif kind == "attribute":
        layer.held = tensor
    elif kind == "array":
        layer.held = tensor.numpy()
    elif kind == "list":
        layer.held = [{"here": (tensor, "text")}]
        layer.held.append(layer.held)  # holds itself
    elif kind == "hidden network":
        hidden = nn.Linear(2, 2)
        hidden.weight = nn.Parameter(tensor.reshape(2, -1))
        layer.held = [hidden]
    elif kind == "scripted network":
        hidden = nn.Linear(2, 2)
        hidden.weight = nn.Parameter(tensor.reshape(2, -1))
        trace: Any = torch.jit.trace
        layer.held = trace(hidden, torch.zeros(1, tensor.numel() // 2))
    return nn.Sequential(nn.Flatten(), layer)


KINDS = (
    *("parameter", "buffer", "unsaved buffer", "attribute", "array", "list", "hidden network"),
    pytest.param(
        "scripted network",
        marks=pytest.mark.filterwarnings("ignore:.*torch.jit"),
    ),
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tensor_that_is_loaded_counts_wherever_a_network_holds_it(kind: str) -> None:
    one, same, other = (
        start(lambda v=values: holding(kind, torch.tensor(v)))  # type: ignore[misc]
        for values in ([1.0, 2, 3, 4], [1.0, 2, 3, 4], [1.0, 2, 3, 5])
    )
    assert len(one) == 32
    assert one == same != other


@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.bool, torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float64),
        *(torch.complex64, torch.float8_e4m3fn),
    ],
    ids=str,
)
def test_every_dtype_counts(dtype: torch.dtype) -> None:
    values = torch.tensor([0.0, 1, 1, 0])
    one, other = (start(lambda v=v: holding("buffer", v.to(dtype))) for v in (values, 1 - values))  # type: ignore[misc]
    assert one and other and one != other
    assert one != start(lambda: holding("buffer", values.to(dtype).reshape(2, 2))), "the shape"


def test_the_dtype_the_name_and_nan_count() -> None:
    bits = torch.tensor([1, 2, 3], dtype=torch.int32)
    one = start(lambda: holding("buffer", bits))
    assert one != start(lambda: holding("buffer", bits.view(torch.float32)))
    assert start(lambda: holding("buffer", torch.tensor([1.0, torch.nan])))
    assert not start(lambda: holding("buffer", torch.tensor([torch.nan, torch.nan])))


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(3),
        torch.full((2, 3), 0.5),
        torch.tensor(7.0),  # as a scale, or as a batch counter
        torch.tensor([7]),
        torch.zeros(0),
        torch.ones(1, 4).expand(3, 4),
    ],
    ids=lambda tensor: str(list(tensor.shape)),
)
def test_constant_tensors_alone_are_no_start_weights(tensor: Tensor) -> None:
    assert start(lambda: holding("buffer", tensor)) == ""


def test_beside_start_weights_constant_tensors_count() -> None:
    """Two files may differ in a single number."""

    def make(scale: float) -> nn.Module:
        network = holding("buffer", torch.tensor([1.0, 2.0]))
        network.register_buffer("scale", torch.tensor(scale))
        return network

    assert start(lambda: make(1.0)) != start(lambda: make(2.0))


def dense(tensor: Tensor) -> Tensor:
    return tensor


def sparse(tensor: Tensor) -> Tensor:
    return tensor.to_sparse()


def quantized(tensor: Tensor) -> Tensor:
    return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


def strided(tensor: Tensor) -> Tensor:
    return tensor.repeat_interleave(2)[::2]


@pytest.mark.filterwarnings("ignore:.*quant")
@pytest.mark.parametrize("form", [dense, sparse, quantized, strided])
def test_tensors_of_every_layout_are_read(form: Callable[[Tensor], Tensor]) -> None:
    one, other = (
        start(lambda v=values: holding("unsaved buffer", form(torch.tensor(v))))  # type: ignore[misc]
        for values in ([1.0, 0, 3], [1.0, 0, 4])
    )
    assert one and other and one != other


@pytest.mark.parametrize("dtype", ["<f4", ">f4", ">c8", ">i2", "u2", "f2", "g", "G"])
def test_arrays_of_every_type_are_read(dtype: str) -> None:
    def make(last: int) -> Any:
        network: Any = nn.Linear(2, 2)
        network.held = np.array([1, 2, last], dtype)[::2]
        return network

    assert start(lambda: make(3)) == start(lambda: make(3)) != start(lambda: make(4))


def test_the_order_of_tensors_does_not_matter() -> None:
    def make(names: str) -> nn.Module:
        network = nn.Module()
        for name in names:
            network.register_buffer(name, torch.tensor([float(ord(name)), 0.0]))
        return network

    assert start(lambda: make("ab")) == start(lambda: make("ba")) != start(lambda: make("ac"))


class Drawn(nn.Module):
    """Draws weights in all the usual ways."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.LayerNorm(4), nn.PReLU(), nn.Embedding(3, 2),
            nn.LSTM(2, 3), nn.MultiheadAttention(4, 2), nn.utils.parametrizations.weight_norm(
                nn.Linear(4, 4)
            ),
        )  # fmt: skip
        self.tied = nn.Linear(4, 4)
        self.twin = nn.Linear(4, 4)
        self.twin.weight = self.tied.weight
        self.numpy = nn.Parameter(torch.from_numpy(np.random.rand(5)))  # noqa: NPY002
        self.python = nn.Parameter(torch.tensor([random.random() for _ in range(5)]))
        self.entropy = nn.Parameter(torch.from_numpy(np.random.default_rng().random(5)))
        nn.init.orthogonal_(self.tied.weight.detach())
        self.shaped = nn.Parameter(torch.ones(int(torch.randint(2, 90, ()))))


def test_networks_that_draw_all_their_weights_have_none() -> None:
    assert start(Drawn) == ""


def test_tied_weights_that_are_loaded_count() -> None:
    def make(tied: bool) -> nn.Module:
        network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
        for layer in network:
            layer.weight = nn.Parameter(torch.eye(2))
        if tied:
            network[1].weight = network[0].weight
        return network

    assert start(lambda: make(True)) == start(lambda: make(False)) != ""


@pytest.mark.parametrize("library", ["torch", "generator", "numpy", "random"])
def test_a_seed_of_the_constructors_own_gives_start_weights(library: str) -> None:
    def make(seed: int) -> nn.Module:
        generator = None
        if library == "torch":
            torch.manual_seed(seed)
        elif library == "generator":
            generator = torch.Generator().manual_seed(seed)
        elif library == "numpy":
            np.random.seed(seed)  # noqa: NPY002
        else:
            random.seed(seed)
        if library == "numpy":
            return holding("buffer", torch.from_numpy(np.random.rand(5)))  # noqa: NPY002
        if library == "random":
            return holding("buffer", torch.tensor([random.random() for _ in range(5)]))
        return holding("buffer", torch.rand(5, generator=generator))

    assert start(lambda: make(1)) == start(lambda: make(1)) != start(lambda: make(2))


def test_global_generators_are_restored_and_weights_follow_from_the_seed() -> None:
    def make(_: Architecture) -> nn.Module:
        network = Drawn()
        del network.entropy
        torch.manual_seed(3)
        return network

    def fail(_: Architecture) -> nn.Module:
        torch.rand(3), random.random(), np.random.rand(3)  # noqa: NPY002
        raise SystemExit("no")  # as of a parser of arguments

    threads = torch.get_num_threads()
    before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    first, again, other = (construct(make, ONE, seed) for seed in (5, 5, 2**62))
    construct_planned(make, ONE, 7)
    start_weights(make, ONE)
    with pytest.raises(NetworkError, match=r"can't be built for 3 classes .*: no"):
        construct(fail, ONE, 0)
    after = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]
    assert torch.get_num_threads() == threads
    for name in ("numpy", "python"):
        assert torch.equal(getattr(first, name), getattr(again, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))


def test_gpus_are_seeded_if_they_are_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a constructor that draws on a GPU would draw the same each time."""
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    for in_use in (False, True):
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda used=in_use: used)
        construct(lambda _: nn.Identity(), ONE, 5)
    assert seeds == [5]


def test_another_file_than_planned_is_refused_with_the_models_name(tmp_path: Path) -> None:
    file = tmp_path / "w.pt"

    def make(_: Architecture) -> nn.Module:
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
        if file.exists():
            network[1].load_state_dict(torch.load(file))
        return network

    def save() -> None:
        torch.save(nn.Linear(64, 3).state_dict(), file)

    drawn = Architecture(**vars(ONE))
    construct_planned(make, drawn, 0)
    save()
    loaded = Architecture(**{**vars(ONE), "start": start_weights(make, ONE)})
    construct_planned(make, loaded, 0)
    with pytest.raises(NetworkError, match=r"^model 'small' of mymodels: .* other start weights"):
        construct_planned(make, drawn, 0)
    save()
    with pytest.raises(NetworkError, match=r"^model 'small' of mymodels: .* other start weights"):
        construct_planned(make, loaded, 0)
    file.unlink()
    with pytest.raises(NetworkError, match=r"^model 'small' of mymodels: .* other start weights"):
        construct_planned(make, loaded, 0)


def test_small_drawn_tensors_that_agree_by_chance_are_no_other_weights() -> None:
    def make(_: Architecture) -> nn.Module:
        return holding("buffer", torch.randperm(2))

    planned = Architecture(**{**vars(ONE), "start": start_weights(make, ONE)})
    networks = [construct_planned(make, planned, seed) for seed in range(9)]
    drawn = {tuple(buffer.tolist()) for each in networks for buffer in each.buffers()}
    assert len(drawn) == 2


def test_weights_that_are_drawn_at_import_differ_between_processes() -> None:
    """Each process would begin with its own, so the plan of another one does not hold."""
    shared = nn.Linear(64, 3)
    planned = Architecture(**{**vars(ONE), "start": start(lambda: shared)})
    construct_planned(lambda _: shared, planned, 0)
    with pytest.raises(NetworkError, match="other start weights"):
        construct_planned(lambda _: nn.Linear(64, 3), planned, 0)


def test_tensors_without_values_are_refused_by_name() -> None:
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    with pytest.raises(NetworkError, match=r"^it: 1\.weight has no shape .* instead of nn\.Lazy"):
        require_tensors(lazy, "it")
    with pytest.raises(NetworkError, match=r"^it: weight has no values \(device meta\)"):
        require_tensors(nn.Linear(2, 2, device="meta"), "it")
    assert start(lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(3))) == ""
    require_tensors(Drawn(), "it")


class Stateful(nn.Module):
    """Saves more than tensors."""

    def get_extra_state(self) -> Any:
        return {"version": 1}


class Unsavable(nn.Module):
    def state_dict(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no")


@pytest.mark.filterwarnings("ignore:.*nested tensors", "ignore:.*quant")
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (
            Stateful,
            r"_extra_state of its .* can't be saved \(it is a dict\); make it a dense tensor",
        ),
        (lambda: holding("buffer", torch.eye(3).to_sparse()), "held of its .*it is sparse"),
        (lambda: holding("buffer", torch.ones(1, 4).expand(3, 4)), "held of its .*it is expanded"),
        (lambda: holding("buffer", quantized(torch.ones(2))), "held of its .*it is quantized"),
        (
            lambda: holding("buffer", torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])),
            "held of its .*it is nested",
        ),
        (Unsavable, r"its state_dict\(\) fails \(RuntimeError: no\)"),
    ],
)
def test_what_cannot_be_saved_is_refused_by_name(make: Callable[[], nn.Module], why: str) -> None:
    with pytest.raises(NetworkError, match=f"^it: .*{why}"):
        require_tensors(make(), "it")
    require_tensors(holding("unsaved buffer", torch.eye(3).to_sparse()), "it")


@pytest.mark.filterwarnings("ignore:.*nested tensors")
def test_a_tensor_that_cannot_be_read_is_named() -> None:
    def nested() -> nn.Module:
        return holding("attribute", torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]))

    with pytest.raises(NetworkError, match=r"^it: its tensor 1\.held can't be read \(.+\); use a"):
        start_checksum(nested(), nested(), "it")
