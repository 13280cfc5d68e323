"""Rows whose answers are images: `read_images`.

An image stands in a row as

    a path         relative to the folder of the file that names it, or absolute
    bytes          of a PNG, JPEG or whatever pillow reads; also {"bytes": ..., "path": ...}, as
                   the `datasets` library writes a column of images
    an image       of pillow, in rows made by a program

and everything else in it is read as `holdfast.read` reads it: formats, verdicts, splits, the
quarantine, and every further column (`reward_gap`, `confidence`, `group`, ...). A `Row` holds the
name of an image in the place of an answer's text: its path, or a hash of its bytes. `Images` opens
it by that name. Rows without a prompt are of a model without one.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.data.hub import is_saved_dataset
from holdfast.data.lines import Record
from holdfast.data.read import Dataset, read
from holdfast.data.sources import Opened, open_source
from holdfast.errors import DataError, shown
from holdfast.types import Row

NO_PROMPT = "(no prompt)"  # while rows are read: a format is told by its columns
PROMPTS = ("prompt", "caption", "text")
# of Pick-a-Pic, which names the sides of a comparison by number
NUMBERED = {"jpg_0": "response_a", "jpg_1": "response_b"}
WINNER = {1.0: "a", 0.5: "tie", 0.0: "b"}


@dataclass
class Images:
    """The images of rows, by the names that stand in them.

    Attributes:
        folder: what relative paths are relative to, by the file that a row is from.
        held: bytes that came with the rows, by the hash that names them.
    """

    folder: dict[str, Path] = field(default_factory=dict)
    held: dict[str, bytes] = field(default_factory=dict)

    def name(self, data: bytes) -> str:
        """Keep these bytes, under a name."""
        name = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.held[name] = data
        return name

    def pixels(self, row: Row, side: str) -> np.ndarray:
        """The image of one side of a row as RGB, (H, W, 3), uint8.

        Raises:
            DataError: there is no such file, or it is no image; names row, field and file.
        """
        from PIL import Image

        name = getattr(row, side)
        if not isinstance(name, str):
            raise DataError(
                f"{row.where}: `{side}` is {shown(name)}, no image",
                hint="give a path, the bytes of an image file, or a column of images",
            )
        try:
            with Image.open(self._source(row, name)) as image:
                return np.asarray(image.convert("RGB"))
        except FileNotFoundError as error:
            raise DataError(
                f"{row.where}: `{side}` names {shown(name)}, and there is no such file",
                hint=f"paths are relative to {self.folder.get(row.where.file, Path.cwd())}",
            ) from error
        # pillow raises ValueError, SyntaxError and its own kinds for what is no image
        except Exception as error:
            raise DataError(
                f"{row.where}: `{side}` cannot be read as an image ({shown(name)}: {error})",
                hint="a PNG or JPEG file that pillow opens; fetch it again if it is cut short",
            ) from error

    def digest(self, row: Row, side: str) -> str:
        """A hash of the image's bytes: of what a run depends on."""
        name = getattr(row, side)
        if name in self.held:
            return str(name)
        return f"sha256:{hashlib.sha256(self._path(row, name).read_bytes()).hexdigest()}"

    def _source(self, row: Row, name: str) -> Any:
        return io.BytesIO(self.held[name]) if name in self.held else self._path(row, name)

    def _path(self, row: Row, name: str) -> Path:
        path = Path(name).expanduser()
        return path if path.is_absolute() else self.folder.get(row.where.file, Path()) / path


@dataclass(frozen=True)
class ImageRows(Dataset):
    """Rows, the report of how they were read, and their images."""

    images: Images

    def select(self, indices: Any) -> ImageRows:
        chosen = Dataset.select(self, indices)
        return ImageRows(chosen.rows, chosen.report, self.images)


@dataclass
class ImageSource:
    """A source of rows with images, as `holdfast.read` takes it."""

    source: Any
    images: Images = field(default_factory=Images)

    def opened(self, split: str | None) -> Opened:
        opened = open_source(_undecoded(self.source), split)
        for file in opened.files:
            path = Path(file).expanduser()
            if path.exists():
                self.images.folder[file] = path if path.is_dir() else path.parent
        return replace(opened, records=self._named(opened.records))

    def _named(self, records: Iterator[Record]) -> Iterator[Record]:
        for record in records:
            yield record if record.value is None else replace(record, value=self._row(record.value))

    def _row(self, value: Mapping[str, Any]) -> dict[str, Any]:
        row = {name: self._value(item) for name, item in value.items()}
        if NUMBERED.keys() <= row.keys() and "label_0" in row:
            row |= {ours: row.pop(theirs) for theirs, ours in NUMBERED.items()}
            row["winner"] = WINNER.get(row.pop("label_0"))
            row.pop("label_1", None)
        prompt = next((row.pop(name) for name in PROMPTS if name in row), None)
        if "image" in row and not {"answer", "chosen"} & row.keys():
            row["answer"] = row.pop("image")
        return {"prompt": NO_PROMPT if prompt in (None, "") else prompt, **row}

    def _value(self, value: Any) -> Any:
        if isinstance(value, bytes | bytearray | memoryview):
            return self.images.name(bytes(value))
        if isinstance(value, Mapping) and value and value.keys() <= {"bytes", "path"}:
            data, path = value.get("bytes"), value.get("path")
            return self.images.name(bytes(data)) if data is not None else path
        if hasattr(value, "tobytes") and hasattr(value, "save"):  # of pillow
            buffer = io.BytesIO()
            value.convert("RGB").save(buffer, format="PNG")
            return self.images.name(buffer.getvalue())
        return value


def read_images(source: Any, **reading: Any) -> ImageRows:
    """Read rows whose answers are images.

    Args:
        source: whatever `holdfast.read` takes.
        **reading: `format`, `columns`, `verdicts`, `split` and `quarantine`, as `holdfast.read`
            takes them.

    Raises:
        DataError: as `holdfast.read`. Images themselves are opened later (`Images.pixels`).
    """
    if isinstance(source, ImageRows):
        return source
    images = Images()
    found = read(ImageSource(source, images), **reading)
    rows = tuple(replace(row, prompt="") if row.prompt == NO_PROMPT else row for row in found.rows)
    return ImageRows(rows, found.report, images)


def stack(images: Sequence[np.ndarray], places: Sequence[str]) -> np.ndarray:
    """Images of one size as one array (N, H, W, 3). `places` are what errors call them.

    Raises:
        DataError: two sizes.
    """
    for image, place in zip(images, places, strict=True):
        if image.shape != images[0].shape:
            height, width = image.shape[:2]
            first = images[0].shape[:2]
            raise DataError(
                f"{place} has {width} x {height} pixels, {places[0]} has {first[1]} x {first[0]}",
                hint="images must be of one size; resolution=N scales and crops all to N x N",
            )
    return np.stack(images)


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """The image scaled so that its shorter side is `size` pixels, and its middle cut out."""
    from PIL import Image, ImageOps

    fitted = ImageOps.fit(Image.fromarray(image), (size, size), Image.Resampling.BICUBIC)
    return np.asarray(fitted)


def _undecoded(source: Any) -> Any:
    """Columns of images of the `datasets` library give their bytes, not decoded images."""
    if isinstance(source, str | os.PathLike):
        folder = Path(source).expanduser()
        if not is_saved_dataset(folder):
            return source
        import datasets

        source = datasets.load_from_disk(str(folder))
    if not hasattr(source, "cast_column"):
        return source
    import datasets

    features = source.features if not isinstance(source, Mapping) else None
    if features is None:  # of splits
        return type(source)({name: _undecoded(part) for name, part in source.items()})
    for name, kind in features.items():
        if isinstance(kind, datasets.Image):
            source = source.cast_column(name, datasets.Image(decode=False))
    return source
