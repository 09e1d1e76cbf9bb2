"""Fetch the two movies of the report, akiyo and container, from the xiph derf collection: `vsr fetch [FOLDER]`.

An interrupted download is continued. A file is kept only if it is complete and can be decoded. Its SHA-256 is written beside it
after the first download and checked by every later command.
"""

from __future__ import annotations

import argparse
import http.client
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from vsr.errors import UserError
from vsr.io.readers.video import read_video_luma
from vsr.system.checksums import file_sha256
from vsr.system.progress import progress_bar

SOURCE = "https://media.xiph.org/video/derf/y4m/"
MOVIES = {"akiyo_cif.y4m": 300, "container_cif.y4m": 300}  # name -> frames
FOLDER = Path("movies")
BLOCK = 1 << 20


def fetched_overrides() -> list[str]:
    """Return overrides to train on 120 frames of each fetched movie, as in the reproduced report; [] if a movie is missing."""
    return [f"data.path={FOLDER}", "data.frames=120"] if all((FOLDER / name).is_file() for name in MOVIES) else []


def fetch_movie(name: str, frames: int, folder: Path, source: str = SOURCE) -> Path:
    """Download a movie, or check the SHA-256 of the file that is there, and return the path of the movie.

    Args:
        name: Name of the file.
        frames: Number of frames that the movie must have.
        folder: Folder of the file; it is made when missing.
        source: URL of the folder, with a slash at the end.

    Raises:
        UserError: The download fails, or the file is not the expected movie.
    """
    path, mark = folder / name, folder / f"{name}.sha256"
    part = path.with_name(f"{path.stem}.part{path.suffix}")  # keeps the suffix, for the reader
    folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _download(source + name, part)
        try:
            found = len(read_video_luma(part))
            if found != frames:
                raise UserError(f"{source}{name}: holds {found} frames, {frames} were expected")
        except UserError:
            part.unlink()  # continuing a complete but wrong download would not help
            raise
        part.rename(path)
    digest = file_sha256(path)
    if not mark.exists():
        mark.write_text(digest + "\n", encoding="ascii")
    elif mark.read_text(encoding="ascii").strip() != digest:
        raise UserError(f"{path}: is not the file that was first downloaded ({mark.name} differs); delete both to fetch it again")
    return path


def _download(url: str, part: Path) -> None:
    """Append the missing bytes of a URL to the file `part`. Raises UserError if the download fails."""
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            resumed = answer.status == 206
            total = int(answer.headers.get("Content-Length") or 0) + (done if resumed else 0)
            with part.open("ab" if resumed else "wb") as file, progress_bar(total, part.stem, "B", file.tell()) as bar:
                while block := answer.read(BLOCK):
                    file.write(block)
                    bar.update(len(block))
                size = file.tell()
    except urllib.error.HTTPError as error:
        if done and error.code == 416:  # the file is complete
            return
        raise UserError(f"{url}: {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise UserError(f"{url}: cannot be fetched ({error}); what came is kept, the same command continues") from error
    if size < total:
        raise UserError(f"{url}: the connection ended after {size} of {total} bytes; the same command continues")


def fetch_command(arguments: Sequence[str]) -> None:
    """Download all `MOVIES` into the folder in `arguments` (default: `FOLDER`). Raises UserError if that fails."""
    parser = argparse.ArgumentParser(prog="vsr fetch", description="Download akiyo and container, the two movies of the report.")
    parser.add_argument("folder", metavar="FOLDER", nargs="?", type=Path, default=FOLDER, help=f"default: {FOLDER}")
    folder = parser.parse_args(arguments).folder
    for name, frames in MOVIES.items():
        print(f"{fetch_movie(name, frames, folder)}: {frames} frames")
    print(f"next: vsr train data=movies data.path={folder}")
