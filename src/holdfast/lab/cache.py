"""Results kept by the content of everything that made them: a number is computed again when its
code or its settings change, and only then."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from holdfast import card, reductions, types
from holdfast.lab import fit
from holdfast.lab.claim import Claim

# Modules of what a claim's file imports, whose code its numbers hang on.
MODULES = (
    "holdfast.lab.worlds.",
    "holdfast.lab.frontier",
    "holdfast.rewards.",
    "holdfast.pluralism.",
    "holdfast.generation.",
    "holdfast.optimization.",
)


def default_folder() -> Path:
    """Where results are kept: $HOLDFAST_CACHE/lab, or the user's cache folder."""
    root = os.environ.get("HOLDFAST_CACHE")
    base = (
        Path(root)
        if root
        else Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "holdfast"
    )
    return base / "lab"


@lru_cache(maxsize=1024)
def _meaning(path: str) -> str:
    """A file's code without what cannot change a number: comments, layout, docstrings, and the
    sentences and rules of claims.
    """
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if not _is_claims(node)]
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0].value = ast.Constant("")
    return ast.dump(tree)


def _is_claims(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id == "CLAIMS" for target in node.targets
    )


def sources(modules: Iterable[ModuleType]) -> str:
    """One hash of the modules' code; a package counts with every file directly in it."""
    digest = hashlib.sha256()
    for path in sorted({file for module in modules for file in _files(module)}):
        digest.update(f"{Path(path).name}\0{_meaning(path)}\0".encode())
    return digest.hexdigest()


def _files(module: ModuleType) -> list[str]:
    own = Path(inspect.getsourcefile(module) or "")
    return [str(p) for p in own.parent.glob("*.py")] if own.name == "__init__.py" else [str(own)]


def key(claim: Claim, point: Mapping[str, Any], seeds: tuple[int, ...]) -> str:
    """The name of one piece of work: its code, its methods' code, its world's, and its settings."""
    import sys

    from holdfast import methods

    module = [inspect.getmodule(methods.get(name).objective) for name in claim.methods]
    helpers = [m for name, m in sys.modules.items() if name.startswith(MODULES)]
    mine = [
        sys.modules[claim.module],
        claim.world,
        fit,
        card,
        types,
        reductions,
        *helpers_of(claim, helpers),
    ]
    digest = hashlib.sha256(sources([m for m in [*mine, *module] if m is not None]).encode())
    digest.update(
        json.dumps(
            [claim.module, claim.measure.__name__, dict(point), list(seeds)],
            sort_keys=True,
            default=str,
        ).encode()
    )
    return digest.hexdigest()


def helpers_of(claim: Claim, candidates: Iterable[ModuleType]) -> list[ModuleType]:
    """Of these modules, those whose names the claim's own file mentions."""
    import sys

    text = Path(inspect.getsourcefile(sys.modules[claim.module]) or "").read_text(encoding="utf-8")
    return [
        module
        for module in candidates
        if module.__name__ in text or f"import {module.__name__.rpartition('.')[2]}" in text
    ]


def load(folder: Path, name: str) -> dict[str, Any] | None:
    """What was kept under that name, or None. A file that cannot be read counts as absent."""
    try:
        found = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"result", "seconds"} <= found.keys() else None


def save(folder: Path, name: str, result: Any, seconds: float) -> None:
    """Write beside, then move: a reader never meets half a file."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f"{name}.{os.getpid()}.part"
    beside.write_text(json.dumps({"result": result, "seconds": seconds}), encoding="utf-8")
    beside.replace(folder / f"{name}.json")
