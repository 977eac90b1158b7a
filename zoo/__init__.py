"""A zoo of generative models: the host that plugins bring models, datasets and metrics to."""

from zoo.hookspecs import hookimpl

__all__ = ["hookimpl"]
