"""Scores of frames and movies against the truth. Names and definitions are in `vsr.metrics.definitions`."""

from vsr.metrics.frames import MSE_FLOOR, SCORES, SSIM_RADIUS, FrameScores, frame_scores
from vsr.metrics.referee import Facts, Referee
from vsr.metrics.sequences import SEQUENCE_SCORES, SequenceScores

__all__ = [
    "MSE_FLOOR",
    "SCORES",
    "SEQUENCE_SCORES",
    "SSIM_RADIUS",
    "Facts",
    "FrameScores",
    "Referee",
    "SequenceScores",
    "frame_scores",
]
