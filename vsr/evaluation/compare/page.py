"""The page summary.html, with tables and plots of compared training runs."""

from __future__ import annotations

from collections.abc import Sequence

from vsr.config.monitor import monitor_is_maximised
from vsr.config.overrides import value_as_typed
from vsr.evaluation.compare.plots import PlottedRun, parallel_coordinates, scatter_plots
from vsr.evaluation.compare.runs import SEED, Run, keys_distinguishing_runs
from vsr.evaluation.compare.table import BRIEF, INTERVAL, SPREAD, ComparisonTable, comparison_score, table_mean_and_spread
from vsr.evaluation.report.columns import COSTS, Column
from vsr.evaluation.report.html import (
    html_document,
    html_embedded,
    html_number_cell,
    html_one_line,
    html_sortable_table,
    html_table_head,
    html_table_row,
)
from vsr.evaluation.report.style import style_png


def comparison_page(
    title: str, runs: Sequence[Run], tables: Sequence[tuple[Sequence[Run], ComparisonTable]], command: str
) -> str:
    """Build summary.html: a section for each set of comparable runs and its table, then the runs without a result."""
    ended = [run for run in runs if run.state == "ok"]
    unfinished = [run for run in runs if run.state != "ok"]
    lead = f"<b>{len(ended)}</b> runs" + (f", <b>{len(unfinished)}</b> without a result" if unfinished else "")
    if len(tables) > 1:
        lead += f", in <b>{len(tables)}</b> sets: scores are compared within a set only, on the same frames and pixels"
    names = name_comparison_sets([found for found, _ in tables])
    # A run that was ended early has validation scores only; they belong to the set if there is one set.
    early = [run for run in unfinished if run.epoch_scores] if len(tables) == 1 else []
    sections = []
    for at, ((found, one), name) in enumerate(zip(tables, names, strict=True)):
        sections.append(
            (f"set{at}", html_one_line(name), _describe_protocol(found[0]) + _tables(one) + _plots([*found, *early], one))
        )
    sections.append(("unfinished", "Without a result", _unfinished_table(unfinished)))
    sections.append(
        ("again", "How to reproduce", f"<pre><code>{html_one_line(command)}</code></pre>" + _REPRODUCTION if command else "")
    )
    return html_document(title, html_one_line(title), lead + ".", sections)


_REPRODUCTION = (
    "<p>Each run's folder has <code>.hydra/overrides.yaml</code>, what is typed for it alone. Beside this page: "
    "<code>summary.csv</code>, every number in full, and <code>summary.md</code>.</p>"
)


def name_comparison_sets(sets: Sequence[Sequence[Run]]) -> list[str]:
    """Name each set of comparable runs by the config keys that agree within every set and differ between sets."""
    if len(sets) < 2:
        return ["Scores"] * len(sets)
    everything = [run for found in sets for run in found]
    keys = [
        key for key in keys_distinguishing_runs(everything) if all(len({run.value(key) for run in found}) == 1 for found in sets)
    ]
    names = [" ".join(f"{key}={found[0].value(key)}" for key in keys[:3]) for found in sets]
    if len(set(names)) < len(names):
        names = [f"{name} {found[0].protocol['data']['name']}".strip() for name, found in zip(names, sets, strict=True)]
    return names


def _describe_protocol(run: Run) -> str:
    """Build an HTML paragraph of one line about the data and settings of a run's scores."""
    facts = run.protocol
    height, width = facts["data"]["size"]
    text = (
        f"{facts['data']['name']}, {height}x{width}, {value_as_typed(facts['degradation'])} x{facts['scale']}, window "
        f"{tuple(facts['window'])}, protocol {facts['protocol']}; PSNR: {facts['psnr']}."
    )
    return f'<p class="muted">{html_one_line(text)}</p>'


def _tables(one: ComparisonTable) -> str:
    """Build the HTML of a table of the most important scores and one of the others, so that each fits a screen."""
    brief, further = ([column for column in one.columns() if (column.key in BRIEF) == wanted] for wanted in (True, False))
    several = any(len(entry.runs) > 1 for entry in one.entries)
    return (
        f'{_table(one, brief, "scores")}<p class="muted">{f"± {SPREAD}; " if several else ""}'
        f"{INTERVAL}. Tinted: best of the split. A click on a heading sorts within each split; the best "
        f"{html_one_line(one.monitor)} comes first.</p>"
        + (f"<h3>Further scores</h3>{_table(one, further, 'further scores')}" if further else "")
    )


def _table(one: ComparisonTable, columns: Sequence[Column], label: str) -> str:
    numeric = one.numeric()
    several = any(len(entry.runs) > 1 for entry in one.entries)
    heads = [html_table_head(head) for head in ("run", *one.keys, *(["seeds"] if several else []))]
    heads += [
        html_table_head(column.heading(), high_first=column.better == "high", title=column.explained()) for column in columns
    ]
    groups: dict[str, list[str]] = {}
    for split in one.splits:
        numbers = [_cells(one, split, column) for column in columns]
        groups[split] = []
        for i, entry in enumerate(one.lines):
            pairs = zip(entry.values or [""] * len(one.keys), numeric, strict=True)
            cells = [
                f'<td data-value="{value}">{value}</td>' if known else f"<td>{html_one_line(value)}</td>"
                for value, known in pairs
            ]
            cells += [html_number_cell(len(entry.runs), "" if entry.method else str(len(entry.runs)))] if several else []
            row = html_table_row(entry.name, [*cells, *(column[i] for column in numbers)], baseline=entry.method is not None)
            groups[split].append(row)
    return html_sortable_table(heads, groups, label=label)


def _cells(one: ComparisonTable, split: str, column: Column) -> list[str]:
    """Build the HTML cells of one column on one split: the mean over seeds for each line of the table."""
    scores = [entry.scores(split, one.monitor, column.key) for entry in one.lines]
    means = [sum(values) / len(values) if values else None for values in scores]
    best = column.best_of(means, ["" if mean is None else table_mean_and_spread([mean], column.digits) for mean in means])
    return [
        html_number_cell(mean, entry.shown(split, one.monitor, column), best=tinted)
        for entry, mean, tinted in zip(one.lines, means, best, strict=True)
    ]


def _plots(runs: Sequence[Run], one: ComparisonTable) -> str:
    """Build the HTML of plots of the best validation score over differing settings and over the costs of the runs."""
    scored = [(run, score) for run in runs if (score := run.best(one.monitor)) is not None]
    if sum(bool(run.results) for run, _ in scored) < 2:
        return ""
    costs = [column.key for column in COSTS]
    points = []
    for run, score in scored:
        values: dict[str, str | float] = {key: run.value(key) for key in (*one.keys, SEED)}
        for cost in costs if run.results else ():
            values[cost] = comparison_score(run, one.splits[0], one.monitor, cost) or 0.0
        points.append(PlottedRun(values, score, run.label, early=not run.results))
    ended = [point for point in points if not point.early]
    names = [*one.keys, *([SEED] if len({point.values[SEED] for point in ended}) > 1 else [])]
    costs = [cost for cost in costs if len({point.values[cost] for point in ended}) > 1]
    more = monitor_is_maximised(one.monitor)
    figures = {
        "All keys at once": parallel_coordinates(points, names, one.monitor, more),
        f"{one.monitor} over each key": scatter_plots(points, [*names, *costs], one.monitor, more),
    }
    early = "Dashed lines and hollow points: runs that were ended early." if len(ended) < len(points) else ""
    parts = [f'<p class="muted">{early}</p>'] if early else []
    for title, figure in figures.items():
        if figure is not None:
            parts.append(
                f"<h3>{html_one_line(title)}</h3><figure>{html_embedded('image/png', style_png(figure), title)}</figure>"
            )
    return "".join(parts)


def _unfinished_table(runs: Sequence[Run]) -> str:
    if not runs:
        return ""
    rows = []
    for run in runs:
        texts = (" ".join(run.typed), "ended early" if run.state == "stopped" else "failed", run.error)
        rows.append(html_table_row(run.label, [f"<td>{html_one_line(text)}</td>" for text in texts]))
    heads = [html_table_head(head) for head in ("run", "values", "state", "why")]
    return html_sortable_table(heads, {"": rows}, label="runs without a result", kind="words")
