"""Addresses of stores and files that are not on this machine (`Address`), such as s3://bucket/in.zarr, read through fsspec."""

from __future__ import annotations

import hashlib
import logging
import re
from contextlib import suppress
from pathlib import Path, PosixPath
from typing import Any

from vsr.errors import UserError

# A scheme has two letters or more, as one is a drive of Windows. Paths keep one slash of two, so that known schemes need no more.
SCHEME = re.compile(r"((?:s3a?|gs|gcs|https?|memory|file|abfs|az)(?=:/)|[a-z][a-z0-9+.-]+(?=://)):/(?!/*$)")
EXTRAS = {"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3"), "gs": ("gcsfs", "gcs"), "gcs": ("gcsfs", "gcs")}
# Stores that create an object only if it is not there, all of them without a race: what keeps two commands apart.
EXCLUSIVE = ("s3", "s3a", "gs", "gcs", "memory")
ZARR_FILES = ("zarr.json", ".zmetadata", ".zgroup", ".zarray", ".zattrs")  # at the top of a store
UNREACHED = "check the address, the network and the credentials (those of fsspec), and type the same command again"


class Address(PosixPath):
    """Path of a store or file that fsspec reads, with the parts of a path (name, suffix, parent) that an address has.

    Credentials are those of fsspec: its config files, environment variables such as FSSPEC_S3_ANON, and those of each service.
    """

    def __str__(self) -> str:
        scheme, _, rest = super().__str__().partition(":/")
        return f"{scheme}://{rest}"

    @property
    def scheme(self) -> str:
        """The kind of the store, such as "s3"."""
        return str(self).partition(":")[0]

    def located(self) -> tuple[Any, str]:
        """Return the file system of fsspec, and the path in it. Raises UserError for an unknown or missing one."""
        import fsspec

        logging.getLogger("aiobotocore").setLevel(logging.WARNING)  # it tells where it found credentials
        try:
            return fsspec.core.url_to_fs(str(self))
        except ImportError as error:
            package, extra = EXTRAS.get(self.scheme, (error.name or f"a package of fsspec for {self.scheme}", ""))
            advice = f"pip install 'vsr-movies[{extra}]'" if extra else f"pip install {package}"
            raise UserError(f"{self}: needs {package}; type: {advice}") from error
        except ValueError as error:
            raise UserError(f"{self}: fsspec knows no {self.scheme}://; type s3://, gs:// or https://") from error

    def read_member(self, name: str = "") -> bytes | None:
        """Return the content of a file, or of a file below a store; None if there is none.

        Raises:
            UserError: If it cannot be fetched.
        """
        system, root = self.located()
        try:
            return system.cat_file(f"{root}/{name}" if name else root)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        except Exception as error:  # each service has its own errors
            raise self.unreached(error) from error

    def unreached(self, error: Exception) -> UserError:
        """Return what is told of an error of the network or the service."""
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return UserError(f"{self}: cannot be fetched ({type(error).__name__}: {lines[0]}); {UNREACHED}")

    def top_files(self) -> dict[str, bytes]:
        """Return the metadata files at the top of a Zarr store; {} if it is none."""
        found = {name: self.read_member(name) for name in ZARR_FILES[:1]}
        if found["zarr.json"] is None:
            found = {name: self.read_member(name) for name in ZARR_FILES[1:]}
        return {name: content for name, content in found.items() if content is not None}

    def fingerprint(self) -> list[Any]:
        """Return what tells one state of a store or file from another as far as that can be seen without reading all of it."""
        if top := self.top_files():
            return [hashlib.sha256(b"\0".join(top.values())).hexdigest()]
        system, root = self.located()
        about: dict[str, Any] = {}
        with suppress(Exception):
            about = system.info(root)
        return [str(about[key]) for key in ("size", "ETag", "etag", "LastModified", "mtime") if about.get(key) is not None]

    def exists(self) -> bool:
        return self.is_dir() or self.is_file()

    def is_dir(self) -> bool:
        """Return True for a Zarr store."""
        return bool(self.top_files())

    def is_file(self) -> bool:
        system, root = self.located()
        try:
            return bool(system.isfile(root)) and not self.is_dir()
        except Exception as error:
            raise self.unreached(error) from error

    def resolve(self, strict: bool = False) -> Address:
        return self

    def expanduser(self) -> Address:
        return self


def path_or_address(text: str | Path) -> Path:
    """Return the path that a text means: an `Address` for s3://..., gs://..., https://..., otherwise a path of this machine."""
    if isinstance(text, Address):
        return text
    if (match := SCHEME.match(str(text))) is None:
        return Path(text).expanduser()
    return Path(str(text)[len("file:") :]) if match[1] == "file" else Address(str(text))
