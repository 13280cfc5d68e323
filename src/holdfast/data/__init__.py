"""Data: read, validate, make examples, render, tokenize, and plant flaws at known rates."""

from holdfast.data import corrupt
from holdfast.data.examples import Examples, to_examples
from holdfast.data.read import Dataset, ReadReport, content_hash, read
from holdfast.data.reading import Reading
from holdfast.data.render import TokenizedSet, TokenReport, tokenize
from holdfast.data.show import show
from holdfast.data.tally import Sample

__all__ = [
    "Dataset",
    "Examples",
    "ReadReport",
    "Reading",
    "Sample",
    "TokenReport",
    "TokenizedSet",
    "content_hash",
    "corrupt",
    "read",
    "show",
    "to_examples",
    "tokenize",
]
