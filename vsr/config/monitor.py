"""Choices, direction and log file of the monitored validation score."""

from __future__ import annotations

from vsr.metrics.definitions import DEFINITIONS, HEADLINE_SCORES

MONITORS = tuple(f"val/{score}" for score in HEADLINE_SCORES)
SCORE_LOG = "scores.jsonl"  # in a run's folder: the scores of each epoch, one JSON object per line


def monitor_is_maximised(score: str) -> bool:
    """Return True if a larger value of a logged score ("val/psnr") is better; False for unknown scores."""
    definition = DEFINITIONS.get(score.rpartition("/")[2])
    return definition is not None and definition.better == "high"
