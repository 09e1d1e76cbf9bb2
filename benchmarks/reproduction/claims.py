"""The claims of the report, as questions with computed answers."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.common.markdown import gain, half_range, mean, spread, table
from benchmarks.reproduction.experiments import KERNELS, STOPS
from benchmarks.reproduction.report_values import CEILING
from benchmarks.reproduction.tables import ReportResults

EQUAL = 0.1  # dB: smaller differences, or differences within the spread over seeds, count as none


def verdict(values: Sequence[float], than: Sequence[float], better: str, worse: str, same: str) -> str:
    """Choose one of three phrases by the difference between two sets of runs."""
    difference = mean(values) - mean(than)
    if abs(difference) <= max(EQUAL, half_range(values), half_range(than)):
        return same
    return better if difference > 0 else worse


def all_claims(facts: ReportResults) -> str:
    """Render every question with its answer."""
    answers = (interim_quality, combinations, ceiling, other_equations, similarity, recipe, activation, depth, deconvolution)
    return "\n\n".join(f"### {title}\n\n{text}" for title, text in (answer(facts) for answer in answers))


def interim_points(facts: ReportResults) -> list[tuple[str, list[float], list[float]]]:
    """Return label, PSNR of the first network and PSNR of the 3D network behind it, for each stop of the first network."""
    names = [(f"epoch {stop} of 75, stopped", f"interim_{stop}") for stop in STOPS]
    names += [("Table 1's, trained to its end", "table5"), ("Table 2's, trained to its end", "table6")]
    split = facts.farthest("table6")
    return [(label, facts.row(run, split, method="2D network"), facts.row(run, split)) for label, run in names]


def interim_quality(facts: ReportResults) -> tuple[str, str]:
    """Sections 3.2 b and 4 of the report: "interim results' quality should not be too good"."""
    points = interim_points(facts)
    rows = [[label, spread(before), spread(after), gain(after, before)] for label, before, after in points]
    gains = [mean(after) - mean(before) for _, before, after in points]
    finals = [mean(after) for *_, after in points]
    best = max(range(len(points)), key=finals.__getitem__)
    helped = sum(value > EQUAL for value in gains)
    text = (
        f"The 3D network improves {helped} of {len(points)} first networks: the weakest ({mean(points[0][1]):.2f} dB) by "
        f"{gains[0]:+.2f} dB, the strongest ({mean(points[-1][1]):.2f} dB) by {gains[-1]:+.2f} dB. "
    )
    if finals[-1] >= finals[best] - EQUAL:
        text += (
            "A weaker first network leaves more to gain, but its end result is not better: the best end result follows the "
            "strongest first network. The trade-off that the report looks for does not appear."
        )
    else:
        text += f"The best end result, {finals[best]:.2f} dB, follows a weaker one ({points[best][0]}), as the report expects."
    text += " Our 3D network starts as the identity on its input, so training cannot begin with a setback, as in the report."
    header = ["first network", "PSNR, first network", "PSNR, 3D network behind it", "gain"]
    question = "Does the 3D network help after the 2D network, and does a weaker interim result help the 3D network?"
    return question, f"{text}\n\n{table(header, rows)}\n\n![PSNR before and after the 3D network](../images/report-interim.png)"


def combinations(facts: ReportResults) -> tuple[str, str]:
    """Sections 4 to 6: the cask effect, 3D before 2D, two networks in one."""
    split = facts.farthest("table6")
    runs = {
        "2D alone (Table 2)": "table2",
        "3D alone, raw frames (Table 3)": "table3",
        "2D, then 3D trained on raw frames (Table 7)": "table7",
        "2D, then 3D trained on its output (Table 8)": "table6",
        "3D, then 2D": "three_then_two",
        "two in one, from Table 8": "two_in_one",
    }
    found = {label: facts.row(run, split) for label, run in runs.items()}
    base = facts.row("table2", split, method="bicubic")
    rows = [
        [label, spread(values), gain(values, base), spread(facts.row(run, split, "ssim"), ".4f")]
        for (label, run), values in zip(runs.items(), found.values(), strict=True)
    ]
    two, three, mixed, staged, reverse, joint = found.values()
    single = max(two, three, key=mean)
    text = (
        f"The better single network is the {'2D' if single is two else '3D'} network "
        f"({mean(single):.2f} dB). 2D then 3D, trained "
        f"one after the other, differs from it by {mean(staged) - mean(single):+.2f} dB: the combination is "
        f"{verdict(staged, single, 'better than either', 'worse than the better network', 'as good as the better one')}. A 3D "
        f"network trained on raw frames {verdict(mixed, two, 'improves', 'degrades', 'does not change')} the output of the "
        f"2D network ({mean(mixed) - mean(two):+.2f} dB; in the report -20.73), so the setback of Table 7 comes "
        f"from its training data. 3D then 2D, which the report did not try, differs by {mean(reverse) - mean(three):+.2f} dB "
        f"from the 3D network alone and by {mean(reverse) - mean(staged):+.2f} dB from 2D then 3D: the cask effect "
        f"{verdict(reverse, staged, 'is avoided in this order', 'is worse in this order', 'is the same in either order')}. "
        "Both networks in one, trained end to end, which the report could not implement, "
        f"{verdict(joint, staged, 'is better still', 'is worse', 'makes no difference')} ({mean(joint) - mean(staged):+.2f} dB)."
    )
    return (
        "Does a combination beat its parts, and in which order?",
        f"{text}\n\n{table(['pipeline', f'PSNR, {split}', 'over bicubic', 'SSIM'], rows)}",
    )


def ceiling(facts: ReportResults) -> tuple[str, str]:
    """Section 4: "the maximum of PSNR is only 48dB"."""
    split = facts.farthest("ceiling")
    found, base = facts.row("ceiling", split), facts.row("ceiling", split, method="bicubic")
    how = "No" if mean(found) > CEILING + EQUAL else "Nothing here is above it"
    text = (
        f"{how}: the original 3DSRnet reaches {spread(found)} dB on colliding bores ({split}; bicubic {base[0]:.2f}), after ten "
        "short epochs. The reachable PSNR is a property of the data, not of the method. PSNR is limited only by the "
        "floating-point numbers."
    )
    return "Is 48 dB the ceiling?", f"{text} `{facts.runs['ceiling']['command']}`"


def other_equations(facts: ReportResults) -> tuple[str, str]:
    """Section 1, data set selection: regard climate data only as a test set."""
    rows, gains = [], {}
    for label, run in (("two-dimensional turbulence", "other_equations"), ("the shallow-water equations", "table1")):
        split = facts.farthest(run)
        found, base = facts.row(run, split), facts.row(run, split, method="bicubic")
        gains[run] = mean(found) - mean(base)
        linear = facts.row(run, split, method="linear")
        rows.append([label, split, spread(base[:1]), spread(linear[:1]), spread(found), gain(found, base), gain(found, linear)])
    share = gains["other_equations"] / gains["table1"]
    text = (
        "In part: FSRCNN, trained on two-dimensional turbulence and tested on shallow water, gains "
        f"{gains['other_equations']:+.2f} "
        f"dB over bicubic, {share:.0%} of the gain after the same training on shallow water ({gains['table1']:+.2f}). "
        "`linear` is fitted to the training frames, so it also comes from the other equations."
    )
    header = ["trained on", "frames", "bicubic", "linear", "FSRCNN", "over bicubic", "over linear"]
    return "Does training on other equations generalise?", f"{text}\n\n{table(header, rows)}"


def similarity(facts: ReportResults) -> tuple[str, str]:
    """Section 1: "if train set and test set are too much similar, it may cause overfitting"."""
    found = []
    for run in ("table2", "table3", "table6"):
        gains = [mean(facts.row(run, split)) - mean(facts.row(run, split, method="bicubic")) for split in facts.splits(run)]
        found.append((run, gains))
    splits = facts.splits("table2")
    rows = [[f"Table {run.removeprefix('table')}", *(f"{value:+.2f}" for value in gains)] for run, gains in found]
    fitted = [run for run, gains in found if gains[-1] < gains[0] - EQUAL]
    text = (
        "The table shows gains over bicubic on the test splits, the one most like the training data first. "
        + ("No network gains less on the last" if not fitted else f"{len(fitted)} of {len(found)} networks gain less on the last")
        + ": the networks learn the fronts and waves of the equations, not the scenes."
    )
    if len(splits) < 2:
        return (
            "Does a similar test set flatter?",
            "All test frames are of trajectories of their own, so that these data cannot tell.",
        )
    return "Does a similar test set flatter?", f"{text}\n\n{table(['', *(f'over bicubic, {split}' for split in splits)], rows)}"


def recipe(facts: ReportResults) -> tuple[str, str]:
    """How it was trained: the same networks by the report's recipe."""
    rows = []
    for label, ours, theirs in (
        ("FSRCNN (Table 2)", "table2", "as_reported"),
        ("3D network (Table 3)", "table3", "as_reported_3d"),
    ):
        split = facts.farthest(ours)
        base = facts.row(ours, split, method="bicubic")
        a, b = facts.row(ours, split), facts.row(theirs, split)
        rows.append([label, gain(b, base), gain(a, base), f"{mean(a) - mean(b):+.2f}"])
    text = (
        "The report trains on whole frames with Adam at 1e-3, the network predicts the frame itself, and PReLU starts from 0. "
        "Our recipe trains on patches, the network predicts the standardised residual over bicubic, the learning rate runs "
        "through one cycle, and weights are averaged. The networks are the same. [Pipelines](pipelines.md) shows which part the "
        "3D network needs."
    )
    header = ["network", "over bicubic, as reported", "over bicubic, ours", "difference"]
    return "What does the training recipe decide?", f"{text}\n\n{table(header, rows)}"


def _srcnn(facts: ReportResults, kinds: dict[str, str]) -> str:
    split = facts.farthest("srcnn_prelu")
    rows = []
    for run, label in kinds.items():
        values = facts.row(run, split)
        cost = [str(facts.runs[run]["seeds"][0]["parameters"]), f"{mean(facts.seconds(run)):.0f}"]
        rows.append([label, spread(values), gain(values, facts.row(run, split, method="bicubic")), *cost])
    return table(["SRCNN", f"PSNR, {split}", "over bicubic", "parameters", "seconds"], rows)


def activation(facts: ReportResults) -> tuple[str, str]:
    """Section 2: PReLU "to solve the problem of vanishing gradient"."""
    split = facts.farthest("srcnn_prelu")
    prelu, relu = facts.row("srcnn_prelu", split), facts.row("srcnn_relu", split)
    text = (
        f"After 15 epochs PReLU {verdict(prelu, relu, 'is ahead of', 'is behind', 'is level with')} ReLU "
        f"({mean(prelu) - mean(relu):+.2f} dB). Both start from the same first layer."
    )
    return "SRCNN: PReLU or ReLU?", f"{text}\n\n{_srcnn(facts, {'srcnn_relu': 'ReLU', 'srcnn_prelu': 'PReLU'})}"


def depth(facts: ReportResults) -> tuple[str, str]:
    """Section 2: "add more layers to SRCNN ... performance is not improved much"."""
    split = facts.farthest("srcnn_prelu")
    deep, flat = facts.row("srcnn_deeper", split), facts.row("srcnn_prelu", split)
    longer = mean(facts.seconds("srcnn_deeper")) / mean(facts.seconds("srcnn_prelu")) - 1
    text = (
        f"A second mapping layer (9-1-1-5) {verdict(deep, flat, 'helps', 'hurts', 'makes no difference')} "
        f"({mean(deep) - mean(flat):+.2f} dB), for {longer:+.0%} of the time."
    )
    return "SRCNN: do more layers help?", f"{text}\n\n{_srcnn(facts, {'srcnn_prelu': '9-1-5', 'srcnn_deeper': '9-1-1-5'})}"


def deconvolution(facts: ReportResults) -> tuple[str, str]:
    """Section 2: "difficult ... to converge ... if the size of the filter is set to be too large in the deconvolution layer"."""
    split = facts.farthest(f"deconvolution_{KERNELS[0]}")
    found = {side: facts.row(f"deconvolution_{side}", split) for side in KERNELS}
    rows = []
    for side, values in found.items():
        run = f"deconvolution_{side}"
        cost = [str(facts.runs[run]["seeds"][0]["parameters"]), f"{mean(facts.seconds(run)):.0f}"]
        rows.append([f"{side}x{side}", spread(values), gain(values, facts.row(run, split, method="bicubic")), *cost])
    small, large = found[KERNELS[0]], found[KERNELS[-1]]
    text = (
        f"With this recipe {KERNELS[-1]}x{KERNELS[-1]} {verdict(large, small, 'ends above', 'ends below', 'is level with')} the "
        f"report's {KERNELS[0]}x{KERNELS[0]} after 15 epochs ({mean(large) - mean(small):+.2f} dB), at many times the parameters."
    )
    header = ["kernel", f"PSNR, {split}", "over bicubic", "parameters", "seconds"]
    return "Is a large deconvolution kernel hard to train?", f"{text}\n\n{table(header, rows)}"
