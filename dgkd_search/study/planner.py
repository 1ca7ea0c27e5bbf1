"""Plan the stages of each trial from a study's configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from dgkd_search.data import DataInfo
from dgkd_search.distillation.chain import Chain
from dgkd_search.distillation.cost import training_tflop
from dgkd_search.distillation.guidances.registry import NO_GUIDANCE
from dgkd_search.distillation.stages import ChainSettings, chain_stages
from dgkd_search.models import get_family
from dgkd_search.models.architecture import Architecture
from dgkd_search.study.config import StudyConfig
from dgkd_search.study.space import Configuration
from dgkd_search.training.spec import StageSpec


@dataclass(frozen=True)
class Planner:
    """Plans the stages of every configuration of one study on one dataset.

    Attributes:
        pretrained: checksum of the teacher's weights, if the user provides them, else empty.
    """

    config: StudyConfig
    info: DataInfo
    pretrained: str = ""

    def stages(self, configuration: Configuration, replicate: int = 0) -> tuple[StageSpec, ...]:
        """Return the stages of a configuration in training order, the student's last.

        Tuned values apply to the student only, so that chains share their first stages. The drop
        probability applies to assistants only under ``--drop-scope all``.
        """
        config, base = self.config, self.config.distillation
        drop = configuration.distillation.drop_prob if config.space.drop_scope == "all" else 0.0
        return chain_stages(
            configuration.chain,
            ChainSettings(
                architecture=self.architecture,
                data=self.info.fingerprint,
                recipe=config.recipe,
                student_recipe=replace(config.student_recipe, lr=configuration.lr),
                distillation=configuration.distillation,
                assistant_distillation=replace(base, drop_prob=drop),
                numerics=config.numerics,
                train_seed=config.train_seed,
                replicate=replicate,
                outputs=config.outputs,
                pretrained={config.space.teacher: self.pretrained} if self.pretrained else {},
            ),
        )

    def tflop(self, stages: Sequence[StageSpec]) -> float:
        """Return the cost of training these stages from scratch, in 10^12 operations."""
        return training_tflop(stages, self.info.train_count)

    def teacher(self) -> StageSpec:
        """Return the stage of the teacher, the first of every chain."""
        space = self.config.space
        chain = Chain((space.teacher, space.student))
        lr = self.config.student_recipe.lr
        return self.stages(Configuration(chain, self.config.distillation, lr))[0]

    def architecture(self, name: str) -> Architecture:
        """Return a model of the family, for the images and classes of the dataset."""
        return self._architectures(name)

    @cached_property
    def _architectures(self) -> Callable[[str], Architecture]:
        info = self.info  # cached, as it constructs custom networks
        return get_family(self.config.family).architectures(
            len(info.classes), info.channels, info.image_size
        )

    def baseline(self) -> Configuration:
        """Return the configuration of the student trained on labels alone."""
        chain = Chain((self.config.space.student,), NO_GUIDANCE)
        return Configuration(chain, self.config.distillation, self.config.student_recipe.lr)

    def reference(self) -> tuple[StageSpec, ...]:
        """Return the only stage of the student trained on labels alone."""
        return self.stages(self.baseline())
