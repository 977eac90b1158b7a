"""Datasets, and converters of datasets and checkpoints. Imports `zoo` only."""
