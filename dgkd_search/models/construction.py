"""Construction of custom networks, and the checksum of the weights that a constructor loads.

A constructor may draw the weights of a network, or load some of them, for example from a file.
Weights that are the same whatever the seed are *start weights*: they determine what training gives,
so their checksum is part of the key of a stage.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from dgkd_search.errors import InputError, one_line
from dgkd_search.models.architecture import Architecture
from dgkd_search.models.held_tensors import content_of, tensors_of

Build = Callable[[Architecture], nn.Module]

_SEEDS = 0, 1


class NetworkError(InputError):
    """A custom network can't be built, or isn't the one that was planned."""


def construct(build: Build, architecture: Architecture, seed: int) -> nn.Module:
    """Run the constructor of a custom network; return the network in training mode.

    The global generators of torch, NumPy and Python are seeded for the constructor, and restored.

    Raises:
        NetworkError: the constructor fails, or returns no module.
    """
    with _seeded(seed), _one_thread():
        try:
            model = build(architecture)
        except (Exception, SystemExit) as error:
            why = one_line(error, with_class=True)
            raise NetworkError(
                f"{label(architecture)}: can't be built for {architecture.classes} classes and "
                f"images of {architecture.channels} x {architecture.image_size} x "
                f"{architecture.image_size} ({why})"
            ) from error
    if not isinstance(model, nn.Module):
        raise NetworkError(
            f"{label(architecture)}: its callable returns a {type(model).__name__}; return a "
            "torch.nn.Module"
        )
    return model.train()


def construct_planned(build: Build, architecture: Architecture, seed: int) -> nn.Module:
    """Construct a custom network, and check that its start weights are those of the plan.

    Raises:
        NetworkError: it can't be built, or its start weights are others.
    """
    # By the seeds of the plan: under others, a small drawn tensor may agree by chance.
    if start_weights(build, architecture) != architecture.start:
        raise NetworkError(
            f"{label(architecture)}: its constructor loads other start weights than those that the "
            "stage was planned with; use the same files on all machines, or start a new search"
        )
    return construct(build, architecture, seed)


def start_weights(build: Build, architecture: Architecture) -> str:
    """Return the checksum of the start weights of a custom network; empty if it has none.

    Raises:
        NetworkError: the network can't be built.
    """
    one, other = (construct(build, architecture, seed) for seed in _SEEDS)
    return start_checksum(one, other, label(architecture))


def start_checksum(one: nn.Module, other: nn.Module, name: str) -> str:
    """Return the checksum of the tensors on which two networks of different seeds agree.

    Tensors whose elements are all equal, such as zero biases, are no evidence that weights were
    loaded. They count only beside others, so that two files may differ in nothing but them.

    Args:
        one, other: the same network, constructed with different seeds.
        name: name of the network in messages.

    Returns:
        32 hex digits, whatever the order of the tensors; empty if all that agree are constant.

    Raises:
        NetworkError: a tensor can't be read.
    """
    others = dict(tensors_of(other))
    checksum, loaded = hashlib.sha256(), False
    for path, tensor in sorted(tensors_of(one), key=lambda item: item[0]):
        twin = others.get(path)
        try:
            content = content_of(tensor)
            if twin is None or (tensor.dtype, tensor.shape) != (twin.dtype, twin.shape):
                continue
            if not np.array_equal(content, content_of(twin)):
                continue
        except (RuntimeError, TypeError, ValueError) as error:
            why = one_line(error, 120)
            raise NetworkError(
                f"{name}: its tensor {path} can't be read ({why}); use a dense tensor"
            ) from None
        loaded = loaded or bool((content != content[:1]).any())
        checksum.update(f"{path}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        checksum.update(content.data)
    return checksum.hexdigest()[:32] if loaded else ""


def require_tensors(model: nn.Module, name: str) -> None:
    """Check that all parameters and buffers of a custom network have values and can be saved.

    Raises:
        NetworkError: some are created by the first forward pass (lazy modules), have no memory,
            or can't be saved as safetensors or loaded again.
    """
    for path, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise NetworkError(
                f"{name}: {path} has no shape before the first images (a lazy module); give all "
                "sizes in the constructor, for example nn.Linear instead of nn.LazyLinear"
            )
        if tensor.is_meta:
            raise NetworkError(
                f"{name}: {path} has no values (device meta); draw or load them in the constructor"
            )
    try:
        state: dict[str, object] = model.state_dict()
    except Exception as error:
        why = one_line(error, 120, with_class=True)
        raise NetworkError(f"{name}: its state_dict() fails ({why}); mend it") from error
    for path, value in state.items():
        if kind := _unsavable(value):
            raise NetworkError(
                f"{name}: {path} of its state dict can't be saved ({kind}); make it a dense "
                "tensor, or a buffer with persistent=False"
            )


def _unsavable(value: object) -> str:
    """Return why a value can't be saved as safetensors and loaded again; empty if it can."""
    if not isinstance(value, Tensor):
        return f"it is a {type(value).__name__}"
    if value.is_quantized:
        return "it is quantized"
    if value.is_nested or value.layout != torch.strided:
        return "it is nested" if value.is_nested else "it is sparse"
    # Values can't be written into a tensor whose elements share memory.
    expanded = any(n > 1 and not step for n, step in zip(value.shape, value.stride(), strict=True))
    return "it is expanded" if expanded else ""


def label(architecture: Architecture) -> str:
    """Return the name of a custom network in messages."""
    return f"model {architecture.name!r} of {architecture.origin}"


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, NumPy and Python, and restore them at the end."""
    # NumPy's global generator, which has no other interface, and which a constructor may use.
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    # A constructor may also draw on GPUs, and its ``torch.manual_seed`` seeds those in use.
    in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    gpus = range(torch.cuda.device_count()) if in_use else ()
    with torch.random.fork_rng(devices=list(gpus)):
        torch.default_generator.manual_seed(seed)
        if in_use:
            torch.cuda.manual_seed_all(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: decompositions may differ in the last bits between numbers of threads.

    The driver and the workers use different numbers.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
