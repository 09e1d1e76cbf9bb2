"""Jobs in processes of their own: their outcomes, and that nothing of them is left running."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import alive, deadline, start_process, wait_until
from vsr.errors import UserError
from vsr.system.cpu import usable_cores
from vsr.system.jobs import Job, run_jobs


def job(folder: Path, name: str, code: str) -> Job:
    return Job(name=name, command=[sys.executable, "-c", textwrap.dedent(code)], log=folder / f"{name}.log")


def gone(pids: list[int]) -> bool:
    return wait_until(lambda: not any(map(alive, pids)), 15)


def read_pids(path: Path, count: int) -> list[int]:
    return [int(pid) for pid in wait_until(lambda: path.exists() and path.read_text().split(), 30)][:count]


# Two processes in one group, the second as stubborn as a rank that waits for the first.
PAIR = """
    import os, signal, subprocess, sys, time
    other = subprocess.Popen([sys.executable, "-c",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
    with open({path!r} + ".part", "w") as file:
        file.write(f"{{os.getpid()}} {{other.pid}}")
    os.rename({path!r} + ".part", {path!r})
    time.sleep({sleep})
"""


def test_a_failing_job_does_not_end_the_others_and_says_why(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, "good", "print('fine')"),
        job(tmp_path, "refused", "import sys; print('step 1\\rerror: lr: too high', file=sys.stderr); sys.exit(1)"),
        job(tmp_path, "bug", "raise ValueError('no')"),
        job(tmp_path, "killed", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
        job(tmp_path, "late", "print('fine too')"),
    ]
    found = {outcome.job.name: outcome for outcome in run_jobs(jobs, 2, total=5)}
    assert {name: (outcome.status, outcome.error) for name, outcome in found.items()} == {
        "good": (0, ""),
        "refused": (1, "lr: too high"),
        "bug": (1, "ValueError: no (exit status 1)"),
        "killed": (137, "ended by SIGKILL"),
        "late": (0, ""),
    }
    assert (tmp_path / "late.log").read_text() == "fine too\n"
    assert [outcome.ok for outcome in found.values()].count(True) == 2


def test_as_many_run_at_once_as_asked_for_and_share_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    code = "import os, time; print(time.time(), os.environ['OMP_NUM_THREADS']); time.sleep(0.6); print(time.time())"
    assert all(outcome.ok for outcome in run_jobs([job(tmp_path, str(i), code) for i in range(4)], 2))
    spans = []
    for i in range(4):
        (start, threads), (end,) = (line.split() for line in (tmp_path / f"{i}.log").read_text().splitlines())
        spans.append((float(start), float(end)))
        assert int(threads) == max(1, usable_cores() // 2)
    overlaps = [sum(a <= start < b for a, b in spans) for start, _ in spans]
    assert max(overlaps) == 2


def test_the_next_job_is_only_asked_for_when_there_is_room(tmp_path: Path) -> None:
    statuses: list[int] = []

    def jobs() -> Iterator[Job]:
        for i in range(3):
            assert len(statuses) == i
            yield job(tmp_path, str(i), f"raise SystemExit({i})")

    for outcome in run_jobs(jobs()):
        statuses += [outcome.status]
    assert statuses == [0, 1, 2]


def test_a_watched_job_is_stopped_with_the_reason(tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    def hopeless(running: Job) -> str | None:
        return "hopeless" if pids.exists() else None

    [outcome] = run_jobs([job(tmp_path, "long", PAIR.format(path=str(pids), sleep=600))], watch=hopeless)
    assert (outcome.stopped, outcome.error, outcome.status) == (True, "hopeless", 143)
    assert gone(read_pids(pids, 2))


def test_what_a_job_leaves_running_ends_with_it(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    [outcome] = run_jobs([job(tmp_path, "short", PAIR.format(path=str(pids), sleep=0))])
    assert outcome.ok
    assert gone(read_pids(pids, 2))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_the_jobs_end_with_the_process_that_runs_them(tmp_path: Path, number: signal.Signals, status: int) -> None:
    pids = [tmp_path / "a", tmp_path / "b"]
    codes = [textwrap.dedent(PAIR).format(path=str(path), sleep=600) for path in pids]
    code = f"""
        import sys
        from pathlib import Path
        from vsr.system.jobs import Job, run_jobs
        jobs = [Job(name=str(i), command=[sys.executable, "-c", code], log=Path(f"{{i}}.log"))
                for i, code in enumerate({codes!r})]
        try:
            list(run_jobs(jobs, 2, grace=1.0))
        except KeyboardInterrupt:
            sys.exit(130)
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = start_process([sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, env=env, start_new_session=True)
    found = [pid for path in pids for pid in read_pids(path, 2)]
    process.send_signal(number)
    assert process.wait(timeout=deadline(30)) == status
    # The first process of a group ends when asked; what stays behind is then killed.
    assert gone(found)


def test_no_room_for_any_job_is_refused() -> None:
    with pytest.raises(UserError, match="jobs=0: must be 1 or more"):
        list(run_jobs([], 0))
