"""Tables beside the leaderboard: other families than those of the training, neighbouring frames, and photographs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from benchmarks.common.markdown import mean, table
from benchmarks.leaderboard.board import NONE, Board, number, shown, signed
from benchmarks.leaderboard.plan import MOVIES


class Gain(NamedTuple):
    """Over the linear filter of the training, dB, and the LR consistency; see `vsr.inference.out_of_distribution`."""

    network: float
    familiar: Mapping[str, Any] | None

    @property
    def guarded(self) -> float | None:
        """With `guard=linear`."""
        return None if self.familiar is None else 0.0 if self.familiar["strange"] else self.network


def families(board: Board) -> str:
    """Train family x test family for the presets' networks: what is gained over the linear filter of the training family."""
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
        "PSNR over the linear filter of the training family, of frames of the test family (`unseen`), for the networks of the "
        "presets with the longest budget that was run. Bold: below that filter. Behind an arrow: with `guard=linear`, which "
        "takes that filter where LR alone tells that the network does not know such movies ([how](../guides/out-of-distribution.md))."
    )
    if not lines:
        return f"{remark} Not run yet."
    rows = [
        [f"`{m}`, learned on {a}, {budget}", *(_shown(gains.get(b, [])) for b in found), _never(gains, 0), _never(gains, 1)]
        for m, a, budget, gains in lines
    ]
    seen = [[f"`{m}`, learned on {a}, {budget}", *(_seen(gains.get(b, [])) for b in found)] for m, a, budget, gains in lines]
    told = (
        "What LR told: dB over the linear filter one scale coarser, and the LR consistency error over that of validation. Bold: "
        "the network does not know such movies."
    )
    gained = table(["", *found, "never below linear", "with the guard"], rows)
    return f"{remark}\n\n{gained}\n\n{told}\n\n{table(['', *found], seen)}"


def _shown(gains: list[Gain]) -> str:
    """The mean over seeds, and behind an arrow what the guard makes of it, where that is something else."""
    text = signed([gain.network for gain in gains])
    if not gains or (guarded := _guarded(gains)) is None or guarded == mean([gain.network for gain in gains]):
        return text
    return f"{text} → {signed([guarded])}"


def _seen(gains: list[Gain]) -> str:
    """Both numbers, of the first seed."""
    known = gains[0].familiar if gains else None
    if known is None:
        return NONE
    text = f"{known['coarser']:+.2f}, {known['disagreement']:.1f}x"
    return f"**{text}**" if known["strange"] else text


def _guarded(gains: list[Gain]) -> float | None:
    found = [gain.guarded for gain in gains if gain.guarded is not None]
    return mean(found) if len(found) == len(gains) else None


def _never(gains: Mapping[str, list[Gain]], which: int) -> str:
    """Whether no family is below linear, for the network (0) or with the guard (1)."""
    means = [_guarded(each) if which else mean([gain.network for gain in each]) for each in gains.values()]
    return NONE if None in means else "no" if any(value < 0 for value in means if value is not None) else "yes"


def presets(board: Board) -> list[str]:
    """Their networks, each once."""
    return list(dict.fromkeys(preset["model"] for preset in board.content["presets"].values()))


def _gains(board: Board, trained: str, budget: str, model: str) -> dict[str, list[Gain]]:
    """By test family, one for each seed; nothing for data that have no families."""
    gains: dict[str, list[Gain]] = {}
    seeds = board.seeds(trained, budget, model)
    if not any(seed["elsewhere"] for seed in seeds):
        return {}
    split = board.splits(trained)[-1]
    own = board.over_linear(trained, budget, model, split)
    gains[trained] = [Gain(value, seed.get("familiar", {}).get(split)) for value, seed in zip(own, seeds, strict=True)]
    for seed in seeds:
        for family, scores in seed["elsewhere"].items():
            one = scores.get("unseen", scores.get("test"))
            gains.setdefault(family, []).append(Gain(one["network"] - one["linear"], one.get("familiar")))
    return gains


def neighbours(board: Board) -> str:
    """The best network that sees neighbouring frames against the best one that does not, at equal budgets."""
    rows = []
    for data in board.data:
        for budget in board.budgets:
            split = board.splits(data)[-1] if board.splits(data) else ""
            gains = {m: mean(board.over_linear(data, budget, m, split)) for m in board.rows(data) if board.seeds(data, budget, m)}
            several, single = ({m: gain for m, gain in gains.items() if (m in MOVIES) is wanted} for wanted in (True, False))
            if several and single:
                best = [max(found, key=lambda m: gains[m]) for found in (single, several)]
                shown_both = [f"`{m}` {gains[m]:+.2f}" for m in best]
                rows.append([data, budget, *shown_both, signed([gains[best[1]] - gains[best[0]]])])
    remark = (
        "The best network that sees neighbouring frames against the best one for single frames, at the same budget: PSNR over "
        "linear of frames that were not learned from. Bold: neighbours cost. The report's networks: "
        "[movie pipelines](pipelines.md)."
    )
    if not rows:
        return f"{remark} Not run yet."
    return f"{remark}\n\n{table(['data', 'budget', 'one frame', 'several', 'gained, dB'], rows)}"


def photographs(board: Board) -> str:
    """EDSR against FSRCNN on pictures, as the papers score them."""
    data = "photographs"
    remark = (
        "The photographs inside scikit-image, or a folder of your own (`images.path=T91`); `protocol=classical`: 8-bit luma, 2 "
        "pixels cut, as in the papers."
    )
    splits = board.splits(data)
    if not splits:
        return f"{remark} Not run yet."
    header = ["model", "budget", *(f"PSNR, {split}" for split in splits), "over bicubic", "over linear", "SSIM"]
    rows = []
    last = splits[-1]
    for method in ("bicubic", "linear"):
        found = [number(board.baseline(data, method, split), ".2f") for split in splits]
        rows.append([method, "", *found, "", "", number(board.baseline(data, method, last, "ssim"), ".4f")])
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
            psnr = [shown(board.scores(data, budget, model, split, "psnr")) for split in splits]
            over = [] if bicubic is None else [value - bicubic for value in values]
            gains = [signed(over), signed(board.over_linear(data, budget, model, last))]
            rows.append([f"`{model}`", budget, *psnr, *gains, shown(board.scores(data, budget, model, last, "ssim"), ".4f")])
    told = f"\n\nNot run: {'; '.join(left)}." if left else ""
    return f"{remark}\n\n{table(header, rows)}{told}"
