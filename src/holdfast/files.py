"""Files that are either whole or not there: written beside their place, flushed to the disk, then
renamed into it. And where none can be written (a full or read-only disk, a folder that is a file),
one error that says so."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError, OptionError, RunError, shown
from holdfast.visible import json_text

TEMPORARY = ".part-"
FULL = (errno.ENOSPC, errno.EDQUOT)
TURNING = ("Cc", "Zl", "Zp", "Cs")  # controls, line ends, and bytes that are no characters


# ------------------------------------------------------------------------------------------------
# whole or not there


@contextlib.contextmanager
def whole_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """A new folder to fill, that appears at `path` complete or not at all.

    Args:
        path: where.
        replace: whether what is there gives way, once the new one is complete. Otherwise it is a
            FileExistsError.
    """
    if path.exists() and not replace:
        raise FileExistsError(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for file in sorted(temporary.rglob("*")):
            flush(file)
        flush(temporary)
        if path.exists():
            before = path.parent / f"{TEMPORARY}before-{path.name[-60:]}"
            shutil.rmtree(before, ignore_errors=True)
            path.rename(before)
            temporary.rename(path)
            shutil.rmtree(before, ignore_errors=True)
        else:
            temporary.rename(path)
        flush(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """JSON at `path`, replaced in one move."""
    write_text(path, json_text(value, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """A file of a run that holds one JSON object. Raises RunError, which names a file that is
    missing or damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise RunError(f"{path} cannot be read: it holds no JSON object")
    return found


def write_text(path: Path, text: str) -> None:
    """UTF-8 text at `path`, replaced in one move: what a link leads to, not the link. A pipe or a
    device is written to.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Bytes at `path`, replaced in one move; links and pipes as `write_text` treats them."""
    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_bytes(data)
        return
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            temporary.chmod(stat.S_IMODE(path.stat().st_mode))
        temporary.replace(path)
        flush(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def flush(path: Path) -> None:
    """Have the disk itself hold a file, or a folder's list of names."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what a killed process left half-written."""
    for left in folder.glob(f"{TEMPORARY}*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def _beside(path: Path) -> Path:
    return path.parent / f"{TEMPORARY}{path.name[-60:]}"  # a name may be as long as the disk allows


# ------------------------------------------------------------------------------------------------
# what the disk refuses


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """safetensors and tokenizers tell of a full disk only in words; here they become the OSError
    they were.
    """
    try:
        yield
    except Exception as error:
        found = (
            None
            if isinstance(error, OSError | HoldfastError)
            else re.search(r"\(os error (\d+)\)", str(error))
        )
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1]))) from error


@contextlib.contextmanager
def writing(what: str, *, hint: str = "") -> Iterator[None]:
    """Turn what the disk refuses into a RunError: `what` cannot be written, and why."""
    try:
        with disk_errors():
            yield
    except OSError as error:
        place = (
            f" ({shown(os.fsdecode(error.filename))})"
            if isinstance(error.filename, str | bytes)
            else ""
        )
        raise RunError(
            f"{what} cannot be written: {reason(error)}{place}", hint=hint or cure(error)
        ) from error


def reason(error: OSError) -> str:
    return "the disk is full" if error.errno in FULL else error.strerror or str(error)


def cure(error: OSError) -> str:
    return "make room, and try again" if error.errno in FULL else "name another place"


def path_of(given: Any, option: str = "out") -> Path:
    """A path that was given as an option.

    Raises:
        OptionError: it is no path, or its name holds what nobody could read or type (a line feed, a
            control character).
    """
    try:
        text = os.fsdecode(given)
    except TypeError:
        raise OptionError(f"{option} must be a path, not {shown(given)}") from None
    if not text.strip() or any(unicodedata.category(letter) in TURNING for letter in text):
        raise OptionError(
            f"{option} is {shown(text)}, which is no name for a file or folder",
            hint="a name of printable characters",
        )
    return Path(text)


def folder_to_write(given: Any, option: str = "out") -> Path:
    """The folder, made where it is missing, after a file in it was written and removed.

    Raises:
        OptionError: it is a file, or lies under one; or the disk refuses: read-only, full, no
            permission, a name too long.
    """
    folder = path_of(given, option)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, probe = tempfile.mkstemp(prefix=TEMPORARY, dir=folder)
        try:
            os.write(handle, b"0" * 512)
        finally:
            os.close(handle)
            Path(probe).unlink()
    except (FileExistsError, NotADirectoryError):
        file = next((place for place in (folder, *folder.parents) if _is_file(place)), folder)
        under = "is a file" if file == folder else f"lies under {shown(str(file))}, which is a file"
        raise OptionError(
            f"{option} {shown(str(folder))} {under}",
            hint="name a folder, or a place where one can be made",
        ) from None
    except OSError as error:
        raise OptionError(
            f"{option} {shown(str(folder))} cannot be written: {reason(error)}", hint=cure(error)
        ) from error
    return folder


def file_to_write(given: Any, option: str) -> Path:
    """The path of a file, after its folder was made and found writable.

    Raises:
        OptionError: it is a folder, or its own folder cannot be written.
    """
    path = path_of(given, option)
    file = next((place for place in path.parents if _is_file(place)), None)
    if file is not None:
        raise OptionError(
            f"{option} {shown(str(path))} lies under {shown(str(file))}, which is a file",
            hint="name another place",
        )
    try:
        if path.is_dir():
            raise OptionError(f"{option} {shown(str(path))} is a folder", hint="name a file")
        if not path.exists():
            folder_to_write(path.parent, option)
            os.lstat(path)  # a name too long for the disk is told here
    except FileNotFoundError:
        return path
    except OSError as error:
        raise OptionError(
            f"{option} {shown(str(path))} cannot be written: {reason(error)}", hint=cure(error)
        ) from error
    return path


def _is_file(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except OSError:
        return False
