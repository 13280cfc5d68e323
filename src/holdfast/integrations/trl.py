"""Any pairwise method of ours inside TRL's `DPOTrainer` (TRL 1.16).

    trainer = HoldfastDPOTrainer(model, method="rdpo", settings={"flip_rate": 0.2},
    args=DPOConfig(...), train_dataset=..., processing_class=...) trainer.train()

TRL reads, tokenizes, batches, scores, steps and saves. It computes its own loss too, and measures;
we listen to the log-probabilities per token that its forwards give, and return our cost in place of
its loss.

Departures from DPOTrainer:
    1. The loss is the method's, reduced by its reduction. TRL's options of loss, and of a moving or
       precomputed reference, are refused.
    2. Microbatches of an optimizer step count by their rows (or row weights), not alike, so that
       their sum is the gradient of the large batch also where the last one is short. A method whose
       batch is more than its rows is refused where the batch would be cut up.
    3. No reference is loaded for a method that needs none.
    4. `rewards/*` are log-ratios times the method's `beta`, or times 1 where it has none, and
       absent without a reference.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from accelerate.utils import gather_object
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from trl import DPOConfig, DPOTrainer

from holdfast.card import Method, PairMethod, Reduction
from holdfast.errors import DataError, RunError
from holdfast.inputs import reference
from holdfast.integrations.columns import names_of, read_columns
from holdfast.integrations.refusals import (
    checked_settings,
    pairwise,
    refuse_cuts,
    refuse_images,
    refuse_needs,
    refuse_unread,
)
from holdfast.training.examples import Examples
from holdfast.training.metrics import batch_metrics
from holdfast.training.objective import BoundObjective, MethodState, evaluate_batch
from holdfast.training.prepare import raters_of
from holdfast.training.run.checkpoint import flatten, unflatten
from holdfast.training.settings import read_reduction
from holdfast.types import Row, Scored, Where

ROW = "holdfast_row"  # the column that says which row of ours an example is
MEMORY = "holdfast.safetensors"  # in each checkpoint


class HoldfastDPOTrainer(DPOTrainer):
    """TRL's DPOTrainer with one of our pairwise methods as its loss.

    Args:
        model: as for DPOTrainer.
        ref_model: as for DPOTrainer. Given to a method that needs none, it is scored for the
            metrics' sake.
        args: a DPOConfig whose options of loss are left alone.
        method: a name of the table (`holdfast methods`), or a `PairMethod`.
        settings: the method's own settings.
        reduction: how costs are averaged, such as "kl:temperature=0.5"; the method's own unless
            given.
        **trl: everything else that DPOTrainer takes. Datasets may have columns weight, group,
            rater, confidence and reward_gap.

    Raises:
        OptionError: an option that nobody reads, a value out of range, a method of single answers,
            or one whose batch would be cut up.
        NeedError: the method or the reduction needs what the dataset lacks, or what TRL has no
            place for.
        DataError: a column of ours holds something it must not, or ties.
    """

    def __init__(
        self,
        model: Any,
        ref_model: Any = None,
        args: DPOConfig | None = None,
        *,
        method: str | Method,
        settings: Mapping[str, Any] | None = None,
        reduction: str | Reduction | None = None,
        train_dataset: Any = None,
        **trl: Any,
    ):
        self.method = pairwise(method)
        args = DPOConfig(f"holdfast-{self.method.name}") if args is None else args
        settings = checked_settings(self.method, settings or {})
        refuse_unread(args)
        self._reduction = read_reduction(reduction, self.method, groups=1)
        refuse_needs(self.method, self._reduction)
        refuse_cuts(self.method, self._reduction, args)
        refuse_images(train_dataset)
        self.objective: BoundObjective | None = None
        self._rows: list[Row] = []
        self._mass: float | None = None  # mean weight of the microbatches of this optimizer step
        self._name, self._paper = self.method.name, _paper(self.method)
        self._tag_names = ["trl", "holdfast", self.method.name]

        self.has_reference = ref_model is not None or reference in self.method.card.needs
        args.precompute_ref_log_probs = (
            not self.has_reference
        )  # then TRL loads no second model; see _precompute_ref_logps
        try:
            super().__init__(model, ref_model, args, train_dataset=train_dataset, **trl)
        finally:
            args.precompute_ref_log_probs = False
        if not self.has_reference:
            self.precompute_ref_logps, self.ref_model = False, NoReference()
        self.beta = settings.get("beta", 1.0)  # of `rewards/*` alone
        self.data_collator: Any = Carry(self.data_collator)
        groups = sorted(name for name in names_of(self._rows, "group") if name is not None)
        reduction = read_reduction(reduction, self.method, groups=len(groups))
        self.objective = BoundObjective(
            self.method, settings, reduction, groups, raters_of(self._rows)
        )
        self.method_state: MethodState = self.objective.first_state()

    # ----------------------------------------------------------------------------------------------
    # rows

    def _prepare_dataset(
        self, dataset: Any, processing_class: Any, args: DPOConfig, dataset_name: str
    ) -> Any:
        named = f"{dataset_name} dataset"
        if ROW not in (dataset.column_names or ()):
            rows = read_columns(dataset, named, self.method, self._reduction)
            if rows is not None:
                self._refuse_strangers(rows, named)
                dataset = dataset.add_column(
                    ROW, list(range(len(self._rows), len(self._rows) + len(rows)))
                )
                self._rows += rows
        prepared = super()._prepare_dataset(dataset, processing_class, args, dataset_name)
        say_what_was_cut(dataset, prepared, args.max_length, named)
        return prepared

    def _refuse_strangers(self, rows: Sequence[Row], named: str) -> None:
        """Groups and raters are numbered when the trainer is made."""
        if self.objective is None:
            return
        for column, known in (("group", self.objective.groups), ("rater", self.objective.raters)):
            new = names_of(rows, column) - {*known, None}
            if new:
                raise DataError(
                    f"{named}: unknown in column {column}: {', '.join(sorted(map(str, new)))}",
                    hint="pass the rows as eval_dataset",
                )

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if ROW not in self._signature_columns:
            self._signature_columns.append(ROW)

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        return dataset  # reached only where no reference is wanted

    def _take_rows(self, inputs: dict[str, Any]) -> list[Row]:
        """The rows of a batch, taken out of what TRL hands to the model."""
        numbers = inputs.pop(ROW, None)
        if numbers is None:
            return [
                Row(Where("batch", line), chosen="", rejected="")
                for line in range(1, len(inputs["completion_mask"]) // 2 + 1)
            ]
        return [self._rows[number] for number in numbers.tolist()]

    # ----------------------------------------------------------------------------------------------
    # loss

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any], return_outputs: bool) -> Any:
        assert self.objective is not None
        mode = "train" if self.model.training else "eval"
        inputs = dict(inputs)
        rows = Examples((), self._take_rows(inputs))
        heard: list[Any] = []
        said: list[Any] = []

        def policy(**kwargs: Any) -> Any:
            heard.append(model(**kwargs))
            return heard[-1]

        listened = (
            self.model if self.ref_model is None else self.ref_model
        )  # the policy itself, where an adapter is switched off
        ear = listened.register_forward_hook(lambda module, given, output: said.append(output))
        try:
            theirs = super()._compute_loss(policy, inputs, return_outputs)
        finally:
            ear.remove()
        ref_logp = [
            output.log_probs for output in said if getattr(output, "log_probs", None) is not None
        ][-1]
        parts = split_parts(
            heard[0].log_probs,
            ref_logp if self.has_reference else None,
            inputs["completion_mask"][:, 1:],
        )

        batch = self.objective.batch(parts, rows)
        cost_N, _ = self.objective.costs(batch, self.method_state)
        loss, _ = self.objective.reduction.apply(cost_N, batch, self.method_state.reduction)
        with torch.enable_grad():
            still = {
                name: Scored(part.logp_NT.detach(), part.mask_NT, part.ref_logp_NT)
                for name, part in parts.items()
            }
            result = evaluate_batch(self.objective, still, rows, self.method_state)
        self._note(
            mode,
            batch_metrics(
                result, groups=self.objective.groups, robust=not self.objective.reduction.linear
            ),
        )
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * heard[0].aux_loss
        if mode == "train":
            self.method_state = result.state
            loss = loss * (1.0 if self._mass is None else mass_of(rows.rows) / self._mass)
        return (loss, theirs[1]) if return_outputs else loss

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list[Any], Any]:
        """The microbatches of one optimizer step; on the way, what they weigh on average, over all
        processes.
        """
        samples, items = super().get_batch_samples(*args, **kwargs)
        masses = [mass_of(self._take_rows(dict(inputs))) for inputs in samples]
        mean = torch.tensor(
            sum(masses) / max(1, len(masses)), dtype=torch.float32, device=self.accelerator.device
        )
        self._mass = self.accelerator.gather(mean).mean().item()
        return samples, items

    def _note(self, mode: str, metrics: dict[str, float]) -> None:
        """Our metrics among TRL's, which averages them from one logged step to the next. It logs
        the loss itself.
        """
        everyone = [metrics] if self.accelerator.num_processes == 1 else gather_object([metrics])
        for name in metrics:
            values = [each[name] for each in everyone if name in each]
            if name != "loss" and not name.startswith(("rewards/", "logps/")):  # TRL has these
                self._metrics[mode][name].append(sum(values) / len(values))
        if not self.has_reference:
            for name in [name for name in self._metrics[mode] if name.startswith("rewards/")]:
                del self._metrics[mode][name]

    # ----------------------------------------------------------------------------------------------
    # state

    @property
    def identity(self) -> dict[str, str]:
        """What must be the same for a checkpoint's state to mean the same."""
        objective = self.objective
        assert objective is not None
        names = {"groups": list(objective.groups), "raters": list(objective.raters)}
        said = {"settings": dict(objective.settings), **names}
        return {
            "method": self.method.name,
            "reduction": objective.reduction.name,
            **{k: json.dumps(v) for k, v in said.items()},
        }

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            save_file(
                flatten(asdict(self.method_state)),
                Path(output_dir) / MEMORY,
                metadata=self.identity,
            )

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        path = Path(checkpoint) / MEMORY
        if not path.is_file():
            raise RunError(
                f"{checkpoint} holds no {MEMORY}: another trainer wrote it",
                hint="load its weights as the model instead",
            )
        with safe_open(path, "pt") as file:
            saved, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        for name, value in self.identity.items():
            if saved.get(name) != value:
                raise RunError(
                    f"{checkpoint} was trained with {name} {saved.get(name)}, not {value}",
                    hint="resume with what it had",
                )
        self.method_state = MethodState(**unflatten(asdict(self.method_state), tensors))


# ------------------------------------------------------------------------------------------------
# pieces


class NoReference(nn.Module):
    """In the place of a reference model where the method reads none: no weights, zeros for TRL to
    read.
    """

    def forward(self, *, input_ids: Tensor, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(log_probs=torch.zeros_like(input_ids[:, 1:], dtype=torch.float32))


@dataclass
class Carry:
    """A collator that lets the row numbers through."""

    inner: Callable[[list[dict[str, Any]]], dict[str, Any]]

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = self.inner(
            [
                {name: value for name, value in example.items() if name != ROW}
                for example in examples
            ]
        )
        if ROW in examples[0]:
            batch[ROW] = torch.tensor([example[ROW] for example in examples])
        return batch


def split_parts(logp: Tensor, ref_logp: Tensor | None, mask: Tensor) -> dict[str, Scored]:
    """TRL's stacked batch, chosen answers above rejected ones, as ours. Columns before the real
    tokens (a learned prefix) fall away.
    """
    width = mask.shape[1]
    logps = logp[:, -width:].float().chunk(2)
    refs: Sequence[Tensor | None] = (
        (None, None) if ref_logp is None else ref_logp[:, -width:].detach().float().chunk(2)
    )
    parts = zip(("chosen", "rejected"), logps, mask.chunk(2), refs, strict=True)
    return {
        name: Scored(logp_NT, mask_NT, ref_logp_NT) for name, logp_NT, mask_NT, ref_logp_NT in parts
    }


def mass_of(rows: Sequence[Row]) -> float:
    """What a microbatch weighs in its batch: the sum of its row weights, each 1 unless given."""
    return float(sum(1.0 if row.weight is None else row.weight for row in rows))


def say_what_was_cut(before: Any, after: Any, max_length: int | None, named: str) -> None:
    """TRL shortens long answers and drops rows whose prompt fills `max_length`; here that is
    counted aloud.
    """
    if max_length is None or not hasattr(after, "__len__"):
        return
    parts = after.select_columns(["prompt_ids", "chosen_ids", "rejected_ids"])
    long = sum(
        len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"])) > max_length
        for row in parts
    )
    dropped = len(before) - len(after)
    if dropped or long:
        text = (
            f"{named}: {dropped} rows are dropped and {long} rows have answers cut short, at "
            f"max_length {max_length} tokens"
        )
        warnings.warn(f"{text}; hint: raise max_length, or None for no limit", stacklevel=2)


def _paper(method: PairMethod) -> dict[str, str]:
    """For TRL's model card."""
    paper = method.card.paper
    return {
        "title": paper.title,
        "id": paper.arxiv,
        "citation": f"{paper.authors} ({paper.year}). {paper.title}. {paper.venue}".strip(),
    }
