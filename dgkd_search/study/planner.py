"""From a study's configuration to the stages of each trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
        pretrained: checksum of the teacher's weights, where the user has brought them along.
    """

    config: StudyConfig
    info: DataInfo
    pretrained: str = ""

    def stages(self, configuration: Configuration, replicate: int = 0) -> tuple[StageSpec, ...]:
        """The stages of a configuration in training order, the student's last.

        What is tuned applies to the final student alone, so that chains share their prefixes; a
        drop probability reaches the assistants only under ``--drop-scope all``.
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
        """Teraoperations that training these stages takes from nothing."""
        return training_tflop(stages, self.info.train_count)

    def teacher(self) -> StageSpec:
        """The stage of the teacher, with which every chain begins."""
        space = self.config.space
        chain = Chain((space.teacher, space.student))
        lr = self.config.student_recipe.lr
        return self.stages(Configuration(chain, self.config.distillation, lr))[0]

    def architecture(self, name: str) -> Architecture:
        """A model of the family, for the images and classes of the data."""
        info = self.info
        of = get_family(self.config.family).architectures(
            len(info.classes), info.channels, info.image_size
        )
        return of(name)

    def baseline(self) -> Configuration:
        """The student on labels alone."""
        chain = Chain((self.config.space.student,), NO_GUIDANCE)
        return Configuration(chain, self.config.distillation, self.config.student_recipe.lr)

    def reference(self) -> tuple[StageSpec, ...]:
        """The stage of the student on labels alone."""
        return self.stages(self.baseline())
