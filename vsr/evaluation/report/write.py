"""Writer of an evaluation report: numbers, tables, figures, movies and a page, with each file written atomically."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsr.errors import UserError
from vsr.evaluation.lead_time import LEAD_TIME, lead_time_findings, lead_time_sentences
from vsr.evaluation.report.csv_json import (
    FRAMES,
    LEAD_TIMES,
    SEGMENTS,
    frames_csv,
    lead_times_csv,
    results_json,
    segments_csv,
    to_jsonable,
)
from vsr.evaluation.report.figures import lead_time_figure, panels_figure, scores_over_time_figure, spectra_figure
from vsr.evaluation.report.movie import FRAMES as FRAMES_SHOWN
from vsr.evaluation.report.movie import report_movie
from vsr.evaluation.report.page import Shown, report_page
from vsr.evaluation.report.style import style_png
from vsr.evaluation.report.tables import report_table_latex, report_table_markdown
from vsr.evaluation.report.uncertainty import distribution_figures
from vsr.evaluation.rows import Row, build_rows, pair_sentences
from vsr.evaluation.scored import MethodScores, SampleFrames, group_scores_by_part
from vsr.geometry import SQUARE, PixelGrid
from vsr.metrics.intervals import MIN_SEGMENTS
from vsr.system.escape import escape_name
from vsr.system.files import replacing_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

PANELS = (
    "LR, every method, HR; the busiest region of it, enlarged; the errors, all on one scale, with the PSNR of this frame inside "
    "the evaluation window."
)


def write_report(
    folder: Path,
    scored: Sequence[MethodScores],
    samples: Sequence[SampleFrames],
    protocol: Mapping[str, Any],
    *,
    command: str,
    field: bool,
    grid: PixelGrid = SQUARE,
    pictures: bool = True,
) -> list[Row]:
    """Write results.json, CSV files, table.md, table.tex, figures/ and report.html, replacing existing files.

    Args:
        folder: Folder of the files.
        scored: Scores of each method on each split.
        samples: Sample frames of each split, for figures and movies.
        protocol: Data and settings of the scores, in plain nested values.
        command: Command that reproduces the report.
        field: True for physical fields, which are shown in colours; False for grey or RGB movies.
        grid: The size of the HR pixels, for the axes of figures.
        pictures: False to leave out figures/ and report.html.

    Returns:
        The rows of the results table.

    Raises:
        UserError: If a file cannot be written.
        ValueError: If a score has no definition, or if the methods of a split cannot be compared (see `build_rows`).
    """
    rows = build_rows(scored)
    content = results_json(scored, protocol, rows) | {"command": command}
    shown, notes = _draw(scored, samples, field, grid) if pictures else ([], [])
    files: dict[str, bytes] = {one.file: one.content for one in shown}
    texts = {
        "results.json": json.dumps(content, indent=1, allow_nan=False),
        FRAMES: frames_csv(scored),
        SEGMENTS: segments_csv(scored),
        **({LEAD_TIMES: found} if (found := lead_times_csv(scored)) else {}),
        "table.md": report_table_markdown(rows),
        "table.tex": report_table_latex(rows),
    }
    if pictures:
        texts["report.html"] = report_page(
            rows, to_jsonable(protocol), shown, command=command, notes=notes, pairs=pair_sentences(scored)
        )
    files |= {name: text.encode("utf-8", errors="replace") for name, text in texts.items()}
    write_report_files(folder, files, advice="; type hydra.run.dir=FOLDER to write elsewhere")
    return rows


def write_report_files(folder: Path, files: Mapping[str, bytes], advice: str = "") -> None:
    """Write files (name -> bytes), each atomically. Raises UserError, ending with `advice`, if a file cannot be written."""
    for name, content in files.items():
        try:
            with replacing_file(folder / name) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise UserError(f"{folder / name}: cannot be written ({error.strerror}){advice}") from error


def _draw(
    scored: Sequence[MethodScores], samples: Sequence[SampleFrames], field: bool, grid: PixelGrid
) -> tuple[list[Shown], list[str]]:
    """Draw the figures and movies of each split; return them with notes on movies that cannot be made."""
    shown: list[Shown] = []
    notes: list[str] = []
    named, said = _file_namer(), lead_time_sentences(lead_time_findings(scored))

    def add(split: str, kind: str, figure: Figure, alt: str, caption: str) -> None:
        file = f"figures/{named(f'{kind}-{split}')}.png"
        shown.append(Shown(split, file, "image/png", style_png(figure), f"{alt} of {escape_name(split)}", caption))

    for split, methods in group_scores_by_part(scored).items():
        own = [sample.upright() for sample in samples if sample.part == split]
        baselines = {name for name, one in methods.items() if one.baseline}
        for sample in own:
            try:
                found = report_movie(sample, field=field, baselines=baselines)
            except ImportError:
                notes.append(
                    f"{escape_name(split)}: no movie, as neither av nor pillow is installed; pip install 'vsr-movies[video]'"
                )
                continue
            if found is not None:
                file = f"figures/{named(f'movie-{split}')}{found.suffix}"
                caption = f"{found.note[0].upper()}{found.note[1:]}, on one scale."
                alt, frames = f"movie of {escape_name(split)}", (sample.first, min(FRAMES_SHOWN, len(sample.hr)))
                seekable = frames if found.media.startswith("video/") else None
                shown.append(Shown(split, file, found.media, found.content, alt, caption, seekable))
        for sample in own:
            add(split, "frame", panels_figure(sample, field=field), "a frame", f"A frame of {escape_name(split)}: {PANELS}")
        scale = own[0].hr.shape[-1] // own[0].lr.shape[-1] if own else None
        if (figure := spectra_figure(methods, scale, grid)) is not None:
            add(split, "spectra", figure, "spectra", "Power and coherence with HR against wavenumber, means over the split.")
        for kind, figure, caption in distribution_figures(methods, own, scale, grid):
            add(split, kind, figure, kind, caption)
        if (figure := scores_over_time_figure(methods)) is not None:
            add(split, "psnr", figure, "psnr", "PSNR of every frame; lines between movies.")
        if (figure := lead_time_figure(methods)) is not None:
            counts = next(one.curves[LEAD_TIME]["trajectories"] for one in methods.values() if LEAD_TIME in one.curves)
            count = " to ".join(str(n) for n in sorted({int(counts.min()), int(counts.max())}))
            caption = f"Means over the {count} trajectories that have a frame of this lead time"
            caption += ", and 95% intervals over them. " if counts.max() >= MIN_SEGMENTS else ". "
            add(split, "lead-time", figure, "scores over lead time", caption + ". ".join([*said.get(split, []), ""]).strip())
    for note in notes:
        log.info("%s", note)
    return shown, notes


def _file_namer() -> Callable[[str], str]:
    """Return a function that turns texts into file names, safe on every system and unique even without regard to case."""
    taken: set[str] = set()

    def named(text: str) -> str:
        base = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:60]
        name, number = base, 1
        while name.lower() in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name.lower())
        return name

    return named
