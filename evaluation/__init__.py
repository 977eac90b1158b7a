"""Metrics and figures. Imports `zoo` only."""
