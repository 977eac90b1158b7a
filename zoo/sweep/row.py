"""One run of a sweep as its table shows it, read from the run's directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from zoo import terminal
from zoo.run import RunDirectory
from zoo.sweep.plan import PlannedRun
from zoo.sweep.progress import Asked, evaluations, finished, logged, saved_step


@dataclass
class Row:
    """One run as the table shows it."""

    run: PlannedRun
    directory: RunDirectory
    state: str = "waiting"
    step: int = 0
    rate: float | None = None
    error: str = ""
    scores: Mapping[str, float | None] = field(default_factory=dict)

    def look(self, asked: Asked) -> None:
        """Read how far the run is."""
        self.step, self.rate = logged(self.directory)
        saved = saved_step(self.directory)
        self.step = max(self.step, saved)
        found = evaluations(self.directory, saved, asked)
        self.scores = {metric: result.get("score") for metric, result in found.items()}
        if self.state in ("starting", "training", "evaluating"):
            began = self.step > 0 or (self.directory.path / "owner.json").exists()
            self.state = "evaluating" if saved >= self.run.steps else "training" if began else "starting"

    def finished(self, asked: Asked) -> bool:
        """Whether nothing is left to do."""
        return finished(self.directory, self.run.steps, asked, self.run.config.eval_every)

    def cells(self) -> list[str]:
        """The row, as text."""
        rate = f"{self.rate:,.2f}" if self.rate and self.state == "training" else ""
        left = terminal.clock((self.run.steps - self.step) / self.rate) if self.rate and rate else ""
        scores = ", ".join(f"{metric} {_score(score)}" for metric, score in self.scores.items())
        return [self.run.name, self.state, f"{self.step:,}/{self.run.steps:,}", rate, left, self.error or scores]


def _score(score: float | None) -> str:
    return "–" if score is None else f"{score:.3f}"
