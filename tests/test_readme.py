"""The README's code runs as it stands, and its two commands are there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


@pytest.fixture
def folder(
    tmp_path: Path,
    tiny_model_dir: Path,
    pair_rows: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A folder where the names of the README's examples lead somewhere."""
    (tmp_path / "M").symlink_to(tiny_model_dir)
    for name, rows in (("prefs.jsonl", pair_rows[:16]), ("held_out.jsonl", pair_rows[16:24])):
        (tmp_path / name).write_text("\n".join(json.dumps(row) for row in rows))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_of_the_readme_runs(
    folder: Path, tiny_tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    policy, reference = (AutoModelForCausalLM.from_pretrained("M") for _ in range(2))
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3)
    names = {
        "policy": policy,
        "reference": reference,
        "tokenizer": tiny_tokenizer,
        "optimizer": optimizer,
    }
    assert len(BLOCKS) >= 2
    before = [p.detach().clone() for p in policy.parameters()]
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), names)
    assert (folder / "runs/rdpo/model/model.safetensors").exists()
    assert "implicit_reward" in capsys.readouterr().out
    assert any(
        not torch.equal(old, new) for old, new in zip(before, policy.parameters(), strict=True)
    )


def test_every_picture_and_page_that_the_readme_names_exists() -> None:
    root = Path(__file__).parent.parent
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (root / link).exists()] == []
