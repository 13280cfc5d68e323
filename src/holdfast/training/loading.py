"""What goes into a run: loaded, read and hashed, and held against the record of the run to go on
with.

The model is loaded as it was before training also when a run is resumed: so the reference's numbers
are the same, the scorer takes the same path, and only then do the checkpoint's weights move in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from holdfast.card import Method, Reduction
from holdfast.errors import HoldfastError
from holdfast.files import folder_to_write
from holdfast.inputs import reference as reference_input
from holdfast.models.protocols import Saved
from holdfast.scorers.reference import model_hash
from holdfast.training.distributed import Distributed
from holdfast.training.objective import BoundObjective
from holdfast.training.options import Options
from holdfast.training.prepare import Prepared, prepare
from holdfast.training.reference import NamedReference, named_reference
from holdfast.training.request import RunRequest
from holdfast.training.run.record import differences, refuse_another
from holdfast.training.settings import read_reduction


@dataclass
class Loaded:
    """What goes into a run, not scored yet.

    Attributes:
        options: the run's, with what the model decides filled in.
        model: before its first step.
        processor: what turns rows into what the model reads.
        rows: to train on and to evaluate on.
        objective: the method at its settings, with its reduction.
        reference: the model that is the reference, None without one.
        identity: hashes of all of this, by name.
        notes: what the reader should know.
    """

    options: Options
    model: nn.Module
    processor: Saved
    rows: Prepared
    objective: BoundObjective
    reference: NamedReference | None
    identity: dict[str, str]
    notes: list[str]


def load(context: Distributed, request: RunRequest, before: Mapping[str, Any] | None) -> Loaded:
    """Load and read what was asked for, and refuse to go on with a run of something else before
    anything in its folder is touched.

    Args:
        context: the processes.
        request: what was asked.
        before: the record of the run to go on with, None for a new one.

    Raises:
        RunError: `before` is of another method, model, data, settings or options; everything that
            differs is named.
    """
    if request.options.reference_cache:
        folder_to_write(request.options.reference_cache, "reference_cache")
    if before is None:
        return _load(context, request, request.place)
    plain: dict[str, Any] = {
        "method": request.method.name,
        "average": written_average(request.method),
        "settings": request.settings,
        "options": asdict(request.options),
    }
    if request.options.max_tokens is None:  # then the model will tell
        plain["options"].pop("max_tokens")
    if not isinstance(request.reduction, Reduction):
        plain["reduction"] = written_reduction(request.reduction, request.method.reduction)
    found = differences(before, plain)
    try:
        with TemporaryDirectory() as scratch:  # the run's own quarantine stays as it is
            loaded = _load(context, request, Path(scratch))
    except HoldfastError:
        refuse_another(found)  # what went wrong may well follow from that
        raise
    whole = {**plain, "options": asdict(loaded.options), "identity": loaded.identity}
    whole["reduction"] = written_reduction(request.reduction, loaded.objective.reduction)
    refuse_another(differences(before, whole))
    return loaded


def _load(context: Distributed, request: RunRequest, quarantine: Path) -> Loaded:
    notes: list[str] = []
    task, method = request.task, request.method
    model = task.load(request.model, request.options)
    options = task.fit_options(request.options, model)
    request = replace(request, options=options)
    processor = task.processor(request.tokenizer, request.model, model, options, notes)
    task.ready(model, processor, options)
    rows = _rows(context, request, processor, quarantine)
    start_hash = model_hash(model)
    identity = {"model": start_hash, **rows.identity}
    reference = None
    # where it was only named: for the metrics' sake
    if reference_input in method.card.needs or request.reference is not None:
        reference = named_reference(request, model, start_hash)
        identity["reference"] = reference.identity
    return Loaded(
        options,
        model,
        processor,
        rows,
        _objective(request, rows),
        reference,
        identity,
        notes,
    )


def _rows(
    context: Distributed, request: RunRequest, processor: Saved, quarantine: Path
) -> Prepared:
    with TemporaryDirectory() as scratch:
        # all processes read all rows, one of them keeps what it quarantines
        folder, options = quarantine if context.is_main else Path(scratch), request.options
        if folder != request.place:  # a quarantine of the user's own name stays as it is, too
            options = replace(options, quarantine=bool(options.quarantine))
        return prepare(
            request.task,
            request.method,
            read_reduction(request.reduction, request.method, groups=1),
            processor,
            options,
            data=request.data,
            eval_data=request.eval_data,
            out=folder,
        )


def _objective(request: RunRequest, rows: Prepared) -> BoundObjective:
    method = request.method
    reduction = read_reduction(request.reduction, method, groups=len(rows.groups))
    return BoundObjective(method, request.settings, reduction, rows.groups, rows.raters)


def written_average(method: Method) -> str:
    """The average over tokens as it is written on the command line; "" where there is none."""
    return "" if method.average is None else method.average.name


def written_reduction(given: str | Reduction | None, made: Reduction) -> str:
    return given if isinstance(given, str) else made.name
