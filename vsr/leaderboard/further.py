"""Tables beside the leaderboard: other families than those of the training, and photographs."""

from __future__ import annotations

from vsr.leaderboard.board import NONE, Board, number, shown, signed
from vsr.pages.words import mean, table


def families(board: Board) -> str:
    """Train family x test family for the presets' networks: what is gained over the linear filter of the training family."""
    found: dict[str, None] = {}
    lines: list[tuple[str, str, str, dict[str, list[float]]]] = []
    for model in presets(board):
        for trained in board.data:
            budget = board.longest(trained, model)
            if budget is None or not (gains := _gains(board, trained, budget, model)):
                continue
            found |= dict.fromkeys(gains)
            lines.append((model, trained, budget, gains))
    remark = (
        "PSNR over the linear filter of the training family, of frames of the test family (`unseen`), for the networks of the "
        "presets with the longest budget that was run. Bold: below that filter."
    )
    if not lines:
        return f"{remark} Not run yet."
    tested = list(found)
    below = [(m, a, b) for m, a, _, gains in lines for b in tested if b in gains and mean(gains[b]) < 0]
    told = "; ".join(f"`{m}` from {a} to {b}" for m, a, b in below)
    verdict = f"Below linear: {told}." if below else "Never below linear."
    rows = [
        [f"`{m}`, learned on {a}, {budget}", *(signed(gains.get(b, [])) for b in tested), "no" if _below(gains) else "yes"]
        for m, a, budget, gains in lines
    ]
    return f"{remark} {verdict}\n\n{table(['', *tested, 'never below linear'], rows)}"


def _below(gains: dict[str, list[float]]) -> bool:
    return any(mean(values) < 0 for values in gains.values())


def presets(board: Board) -> list[str]:
    """Their networks, each once."""
    return list(dict.fromkeys(preset["model"] for preset in board.content["presets"].values()))


def _gains(board: Board, trained: str, budget: str, model: str) -> dict[str, list[float]]:
    """By test family, one number per seed; nothing for data that have no families."""
    gains: dict[str, list[float]] = {}
    seeds = board.seeds(trained, budget, model)
    if not any(seed["elsewhere"] for seed in seeds):
        return {}
    split = board.splits(trained)[-1]
    gains[trained] = board.over_linear(trained, budget, model, split)
    for seed in seeds:
        for family, scores in seed["elsewhere"].items():
            one = scores.get("unseen", scores.get("test"))
            gains.setdefault(family, []).append(one["network"] - one["linear"])
    return gains


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
    for budget in board.budgets:
        for model in board.rows(data):
            values = board.scores(data, budget, model, last, "psnr") if board.seeds(data, budget, model) else []
            if not values or bicubic is None:
                rows.append([f"`{model}`", budget, *[NONE] * (len(header) - 2)])
                continue
            psnr = [shown(board.scores(data, budget, model, split, "psnr")) for split in splits]
            gains = [signed([value - bicubic for value in values]), signed(board.over_linear(data, budget, model, last))]
            rows.append([f"`{model}`", budget, *psnr, *gains, shown(board.scores(data, budget, model, last, "ssim"), ".4f")])
    return f"{remark}\n\n{table(header, rows)}"
