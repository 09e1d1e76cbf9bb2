"""The monitored validation score: its direction and the file that logs it."""

from __future__ import annotations

SCORE_LOG = "scores.jsonl"  # in a run's folder: the scores of each epoch, one JSON object per line


def higher_is_better(score: str) -> bool:
    """Tell whether a larger value of a logged score ("val/psnr") is better; False for unknown scores."""
    from vsr.metrics.definitions import DEFINITIONS  # numpy only now

    definition = DEFINITIONS.get(score.rpartition("/")[2])
    return definition is not None and definition.better == "high"
