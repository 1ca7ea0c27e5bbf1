"""The networks that chains are made of.

A new family is one module that ends in a ``Family``, and one line of registration here.
"""

from dgkd_search.models import plain, resnet, resnet_imagenet, vgg, wrn
from dgkd_search.models.own import family, load_families
from dgkd_search.models.registry import (
    Family,
    Member,
    build,
    family_names,
    get_family,
    parameter_count,
    register,
    try_out,
)

__all__ = [
    "Family",
    "Member",
    "build",
    "family",
    "family_names",
    "get_family",
    "load_families",
    "parameter_count",
    "register",
    "try_out",
]

register(resnet.FAMILY)
register(plain.FAMILY)
register(plain.FAMILY_C10)
register(wrn.FAMILY)
register(vgg.FAMILY)
register(resnet_imagenet.FAMILY)
