"""Compare losses and write docs/results/losses.md and losses.json.

    python -m benchmarks.losses runs/losses [--epochs 40] [--movie-epochs 8] [--seeds 2]

The script trains a network on the tide with each loss (`plain_24`; `stacked` on clips of 7 frames for the temporal loss), scores
it with evaluate.py on other trajectories, and writes the page. Finished runs in the folder are reused.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.markdown import half_range, mean, spread, table
from vsr.system.files import replacing_file
from vsr.system.provenance import source_commit

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "results"
SPLIT = "test"
FRAME = ("model=plain_24", "recipe=default", "precision=bf16", "channels_last=true")
MOVIE = ("model=stacked", "recipe=default", "recipe.frames=7", "precision=bf16", "channels_last=true")
BASE = "mse"
LOSSES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "mse": (FRAME, ()),
    "l1": (FRAME, ("recipe.loss=l1",)),
    "charbonnier": (FRAME, ("recipe.loss=charbonnier",)),
    "mse + gradient": (FRAME, ("recipe.gradient=1",)),
    "mse + spectral": (FRAME, ("recipe.spectral=0.1",)),
    "l1, finetune": (FRAME, ("recipe.loss=l1", "recipe.finetune=0.2")),
    "stacked, mse": (MOVIE, ()),
    "stacked, mse + temporal": (MOVIE, ("recipe.temporal=1",)),
}
# Key in results.json -> (title, format, whether higher is better).
SCORES: dict[str, tuple[str, str, bool]] = {
    "psnr": ("PSNR (dB)", ".2f", True),
    "ssim": ("SSIM", ".4f", True),
    "lsd": ("spectrum error (dB)", ".2f", False),
    "gradient_rmse": ("gradient error", ".4f", False),
    "change_error": ("change error", ".3f", False),
}
INTRODUCTION = """# Comparison of losses

Each row is the same network with another loss, on `data.family=tide` at x2 with the default recipe: `plain_24` for {epochs}
epochs of 100 steps, or `stacked` for {movie_epochs} epochs on clips of 7 frames, which give 3 output frames. `evaluate.py`
scores on `{split}`, trajectories without training frames. Values are means ± half of the range over {seeds} seeds. Spectrum
error is the log-spectral distance; change error is the error of the change between frames ([scores](../reference/metrics.md)).

A loss *pays* (or *costs*) in a score if its mean is better (or worse) than the mean of the squared error by more than both half
ranges together.

The runs are of commit {commit}. The numbers are in [losses.json](losses.json).

```
python -m benchmarks.losses runs/losses --epochs {epochs} --movie-epochs {movie_epochs} --seeds {seeds}
```
"""


def base_of(name: str) -> str:
    """Return the name of the squared error with the same network."""
    return f"stacked, {BASE}" if name.startswith("stacked,") else BASE


def run(folder: Path, overrides: Sequence[str]) -> dict[str, float]:
    """Train and evaluate in separate processes unless done before. Exits when one fails."""
    scored = folder / "evaluation"
    if not (folder / "results.json").is_file():
        call("train.py", *overrides, "resume=auto", f"hydra.run.dir={folder}")
    if not (scored / "results.json").is_file():
        call("evaluate.py", f"checkpoint={folder / 'checkpoints' / 'best.ckpt'}", "report=false", f"hydra.run.dir={scored}")
    rows = json.loads((scored / "results.json").read_text(encoding="utf-8"))["rows"]
    own = [row for row in rows if row["split"] == SPLIT and row["method"] == "network"]
    if len(own) != 1:
        sys.exit(f"error: {scored}: {len(own)} rows of the network on {SPLIT}, not one")
    return {key: float(own[0][key]) for key in SCORES}


def call(script: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *arguments], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
    )
    if done.returncode:
        sys.exit(f"error: {script} {' '.join(arguments)}: ended with status {done.returncode}")


def page(facts: dict[str, Any]) -> str:
    """Render losses.md from the content of losses.json."""
    found: dict[str, list[dict[str, float]]] = facts["losses"]
    columns = {name: {key: [seed[key] for seed in seeds] for key in SCORES} for name, seeds in found.items()}
    rows = [[name, *(spread(own[key], form) for key, (_, form, _) in SCORES.items())] for name, own in columns.items()]
    said = []
    for name, own in columns.items():
        base = columns[base_of(name)]
        if own is not base:
            said.append(f"- **{name}** {verdict(own, base)}")
    shown = INTRODUCTION.format(**{key: value for key, value in facts.items() if key != "losses"}, split=SPLIT)
    return f"{shown}\n{table(['loss', *(title for title, _, _ in SCORES.values())], rows)}\n\n" + "\n".join(said) + "\n"


def verdict(own: dict[str, list[float]], base: dict[str, list[float]]) -> str:
    """Describe where a loss differs from its base by more than the spread over seeds."""
    better: list[str] = []
    worse: list[str] = []
    for key, (title, form, more) in SCORES.items():
        difference = mean(own[key]) - mean(base[key])
        if abs(difference) > half_range(own[key]) + half_range(base[key]):
            name = title.partition(" (")[0]
            (better if (difference > 0) == more else worse).append(f"{name} ({difference:+{form}})")
    if not better and not worse:
        return "differs in no score by more than the spread over seeds."
    gives = f"pays in {', '.join(better)}" if better else "does not pay"
    return f"{gives}, and costs in {', '.join(worse)}." if worse else f"{gives}."


def main() -> None:
    """Run what is missing and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--movie-epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT, help="where the page is written")
    parser.add_argument("--more", nargs="*", default=[], metavar="KEY=VALUE", help="further overrides of train.py")
    asked = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {}
    for name, (model, loss) in LOSSES.items():
        epochs = asked.movie_epochs if model is MOVIE else asked.epochs
        common = ("name=network", "data.family=tide", f"epochs={epochs}", "patience=null", *asked.more)
        place = "".join(letter if letter.isalnum() else "-" for letter in name)
        found[name] = [
            run(asked.folder / f"{place}-{seed}", (*model, *loss, *common, f"seed={seed}")) for seed in range(asked.seeds)
        ]
    facts: dict[str, Any] = {key: getattr(asked, key) for key in ("epochs", "movie_epochs", "seeds")}
    facts |= {"commit": source_commit(), "losses": found}
    for name, text in {"losses.json": json.dumps(facts, indent=1) + "\n", "losses.md": page(facts)}.items():
        with replacing_file(asked.out / name) as unfinished:
            unfinished.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
