"""What a record of evaluations.jsonl says: whose it is, by what protocol it scored, and which score is the best."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any


def is_own(record: Mapping[str, Any]) -> bool:
    """Whether the run evaluated itself on the way; what `zoo eval` or a sweep added names its checkpoint."""
    return "checkpoint" not in record and isinstance(record.get("metrics"), dict)


def protocol(result: Mapping[str, Any]) -> str:
    """The protocol of a metric's result, in a form that can be compared; the seed is none of it."""
    found = result.get("protocol")
    return json.dumps({key: value for key, value in found.items() if key != "seed"} if isinstance(found, dict) else {})


def best_step(
    records: Iterable[Mapping[str, Any]], metric: str, among: Collection[int], *, lower_is_better: bool = False
) -> int | None:
    """The step, among some, of the best score of a run's own evaluations, the first of equals; None where none has one.

    Only scores of the latest one's protocol count, for a resumed run may evaluate in another way. What `zoo eval`
    added does not count: its settings, and so its scores, may be others.
    """
    by_protocol: dict[str, dict[int, float]] = {}
    latest = ""
    for record in filter(is_own, records):
        result = record["metrics"].get(metric)
        score = result.get("score") if isinstance(result, dict) else None
        if isinstance(score, int | float) and not isinstance(score, bool):
            latest = protocol(result)
            by_protocol.setdefault(latest, {})[int(record["step"])] = score
    scores = {step: score for step, score in by_protocol.get(latest, {}).items() if step in among}
    if not scores:
        return None
    return (min if lower_is_better else max)(scores, key=lambda step: scores[step])
