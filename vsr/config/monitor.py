"""The monitored validation score: its direction and the file that logs it."""

from __future__ import annotations

SCORE_LOG = "scores.jsonl"  # in a run's folder: the scores of each epoch, one JSON object per line


def higher_is_better(score: str) -> bool:
    """Tell whether a larger value of a score ("val/psnr") is better."""
    return score.endswith(("psnr", "ssim"))
