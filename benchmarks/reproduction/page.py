"""Render docs/results/report.md from report.json."""

from __future__ import annotations

from typing import Any

from benchmarks.common.markdown import half_range, mean
from benchmarks.reproduction.claims import all_claims
from benchmarks.reproduction.report_values import CHAINS, INPUT, TRAINED
from benchmarks.reproduction.tables import TITLES, ReportResults, chained, network_table, summary, trained

STANDS_IN = ("climate-tide", "tide-")  # how names begin of the generated data, which replace the report's file
OLD_DATA = (
    " The generated data are [version 1](../reference/data/climate.md), which vsr does not generate any more: the figures do not "
    "compare with those of the [leaderboard](leaderboard.md)."
)

NETWORKS_NOTE = (
    "PSNR in dB on test frames, which are no validation frames, at x2. The seconds are those of the whole process; for two "
    "networks in a row, of the last one."
)


def render(content: dict[str, Any]) -> str:
    """Render the whole page in Markdown; deterministic."""
    facts = ReportResults(content)
    parts = [_opening(facts), "## Summary of the tables", _above(facts), summary(facts), "![curves](../images/report-curves.png)"]
    parts += ["## The networks side by side", NETWORKS_NOTE, network_table(facts)]
    for name in TITLES:
        parts.append(f"## {TITLES[name]}")
        parts.append(chained(facts, name) if name in CHAINS else trained(facts, name))
        parts += [f"*{remark}*" for remark in _remarks(facts, name)]
    parts += ["## Example frames", "![LR, bicubic, networks, HR](../images/report-panels.png)"]
    parts += ["## Claims of the report", all_claims(facts)]
    parts += ["## Data and networks", _data(facts)]
    return "\n\n".join(parts) + "\n"


def _opening(facts: ReportResults) -> str:
    made = facts.content["made"]
    seeds = max(len(run["seeds"]) for run in facts.runs.values())
    seconds = sum(sum(facts.seconds(name)) for name in facts.runs)
    count = sum(len(run["seeds"]) for run in facts.runs.values())
    times = "half of that with two at a time, and whatever else the machine did"
    old = OLD_DATA if any(run["data"].startswith("climate-") for run in facts.runs.values()) else ""
    return (
        "# The report, reproduced\n\n`make tables` computes every number and every verdict of this page from "
        f"[report.json](report.json). {count} runs took {seconds / 60:.0f} minutes of processes in all ({times}) on "
        f"{made['cpu']}, torch {made['torch']}, lightning {made['lightning']}, commit {made['commit']}. Values are "
        f"means of {seeds} seeds ± half of their range. MSE, SSIM and PSNR are in units of the data range, at x2 with bicubic "
        f"degradation; 4 pixels per side are cut. All rows of a table share frames and pixels, except those of the report.{old}"
    )


def _above(facts: ReportResults) -> str:
    return (
        "Gains in PSNR are in dB, on the validation frames at the last epoch; for Tables 7 and 8 on test frames. The report's "
        "frames are not ours, so that its PSNR says nothing about ours: only gains over the own input are compared, where the "
        "report states one. `level`: the gains differ by no more than half of the range over our seeds."
    )


def _remarks(facts: ReportResults, name: str) -> list[str]:
    """Return the differences from the report's setup, and their reasons."""
    movies = facts.runs["table4"]["data"]
    found = []
    if name == "table4":
        frames = facts.content["protocols"][movies]["data"]["frames"]
        real = "camera" not in movies
        found.append(
            (
                "The middle 64x64 pixels of "
                if real
                else "The report's movies are not available; a synthetic camera over photographs replaces them: "
            )
            + f"{movies.partition(',')[0]}, {frames['train']} + {frames['val']} frames, and "
            f"{sum(count for split, count in frames.items() if split not in ('train', 'val'))} for testing. The "
            "report trains on 236 frames. MSE is in code values."
        )
    elif facts.runs[name if name in facts.runs else "table6"]["data"].startswith(STANDS_IN):
        found.append(
            "The report's file is not public; generated climate data of 72x72 pixels replace it. "
            "`python -m benchmarks.reproduction data.path=H_Field_NI5.mat` makes the tables from the original."
        )
    if name == "table2":
        found.append("In the row 'trained as reported', an epoch is one pass over the frames.")
    if name in ("table1", "table2"):
        found.append(
            "An epoch is 50 steps of 16 patches, which is 1.6 times the pixels of the 96 frames. The "
            "first four layers start from "
            "the weights of this package instead of the authors' weights."
        )
    if name == "table3":
        raw = facts.epoch("bicubic", "first", "val", "psnr")[0]
        found.append(
            f"The report's raw frames have a PSNR of 13.85 dB, ours have {raw:.2f} dB. In the report, LR "
            "and HR frames may not have "
            "matched, which no network can repair. Our ten epochs of 100 steps see a quarter of the pixels of the report's "
            "hundred epochs."
        )
    if name in ("table5", "table6"):
        given = facts.epoch(name, "first", "val", "psnr")
        found.append(
            f"Epoch 0 is the output of the first network ({mean(given):.2f} dB on validation frames; "
            f"{'42.08' if name == 'table5' else '42'} dB in the report), because our 3D network starts as the identity. The "
            f"report's 3D network starts at {TRAINED[name][0].val.psnr:.1f} dB. An epoch is 100 steps of four clips."
        )
    if name == "table6":
        found += _shortfall(facts)
    if name in CHAINS:
        found.append(
            "After repacking, the report scores other pixels than before. Here all rows have the same pixels, and packing loses "
            "nothing."
        )
    return found


def _shortfall(facts: ReportResults) -> list[str]:
    """Return a remark if the gain of Table 6 is below the report's."""
    after, before = (facts.epoch("table6", which, "val", "psnr") for which in ("last", "first"))
    over = [a - b for a, b in zip(after, before, strict=True)]
    theirs = TRAINED["table6"][80].val.psnr - INPUT["table6"]
    if mean(over) > theirs:
        return []
    size = "less" if theirs - mean(over) < half_range(over) else "more"
    return [
        f"The gain over the first network is {mean(over):+.2f} dB, in the report {theirs:+.2f} dB; "
        f"the difference is {size} than the "
        "spread over seeds. The curve still rises at the end, after less than half of the pixels of the report's epochs."
    ]


def _data(facts: ReportResults) -> str:
    names = ("srcnn", "fsrcnn", "srnet3d", "srnet3d_kim", "two_stage", "movie_then_frame")
    pictures = "\n\n".join(f"`{name}`\n\n![{name}](../images/network-{name}.png)" for name in names)
    lists = "\n".join(
        f"- {name}: {', '.join(f'{count} {split}' for split, count in found['data']['frames'].items())} frames"
        for name, found in facts.content["protocols"].items()
    )
    return f"{lists}\n\n![movies](../images/report-data.png)\n\n{pictures}"
