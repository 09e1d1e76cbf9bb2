"""Further tables of the leaderboard: scales, new trajectories, transfer between families, neighbouring frames, photographs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from benchmarks.common.markdown import mean, table
from benchmarks.leaderboard.experiments import MOVIES
from benchmarks.leaderboard.results import NONE, Leaderboard, format_gain, format_mean, format_number
from vsr.inference.out_of_distribution import OODScore


class Gain(NamedTuple):
    """PSNR over the linear filter in dB, and the result of the out-of-distribution test."""

    network: float
    familiar: Mapping[str, Any] | None

    @property
    def guarded(self) -> float | None:
        """The gain with `guard=linear`."""
        return None if self.familiar is None else 0.0 if self.unfamiliar else self.network

    @property
    def unfamiliar(self) -> bool:
        """True if the guard, with its present limits, rejects the network."""
        known = self.familiar
        return known is not None and OODScore(known["coarser"], known["disagreement"]).unfamiliar


def families_table(board: Leaderboard) -> str:
    """Render the gain over linear for the presets' networks, by training family and test family."""
    found: dict[str, None] = {}
    lines: list[tuple[str, str, str, dict[str, list[Gain]]]] = []
    for model in presets(board):
        for trained in board.data:
            budget = board.longest(trained, model)
            if budget is None or not (gains := _gains(board, trained, budget, model)):
                continue
            found |= dict.fromkeys(gains)
            lines.append((model, trained, budget, gains))
    remark = (
        "The networks of the presets, trained on one family with the longest budget that was run, and scored on the last "
        "test split of each test family. Values are PSNR over the linear filter of the training family. Bold: below this filter. "
        "After an arrow: the value with `guard=linear`, which uses the linear filter where an "
        "[out-of-distribution test](../guides/out-of-distribution.md) on the LR frames rejects the network."
    )
    if not lines:
        return f"{remark} Not run yet."
    rows = [
        [f"`{m}`, trained on {a}, {budget}", *(_shown(gains.get(b, [])) for b in found), _never(gains, 0), _never(gains, 1)]
        for m, a, budget, gains in lines
    ]
    seen = [[f"`{m}`, trained on {a}, {budget}", *(_seen(gains.get(b, [])) for b in found)] for m, a, budget, gains in lines]
    told = (
        "The two measures of this test: PSNR over the linear filter one scale coarser in dB, and the LR consistency error "
        "divided by its value in validation. Bold: out of distribution."
    )
    gained = table(["", *found, "never below linear", "with the guard"], rows)
    return f"{remark}\n\n{gained}\n\n{told}\n\n{table(['', *found], seen)}"


def _shown(gains: list[Gain]) -> str:
    """Format the mean over seeds and, after an arrow, the mean with the guard if it differs."""
    text = format_gain([gain.network for gain in gains])
    if not gains or (guarded := _guarded(gains)) is None or guarded == mean([gain.network for gain in gains]):
        return text
    return f"{text} → {format_gain([guarded])}"


def _seen(gains: list[Gain]) -> str:
    """Format the two measures of the first seed."""
    known = gains[0].familiar if gains else None
    if known is None:
        return NONE
    text = f"{known['coarser']:+.2f}, {known['disagreement']:.1f}x"
    return f"**{text}**" if gains[0].unfamiliar else text


def _guarded(gains: list[Gain]) -> float | None:
    found = [gain.guarded for gain in gains if gain.guarded is not None]
    return mean(found) if len(found) == len(gains) else None


def _never(gains: Mapping[str, list[Gain]], which: int) -> str:
    """Tell whether no family is below linear, without (0) or with (1) the guard."""
    means = [_guarded(each) if which else mean([gain.network for gain in each]) for each in gains.values()]
    return NONE if None in means else "no" if any(value < 0 for value in means if value is not None) else "yes"


def presets(board: Leaderboard) -> list[str]:
    """Return the networks of the presets, each once."""
    return list(dict.fromkeys(preset["model"] for preset in board.content["presets"].values()))


def _gains(board: Leaderboard, trained: str, budget: str, model: str) -> dict[str, list[Gain]]:
    """Return the gains of each seed by test family; empty for data without families."""
    gains: dict[str, list[Gain]] = {}
    seeds = board.seeds(trained, budget, model)
    if not any(seed["elsewhere"] for seed in seeds):
        return {}
    split = board.splits(trained)[-1]
    own = board.over_linear(trained, budget, model, split)
    gains[trained] = [Gain(value, seed.get("familiar", {}).get(split)) for value, seed in zip(own, seeds, strict=True)]
    for seed in seeds:
        for family, scores in seed["elsewhere"].items():
            one = list(scores.values())[-1]
            gains.setdefault(family, []).append(Gain(one["network"] - one["linear"], one.get("familiar")))
    return gains


def scales_table(board: Leaderboard) -> str:
    """Render the gain over linear at x3 and x4: a row per network, a column per family, scale and budget."""
    columns = [(data, b) for data in board.data for b in board.budgets if board.scaled(data) and board.runs[data].get(b)]
    remark = (
        "The default network and those of the presets at x3 and x4, on the families above. Values are PSNR over the linear "
        "filter on the test split, with the 95% interval over trajectories. Bold: below linear."
    )
    if not columns:
        return f"{remark} Not run yet."
    rows = []
    for model in board.models:
        cells = [board.gain(data, b, model, board.splits(data)[-1]) for data, b in columns]
        if set(cells) != {NONE}:
            rows.append([f"`{model}`", *cells])
    return f"{remark}\n\n{table(['', *(f'{data}, {b}' for data, b in columns)], rows)}"


def confirmation_table(board: Leaderboard) -> str:
    """Render the gain of each preset on the test split of its design data and on trajectories that no choice has seen."""
    rows = []
    for name, preset in board.content["presets"].items():
        for data in board.data:
            seeds = [s for s in board.seeds(data, preset["budget"], preset["model"]) if "confirmed" in s]
            if seeds:
                new = [seed["confirmed"] for seed in seeds]
                text = format_gain([one["psnr"] - one["linear"] for one in new])
                ends = [one["gain_interval"] for one in new if one.get("gain_interval")]
                if ends:
                    text += f" [{mean([low for low, _ in ends]):.1f}, {mean([high for _, high in ends]):.1f}]"
                design = board.gain(data, preset["budget"], preset["model"], board.splits(data)[-1])
                rows.append([f"`{name}`", f"`{preset['model']}`, {preset['budget']}", data, design, text])
    remark = (
        "Networks, recipes and budgets were chosen on the data with `data.seed=0`, the design data of all other tables. Here the "
        "networks of the presets are scored once more, on 24 trajectories with `data.seed=1000`, which no choice has seen. "
        "Values are PSNR over the linear filter, with the 95% interval over trajectories."
    )
    if not rows:
        return f"{remark} Not run yet."
    return f"{remark}\n\n{table(['preset', 'network', 'data', 'design data', 'new trajectories'], rows)}"


def neighbours_table(board: Leaderboard) -> str:
    """Render the best movie network against the best single-frame network at equal budgets."""
    rows = []
    for data in board.data:
        for budget in board.budgets:
            split = board.splits(data)[-1] if board.splits(data) else ""
            gains = {m: mean(board.over_linear(data, budget, m, split)) for m in board.rows(data) if board.seeds(data, budget, m)}
            several, single = ({m: gain for m, gain in gains.items() if (m in MOVIES) is wanted} for wanted in (True, False))
            if several and single and not board.scaled(data):
                best = [max(found, key=lambda m: gains[m]) for found in (single, several)]
                shown_both = [f"`{m}` {gains[m]:+.2f}" for m in best]
                rows.append([data, budget, *shown_both, format_gain([gains[best[1]] - gains[best[0]]])])
    remark = (
        "The best network that sees neighbouring frames against the best network for single frames, at the same budget: PSNR "
        "over linear on the last test split. Bold: neighbouring frames lose. [Movie pipelines](pipelines.md) has the same for "
        "the report's networks."
    )
    if not rows:
        return f"{remark} Not run yet."
    return f"{remark}\n\n{table(['data', 'budget', 'single frames', 'several frames', 'gain, dB'], rows)}"


def photographs_table(board: Leaderboard) -> str:
    """Render the table of photographs, scored as in the papers."""
    data = "photographs"
    remark = (
        "The photographs inside scikit-image, or a folder of yours (`images.path=T91`). `protocol=classical` scores 8-bit luma "
        "and cuts 2 pixels per side, as in the papers."
    )
    splits = board.splits(data)
    if not splits:
        return f"{remark} Not run yet."
    header = ["model", "budget", *(f"PSNR, {split}" for split in splits), "over bicubic", "over linear", "SSIM"]
    rows = []
    last = splits[-1]
    for method in ("bicubic", "linear"):
        found = [format_number(board.baseline(data, method, split), ".2f") for split in splits]
        rows.append([method, "", *found, "", "", format_number(board.baseline(data, method, last, "ssim"), ".4f")])
    bicubic = board.baseline(data, "bicubic", last)
    left = []
    for budget in board.budgets:
        missing = [model for model in board.rows(data) if not board.seeds(data, budget, model)]
        if missing:
            left.append(budget if missing == board.rows(data) else f"{', '.join(f'`{model}`' for model in missing)} at {budget}")
        for model in board.rows(data):
            if model in missing:
                continue
            values = board.scores(data, budget, model, last, "psnr")
            psnr = [format_mean(board.scores(data, budget, model, split, "psnr")) for split in splits]
            over = [] if bicubic is None else [value - bicubic for value in values]
            gains = [format_gain(over), format_gain(board.over_linear(data, budget, model, last))]
            rows.append(
                [f"`{model}`", budget, *psnr, *gains, format_mean(board.scores(data, budget, model, last, "ssim"), ".4f")]
            )
    told = f"\n\nNot run: {'; '.join(left)}." if left else ""
    return f"{remark}\n\n{table(header, rows)}{told}"
