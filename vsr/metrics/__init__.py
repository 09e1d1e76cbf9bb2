"""Scores of frames and movies against the truth. Names and definitions are in `vsr.metrics.definitions`."""

from vsr.metrics.collection import Facts, Referee
from vsr.metrics.motion import SEQUENCE_SCORES, SequenceScores
from vsr.metrics.psnr_ssim import MSE_FLOOR, SCORES, SSIM_RADIUS, FrameScores, frame_scores

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
