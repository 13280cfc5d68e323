"""The command line."""

from holdfast.cli.app import app, main

__all__ = ["app", "main"]
