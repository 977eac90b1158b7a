"""A zoo of generative models: the host that plugins bring models, datasets and metrics to.

`import zoo` imports neither torch nor numpy; the functions below do, when they need it.
"""

from zoo.api import evaluate, list_datasets, list_metrics, list_models, load, load_dataset, load_metric, train
from zoo.errors import ZooError
from zoo.hookspecs import hookimpl

__all__ = [
    "ZooError",
    "evaluate",
    "hookimpl",
    "list_datasets",
    "list_metrics",
    "list_models",
    "load",
    "load_dataset",
    "load_metric",
    "train",
]
