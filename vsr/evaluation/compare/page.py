"""summary.html: the tables and plots of compared runs."""

from __future__ import annotations

from collections.abc import Sequence

from vsr.config.monitor import higher_is_better
from vsr.evaluation.compare.plots import Point, parallel_coordinates, scatter_plots
from vsr.evaluation.compare.runs import SEED, Run, as_typed, distinguishing_keys
from vsr.evaluation.compare.table import SPREAD, Entry, Score, Table, mean_and_spread, runs_of, score_of
from vsr.evaluation.report.html import document, embedded, one_line
from vsr.evaluation.report.style import png

COSTS = ("parameters", "train_seconds")
_STYLE = """
.words th, .words td { text-align: left; }
.words td { white-space: normal; min-width: 7rem; max-width: 40rem; }
"""


def page(title: str, runs: Sequence[Run], tables: Sequence[tuple[Sequence[Run], Table]], command: str) -> str:
    """Build the page: a section for each set of comparable runs, then the runs without a result."""
    ended = [run for run in runs if run.state == "ok"]
    lost = [run for run in runs if run.state != "ok"]
    lead = f"<b>{len(ended)}</b> runs" + (f", <b>{len(lost)}</b> without a result" if lost else "")
    if len(tables) > 1:
        lead += f", in <b>{len(tables)}</b> sets: scores are compared within a set only, on the same frames and pixels"
    names = name_sets([found for found, _ in tables])
    # A run that was ended early has validation scores only; they belong to the set if there is one set.
    early = [run for run in lost if run.course] if len(tables) == 1 else []
    sections = []
    for at, ((found, one), name) in enumerate(zip(tables, names, strict=True)):
        sections.append((f"set{at}", one_line(name), _facts(found[0]) + _table(one) + _plots([*found, *early], one)))
    sections.append(("lost", "Without a result", _lost(lost)))
    sections.append(("again", "How to reproduce", f"<pre><code>{one_line(command)}</code></pre>" + _AGAIN if command else ""))
    return document(title, one_line(title), lead + ".", sections, style=_STYLE)


_AGAIN = (
    "<p>Each run's folder has <code>.hydra/overrides.yaml</code>, what is typed for it alone. Beside this page: "
    "<code>summary.csv</code>, every number in full, and <code>summary.md</code>.</p>"
)


def name_sets(sets: Sequence[Sequence[Run]]) -> list[str]:
    """Name sets of comparable runs by the keys that agree within every set and differ between sets."""
    if len(sets) < 2:
        return ["Scores"] * len(sets)
    everything = [run for found in sets for run in found]
    keys = [key for key in distinguishing_keys(everything) if all(len({run.value(key) for run in found}) == 1 for found in sets)]
    names = [" ".join(f"{key}={found[0].value(key)}" for key in keys[:3]) for found in sets]
    if len(set(names)) < len(names):
        names = [f"{name} {found[0].protocol['data']['name']}".strip() for name, found in zip(names, sets, strict=True)]
    return names


def _facts(run: Run) -> str:
    """Describe the data and settings of the scores in one line."""
    facts = run.protocol
    height, width = facts["data"]["size"]
    text = (
        f"{facts['data']['name']}, {height}x{width}, {as_typed(facts['degradation'])} x{facts['scale']}, window "
        f"{tuple(facts['window'])}, protocol {facts['protocol']}; PSNR: {facts['psnr']}."
    )
    return f'<p class="muted">{one_line(text)}</p>'


def _table(one: Table) -> str:
    scores = one.scores()
    several = any(len(entry.runs) > 1 for entry in one.entries)
    heads = ["run", *one.keys, *(["seeds"] if several else [])]
    cells = "".join(f'<th scope="col"><button type="button">{one_line(head)}</button></th>' for head in heads)
    for score in scores:
        more = higher_is_better(one.monitor) if score.key == "best" else score.higher
        first = "descending" if more else "ascending"
        label = one_line(one.label(score))
        cells += f'<th scope="col" data-first="{first}"><button type="button">{label}</button></th>'
    bodies = []
    for split in one.splits:
        best = {score.key: _best(one, split, score) for score in scores}
        title = f'<tr class="split"><th scope="rowgroup" colspan="{len(heads) + len(scores)}">{one_line(split)}</th></tr>'
        lines = [_line(one, split, entry, scores, several, best) for entry in (*one.entries, *one.baselines)]
        bodies.append(f"<tbody>{title}{''.join(lines)}</tbody>")
    legend = f"± {SPREAD}. " if several else ""
    return (
        '<div class="scroll" role="region" aria-label="scores" tabindex="0"><table class="sortable">'
        f"<thead><tr>{cells}</tr></thead>{''.join(bodies)}</table></div>"
        f'<p class="muted">{legend}Tinted: best of the split. A click on a heading sorts within each split; the best '
        f"{one_line(one.monitor)} comes first.</p>"
    )


def _line(one: Table, split: str, entry: Entry, scores: Sequence[Score], several: bool, best: dict[str, float | None]) -> str:
    name = entry.method or runs_of(entry)
    cells = [f'<th scope="row">{one_line(name)}</th>']
    for value, numeric in zip(entry.values or [""] * len(one.keys), one.numeric(), strict=True):
        cells.append(f'<td data-value="{value}">{value}</td>' if numeric else f"<td>{one_line(value)}</td>")
    cells += [f'<td data-value="{len(entry.runs)}">{"" if entry.method else len(entry.runs)}</td>'] if several else []
    for score in scores:
        found = entry.scores(split, one.monitor, score.key)
        mean = sum(found) / len(found) if found else None
        kind = ' class="best"' if mean is not None and mean == best[score.key] else ""
        value = "" if mean is None else repr(mean)
        cells.append(f'<td{kind} data-value="{value}">{mean_and_spread(found, score.digits)}</td>')
    kind = ' class="baseline"' if entry.method else ""
    return f"<tr{kind}>{''.join(cells)}</tr>"


def _best(one: Table, split: str, score: Score) -> float | None:
    """Return the best mean of a column in a split; None if no value is better than another."""
    more = higher_is_better(one.monitor) if score.key == "best" else score.higher
    found = [entry.scores(split, one.monitor, score.key) for entry in (*one.entries, *one.baselines)]
    means = [sum(values) / len(values) for values in found if values]
    if more is None or len({f"{mean:.{score.digits}f}" for mean in means}) < 2:
        return None
    return (max if more else min)(means)


def _plots(runs: Sequence[Run], one: Table) -> str:
    """Plot the best validation score over the settings that tell the runs apart and over the costs of the runs."""
    scored = [(run, score) for run in runs if (score := run.best(one.monitor)) is not None]
    if sum(bool(run.results) for run, _ in scored) < 2:
        return ""
    points = []
    for run, score in scored:
        values: dict[str, str | float] = {key: run.value(key) for key in (*one.keys, SEED)}
        for cost in COSTS if run.results else ():
            values[cost] = score_of(run, one.splits[0], one.monitor, cost) or 0.0
        points.append(Point(values, score, run.label, early=not run.results))
    ended = [point for point in points if not point.early]
    names = [*one.keys, *([SEED] if len({point.values[SEED] for point in ended}) > 1 else [])]
    costs = [cost for cost in COSTS if len({point.values[cost] for point in ended}) > 1]
    more = higher_is_better(one.monitor)
    figures = {
        "All keys at once": parallel_coordinates(points, names, one.monitor, more),
        f"{one.monitor} over each key": scatter_plots(points, [*names, *costs], one.monitor, more),
    }
    early = "Dashed lines and hollow points: runs that were ended early." if len(ended) < len(points) else ""
    parts = [f'<p class="muted">{early}</p>'] if early else []
    for title, figure in figures.items():
        if figure is not None:
            parts.append(f"<h3>{one_line(title)}</h3><figure>{embedded('image/png', png(figure), title)}</figure>")
    return "".join(parts)


def _lost(runs: Sequence[Run]) -> str:
    if not runs:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{one_line(run.label)}</th><td>{one_line(" ".join(run.typed))}</td>'
        f"<td>{one_line('ended early' if run.state == 'stopped' else 'failed')}</td>"
        f"<td>{one_line(run.error)}</td></tr>"
        for run in runs
    )
    heads = "".join(f'<th scope="col"><button type="button">{head}</button></th>' for head in ("run", "values", "state", "why"))
    return f'<div class="scroll"><table class="sortable words"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
