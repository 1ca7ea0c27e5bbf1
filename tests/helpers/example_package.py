"""An installed package that adds one extension of each kind."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

GUIDANCE = '''
    """Each model learns from the teacher and from the model before it."""

    from dgkd_search import Guidance, register_guidance


    @register_guidance
    class Outer(Guidance):
        name, method, color, marker = "outer", "OuterKD", "#56B4E9", "v"

        def teachers(self, position):
            return tuple(sorted({0, position - 1}))
'''
LOSS = '''
    """The logits themselves are matched (Kim et al., arXiv 2105.08919)."""

    from dgkd_search import DistillationLoss, register_loss


    @register_loss
    class LogitMSE(DistillationLoss):
        name, title, source = "mse", "logit MSE", "arXiv 2105.08919"
        uses_temperature, options = False, ("mse-scale",)

        def divergence(self, student, teachers, temperature, mse_scale=1.0):
            return mse_scale * (teachers - student).square().mean(dim=2).sum() / len(student)
'''
STRATEGIES = """
    from optuna.pruners import PercentilePruner
    from optuna.samplers import TPESampler
    from dgkd_search import register_pruner, register_sampler

    def broad(seed, candidates):
        return TPESampler(seed=seed, n_ei_candidates=candidates)

    register_sampler("broad", broad, options=["candidates"], summary="weighs up many chains")
    register_pruner(
        "quarter", lambda epochs: PercentilePruner(25.0, n_startup_trials=1), summary="ends most"
    )
"""
DATASET = """
    import numpy as np
    import dgkd_search

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (90, 8, 8), np.uint8)
    labels = np.arange(90) % 3
    dgkd_search.dataset(
        "noise",
        train=lambda: (images[:60], labels[:60]),
        test=lambda: (images[60:], labels[60:]),
        classes=["a", "b", "c"],
    )
"""
FAMILY = """
    from functools import partial
    import dgkd_search
    from torch import nn

    def network(width, *, classes, channels, image_size):
        return nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(width, classes),
        )

    dgkd_search.family("thin", **{f"thin{w}": partial(network, w) for w in (2, 4, 6, 8)})
"""
FORM = """
    import torch
    from dgkd_search import register_export_form

    def make(student, images, path, note):
        traced = torch.jit.trace(student, images[:2])
        torch.jit.save(traced, path, _extra_files={} if note is None else {"note": note})
        return torch.jit.load(path)

    usage = 'model = torch.jit.load("student.ts")'
    register_export_form("script", "student.ts", make, usage, options=["note"])
"""
OPTIONS = """
    from dgkd_search import register_option

    register_option("candidates", int, 96, "that the sampler broad weighs up (96)", "N")
    register_option("mse-scale", float, 1.0, "factor of the loss mse (1)", group="recipe")
    register_option("note", str, None, "lies in student.ts", "TEXT", group="export")
"""
COMMAND = """
    from pathlib import Path
    from dgkd_search import InputError, load_best, register_command

    def act(known):
        if not Path(known.run).is_dir():
            raise InputError(f"{known.run}: is not a folder")
        print(known.upper and load_best(known.run)["student"].upper())

    def arguments(parser):
        parser.add_argument("run", metavar="RUN")
        parser.add_argument("--upper", action="store_true", help="in capitals")

    register_command("shout", "the student's name, loudly", arguments, act, "RUN")
"""
MODULES = {
    "guidance": GUIDANCE,
    "losses": LOSS,
    "strategies": STRATEGIES,
    "data": DATASET,
    "models": FAMILY,
    "forms": FORM,
    "commands": COMMAND,
    "options": OPTIONS,
}
ENTRY_POINTS = """
    [dgkd_search.guidances]
    outer = extradistill.guidance

    [dgkd_search.losses]
    mse = extradistill.losses

    [dgkd_search.samplers]
    broad = extradistill.strategies

    [dgkd_search.pruners]
    quarter = extradistill.strategies

    [dgkd_search.datasets]
    noise = extradistill.data

    [dgkd_search.families]
    thin = extradistill.models

    [dgkd_search.export_forms]
    script = extradistill.forms

    [dgkd_search.commands]
    shout = extradistill.commands

    [dgkd_search.options]
    candidates = extradistill.options
    mse-scale = extradistill.options
    note = extradistill.options
"""


def install(site: Path, entry_points: bool = True) -> None:
    """Install the package.

    Args:
        site: a folder on ``sys.path``.
        entry_points: whether to declare them; else modules must be imported or named.
    """
    package = site / "extradistill"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    for name, text in MODULES.items():
        (package / f"{name}.py").write_text(dedent(text).lstrip())
    info = site / "extradistill-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: extradistill\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(dedent(ENTRY_POINTS) if entry_points else "")
