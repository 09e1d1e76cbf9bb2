"""A synthetic camera that pans, zooms and rotates over a photograph by fractions of a pixel."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

MARGIN = 3  # picture pixels that the camera keeps from the border


def camera_movie(picture: np.ndarray, *, size: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Render a movie of a camera that moves smoothly over a grey picture (H, W).

    The zoom stays between 1 and 1.5 picture pixels per frame pixel. The picture is blurred accordingly and sampled by cubic
    splines, so that nothing aliases.

    Args:
        picture: code values, (H, W).
        size: pixels per side of a frame.
        frames: number of frames.
        rng: draws the path.

    Returns:
        (frames, size, size), float32, 0 to 255.

    Raises:
        ValueError: the picture is too small for the frame.
    """
    height, width = picture.shape
    reach = 0.5 * size * 1.5 * np.sqrt(2)
    if min(height, width) / 2 < 0.5 * size * np.sqrt(2) + MARGIN:
        raise ValueError(f"a picture of {height}x{width} is too small for a camera of {size} pixels")
    t = np.arange(frames)

    def path(amplitude: float) -> np.ndarray:
        """Sum of two slow sinusoids of random phase, at most `amplitude`."""
        period = rng.uniform(60, 120, 2)
        phase = rng.uniform(0, 2 * np.pi, 2)
        waves = np.sin(2 * np.pi * t[:, None] / period + phase)
        return amplitude * (0.7 * waves[:, 0] + 0.3 * waves[:, 1])

    zoom = np.clip(1.2 + path(0.1), 1.0, min(1.5, (min(height, width) / 2 - MARGIN) / (0.5 * size * np.sqrt(2))))
    angle = path(0.1)
    needed = np.minimum(reach, 0.5 * size * np.sqrt(2) * zoom.max()) + MARGIN
    cy = height / 2 + path(max(0.0, min(height / 2 - needed, 12.0)))
    cx = width / 2 + path(max(0.0, min(width / 2 - needed, 12.0)))
    # A blur of half the zoom, in picture pixels, removes what lies above the frame's Nyquist frequency.
    smooth = gaussian_filter(picture.astype(np.float64), 0.5 * float(zoom.mean()))
    grid = np.arange(size) - (size - 1) / 2
    y, x = np.meshgrid(grid, grid, indexing="ij")
    movie = np.empty((frames, size, size), np.float32)
    for k in range(frames):
        cos, sin = zoom[k] * np.cos(angle[k]), zoom[k] * np.sin(angle[k])
        at = np.stack([cy[k] + cos * y - sin * x, cx[k] + sin * y + cos * x])
        movie[k] = map_coordinates(smooth, at, order=3, mode="mirror")
    return np.clip(movie, 0, 255)
