"""The verb, whole: against numbers made the slow way, on models and runs that are built on the
spot.
"""

import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from holdfast.data import Dataset, read
from holdfast.errors import ModelError, NeedError, OptionError, RunError
from holdfast.evaluation.evaluation import evaluate
from holdfast.evaluation.rows import NO_GROUP
from holdfast.evaluation.show import drawn_how
from holdfast.lab.worlds import text as world
from holdfast.models.small import small_model
from holdfast.training.policy import train

SIZES = {"vocab": 400, "hidden": 16, "layers": 1, "heads": 2, "max_tokens": 128}
FAST = {"bootstrap": 100, "max_new_tokens": 8, "progress": False, "device": "cpu"}


@pytest.fixture(scope="module")
def texts():
    return [f"{row.prompt} {row.answer}" for row in world.corpus(world.all_prompts(), 60, seed=0)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory, texts):
    """A policy and a reference: two random models with one tokenizer."""
    base = tmp_path_factory.mktemp("models")
    return [
        small_model(texts, base / name, seed=seed, **SIZES)
        for name, seed in (("policy", 1), ("reference", 2))
    ]


@pytest.fixture(scope="module")
def rows():
    """Eight comparisons of three prompts, in two tones."""
    prompts = [
        prompt
        for prompt in world.all_prompts()
        if " sea " in prompt and ("warm" in prompt or "stern" in prompt)
    ][:3]
    return Dataset.of(world.preferences(prompts, 8, seed=0))


@pytest.fixture(scope="module")
def whole(folders, rows):
    return evaluate(
        folders[0], data=rows, reference=folders[1], reward=world.gold, samples=2, **FAST
    )


def slow_logp(folder, row, answer):
    """log pi(answer | prompt) by one plain forward of one rendered conversation."""
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": row.prompt}], tokenize=False, add_generation_prompt=True
    )
    prompt = tokenizer(asked, add_special_tokens=False)["input_ids"]
    ids = tokenizer(answer, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    with torch.no_grad():
        logp = model(torch.tensor([prompt + ids])).logits[0].log_softmax(-1)
    return sum(float(logp[len(prompt) - 1 + t, token]) for t, token in enumerate(ids)), len(ids)


def test_ranking_and_margins_equal_the_slow_way(whole, folders, rows):
    table = []
    for row in rows:
        (w, n_w), (lose, n_l) = (
            slow_logp(folders[0], row, answer) for answer in (row.chosen, row.rejected)
        )
        ref_w, ref_l = (
            slow_logp(folders[1], row, answer)[0] for answer in (row.chosen, row.rejected)
        )
        table.append((w, lose, ref_w, ref_l, n_w, n_l))
    w, lose, ref_w, ref_l, n_w, n_l = np.array(table).T
    ranking, margins = whole.all.ranking, whole.all.margins
    assert ranking["policy"]["value"] == np.mean(w > lose)
    assert ranking["policy_per_token"]["value"] == np.mean(w / n_w > lose / n_l)
    assert ranking["reference"]["value"] == np.mean(ref_w > ref_l)
    assert ranking["implicit_reward"]["value"] == np.mean(w - ref_w > lose - ref_l)
    assert margins["implicit"]["value"] == pytest.approx(
        np.mean(w - ref_w - lose + ref_l), abs=1e-4
    )
    assert margins["chosen_movement"]["value"] == pytest.approx(np.mean(w - ref_w), abs=1e-4)
    assert margins["rejected_movement"]["value"] == pytest.approx(np.mean(lose - ref_l), abs=1e-4)
    assert (
        ranking["policy"]["clusters"] == len({row.prompt for row in rows})
        and ranking["policy"]["n"] == 8
    )


def test_what_was_written_is_scored_and_compared(whole, rows):
    assert whole.all.prompts_answered == len(whole.texts) == len({row.prompt for row in rows})
    ours = [world.gold([entry["prompt"]] * 2, entry["policy"]) for entry in whole.texts]
    theirs = [world.gold([entry["prompt"]] * 2, entry["opponent"]) for entry in whole.texts]
    assert [entry["policy_reward"] for entry in whole.texts] == ours
    wins = [
        np.mean([(a > b) + 0.5 * (a == b) for a in x for b in y])
        for x, y in zip(ours, theirs, strict=True)
    ]
    assert whole.all.win_rate["win_rate"]["value"] == pytest.approx(np.mean(wins))
    assert whole.all.win_rate["reward_difference"]["value"] == pytest.approx(
        np.mean(ours) - np.mean(theirs)
    )
    assert whole.all.win_rate["under"] == "holdfast.lab.worlds.text:gold"
    lengths = whole.all.lengths
    assert set(lengths) == {"policy", "reference"} and lengths["policy"]["n"] == 2 * len(
        whole.texts
    )
    assert 1 <= lengths["policy"]["quantiles"]["0.1"] <= lengths["policy"]["max"] <= 8
    assert (
        set(whole.all.kl) == {"rao-blackwellized", "k1", "k3"}
        and whole.all.kl["rao-blackwellized"]["value"] > 0
    )


def test_groups_add_up(whole):
    assert set(whole.groups) == {"warm", "stern"}
    assert sum(part.comparisons for part in whole.groups.values()) == 8
    weighted = (
        sum(part.comparisons * part.ranking["policy"]["value"] for part in whole.groups.values())
        / 8
    )
    assert weighted == pytest.approx(whole.all.ranking["policy"]["value"])
    answered = sum(
        part.prompts_answered * part.win_rate["win_rate"]["value"] for part in whole.groups.values()
    )
    assert answered == pytest.approx(
        whole.all.prompts_answered * whole.all.win_rate["win_rate"]["value"]
    )
    lowest = min(
        whole.groups, key=lambda name: whole.groups[name].ranking["implicit_reward"]["value"]
    )
    assert (
        whole.groups[whole.worst_group["implicit_reward"]].ranking["implicit_reward"]
        == whole.groups[lowest].ranking["implicit_reward"]
    )


def test_json_and_table_hold_it_all(whole, tmp_path):
    kept = json.loads(whole.write(tmp_path / "deep" / "evaluation.json").read_text())
    assert kept["all"]["ranking"]["policy"] == whole.all.ranking["policy"]
    assert kept["model"]["hash"] != kept["reference"]["hash"] and kept["data"]["comparisons"] == 8
    console = Console(record=True, width=150, file=io.StringIO())
    console.print(whole.table())
    shown = console.export_text()
    for words in (
        "implicit reward",
        "rao-blackwellized",
        "win rate against the reference",
        "cut off at 8 tokens",
        "By group",
        "stern",
        "warm",
    ):
        assert words in shown


def test_same_seed_same_evaluation_and_no_global_state(whole, folders, rows):
    torch.manual_seed(4)
    before = torch.get_rng_state()
    again = evaluate(
        folders[0], data=rows, reference=folders[1], reward=world.gold, samples=2, **FAST
    )
    assert again.to_dict() == whole.to_dict()
    assert torch.equal(before, torch.get_rng_state())
    other = evaluate(
        folders[0], data=rows, reference=folders[1], reward=world.gold, samples=2, seed=1, **FAST
    )
    assert (
        other.texts != whole.texts
        and other.all.ranking["policy"]["value"] == whole.all.ranking["policy"]["value"]
    )


def test_a_model_against_itself(folders, rows):
    found = evaluate(folders[0], data=rows, reference=folders[0], reward=world.gold, **FAST)
    assert found.all.ranking["implicit_reward"]["value"] == 0.5  # all ties
    assert found.all.ranking["implicit_reward"]["low"] is None
    assert found.all.margins["implicit"]["value"] == 0.0
    assert found.all.kl["k1"]["value"] == pytest.approx(
        0.0, abs=1e-5
    )  # two scorers of one model, whose rounding differs


def test_without_a_reference_it_says_so(folders, rows):
    found = evaluate(folders[0], data=rows, reward=world.gold, **FAST)
    assert (
        found.reference is None and not found.all.kl and "implicit_reward" not in found.all.ranking
    )
    assert (
        "win_rate" not in found.all.win_rate and found.all.win_rate["reward"]["value"] is not None
    )
    assert any("no reference" in note for note in found.notes)
    Console(file=io.StringIO()).print(found.table())


def test_one_row_is_enough_and_tells_little(folders, rows):
    found = evaluate(
        folders[0], data=rows.select([0]), reference=folders[1], reward=world.gold, **FAST
    )
    assert found.all.ranking["policy"]["value"] in (0.0, 1.0)
    assert (
        found.all.ranking["policy"]["low"] is None and found.all.win_rate["win_rate"]["low"] is None
    )
    assert found.worst_group == {} and list(found.groups) == [rows[0].group]
    json.dumps(found.to_dict(), allow_nan=False)


def test_no_prompts_means_no_generation(folders, rows):
    found = evaluate(folders[0], data=rows, reference=folders[1], prompts=0, **FAST)
    assert (
        found.texts == []
        and not found.all.kl
        and not found.all.lengths
        and found.all.ranking["policy"]["n"] == 8
    )
    with pytest.raises(OptionError, match="no prompts are to be answered"):
        evaluate(folders[0], data=rows, prompts=0, reward=world.gold, **FAST)


def test_ties_and_single_answers_are_counted_not_ranked(folders):
    pair = {"prompt": "Describe the sea.", "chosen": "the grim wave.", "rejected": "the oak."}
    tied = read([pair, {**pair, "prompt": "Describe the farm.", "tie": True}])
    found = evaluate(folders[0], data=tied, reference=folders[1], **FAST)
    assert found.all.comparisons == 1 and found.all.prompts_answered == 2
    assert any(note.startswith("1 ties") for note in found.notes)
    single = read([{"prompt": "Describe the sea.", "answer": "the wave.", "label": True}])
    found = evaluate(folders[0], data=single, reference=folders[1], **FAST)
    assert (
        found.all.comparisons == 0
        and found.all.ranking["policy"]["value"] is None
        and found.all.prompts_answered == 1
    )
    Console(file=io.StringIO()).print(found.table())


def test_rows_without_groups_have_none(folders, rows):
    bare = read(
        [{"prompt": row.prompt, "chosen": row.chosen, "rejected": row.rejected} for row in rows]
    )
    assert evaluate(folders[0], data=bare, prompts=0, **FAST).groups == {}
    half = read(
        [
            {
                "prompt": row.prompt,
                "chosen": row.chosen,
                "rejected": row.rejected,
                **({"shade": row.group} if i % 2 else {}),
            }
            for i, row in enumerate(rows)
        ]
    )
    assert NO_GROUP in evaluate(folders[0], data=half, by="shade", prompts=0, **FAST).groups
    with pytest.raises(OptionError, match="no column 'shades'"):
        evaluate(folders[0], data=half, by="shades", prompts=0, **FAST)


def test_a_run_brings_its_own_reference(folders, rows, tmp_path):
    run = train(
        "dpo",
        model=str(folders[0]),
        data=rows,
        out=tmp_path / "run",
        max_steps=2,
        learning_rate=1e-2,
    )
    found = evaluate(run.out, data=rows, prompts=0, **FAST)
    assert found.reference["name"] == str(folders[0])
    given = evaluate(run.model_path, data=rows, reference=folders[0], prompts=0, **FAST)
    assert replace(found.all, difficulty={}) == replace(
        given.all, difficulty={}
    )  # the folder of the model alone knows no beta
    assert found.all.difficulty["beta"] == 0.1 and given.all.difficulty["beta"] is None
    assert found.all.margins["implicit"]["value"] != 0
    assert evaluate(run, data=rows, reference=folders[1], prompts=0, **FAST).reference[
        "name"
    ] == str(folders[1])


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"options": 5}'])
def test_a_damaged_record_is_named(folders, rows, tmp_path, damaged):
    shutil.copytree(folders[0], tmp_path / "run" / "model")
    (tmp_path / "run" / "run.json").write_text(damaged)
    with pytest.raises(RunError, match=r"run\.json"):
        evaluate(tmp_path / "run", data=rows, reference=folders[1], prompts=0, **FAST)


def test_a_run_with_an_adapter_is_measured_from_its_base(folders, rows, tmp_path):
    run = train(
        "dpo",
        model=str(folders[0]),
        data=rows,
        out=tmp_path / "run",
        max_steps=2,
        learning_rate=1e-2,
        lora_rank=2,
    )
    found = evaluate(run.out, data=rows, prompts=1, **FAST)
    assert (
        found.reference["name"] == str(folders[0])
        and found.model["parameters"] > found.reference["parameters"]
    )
    assert (
        found.all.margins["implicit"]["value"] != 0
        and found.all.kl["rao-blackwellized"]["value"] > 0
    )


def test_models_in_memory_and_an_opponent(folders, rows):
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folders[0]),
        AutoTokenizer.from_pretrained(folders[0]),
    )
    found = evaluate(
        model,
        tokenizer=tokenizer,
        data=rows,
        against=folders[1],
        judge=lambda p, a, b: [0.7] * len(a),
        **FAST,
    )
    assert found.settings["opponent"] == "against" and set(found.all.lengths) == {
        "policy",
        "opponent",
    }
    console = Console(record=True, width=150, file=io.StringIO())
    console.print(found.table())
    assert "win rate against the opponent" in console.export_text()
    assert found.all.win_rate["win_rate"]["value"] == pytest.approx(0.5)
    assert found.all.win_rate["order_changed"]["value"] == 1.0 and found.all.win_rate[
        "first_place_bonus"
    ]["value"] == pytest.approx(0.4)
    with pytest.raises(ModelError, match="without a tokenizer"):
        evaluate(model, data=rows, **FAST)


def test_models_of_two_tokenizers_are_not_compared_by_log_probability(folders, rows, tmp_path):
    other = small_model(
        ["other words altogether, quite different ones"] * 9, tmp_path / "other", **SIZES
    )
    with pytest.raises(ModelError, match="do not share a tokenizer"):
        evaluate(folders[0], data=rows, reference=other, **FAST)
    found = evaluate(folders[0], data=rows, against=other, reward=world.gold, **FAST)
    assert found.all.win_rate["win_rate"]["value"] is not None


def test_prompts_that_leave_no_room_are_counted(folders, rows):
    tight = evaluate(folders[0], data=rows, max_new_tokens=127, bootstrap=10, progress=False)
    assert tight.all.prompts_answered == 0 and any("leave no room" in note for note in tight.notes)


def test_some_of_the_prompts_are_drawn_and_said(folders, rows):
    found = evaluate(folders[0], data=rows, prompts=2, **FAST)
    assert found.all.prompts_answered == 2 and any(
        note.startswith("2 of 3 prompts are answered") for note in found.notes
    )


def test_a_cold_policy_is_compared_cold_and_measured_warm(folders, rows):
    """Greedy answers are the same for every sample; the divergence still comes from samples at
    temperature 1.
    """
    found = evaluate(
        folders[0], data=rows, reference=folders[1], temperature=0.0, samples=3, **FAST
    )
    assert all(len(set(entry["policy"])) == 1 for entry in found.texts)
    warm = evaluate(folders[0], data=rows, reference=folders[1], temperature=1.0, samples=3, **FAST)
    assert found.all.kl["k1"]["value"] == pytest.approx(warm.all.kl["k1"]["value"], rel=0.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples": 0},
        {"temperature": -1.0},
        {"reward": world.gold, "judge": lambda p, a, b: [0.5] * len(a)},
    ],
)
def test_bad_settings_are_refused(folders, rows, wrong):
    with pytest.raises(OptionError):
        evaluate(folders[0], data=rows, **{**FAST, **wrong})


def test_how_hard_the_pairs_are_equals_the_slow_way(folders, rows):
    """Half the rows say how sure their label is; the other half counts as certain, odds of 1000."""
    sure = [replace(row, confidence=0.6) if i % 2 else row for i, row in enumerate(rows)]
    found = evaluate(
        folders[0], data=Dataset.of(sure), reference=folders[1], beta=0.5, prompts=0, **FAST
    )
    ratio = [
        [slow_logp(m, row, row.chosen)[0] - slow_logp(m, row, row.rejected)[0] for row in rows]
        for m in folders
    ]
    now, before = np.array(ratio)
    odds = np.where(np.arange(8) % 2, np.log(0.6 / 0.4), np.log(1000))
    ideal = odds > 0.5 * -before
    hard = found.all.difficulty
    assert hard["beta"] == 0.5 and set(hard["idealized"]) == {"0.01", "0.1", "0.5", "1", "5", "10"}
    assert hard["idealized"]["0.5"]["value"] == np.mean(ideal)
    assert hard["gap"]["0.5"]["value"] == pytest.approx(np.mean(ideal.astype(float) - (now > 0)))
    assert hard["learned"]["value"] == pytest.approx(np.mean((now > 0)[before < 0]))
    assert (
        hard["over_betas"]["least"]["value"]
        <= hard["over_betas"]["median"]["value"]
        <= hard["over_betas"]["greatest"]["value"]
    )
    assert hard["threshold"]["value"] == pytest.approx(
        np.mean(np.logaddexp(0, 0.5 * before)[before < 0]), abs=1e-4
    )
    assert set(found.groups["warm"].difficulty) == set(hard)
    assert any(
        "4 of 8 comparisons say how sure" in note and "1,000 to 1" in note for note in found.notes
    )
    console = Console(record=True, width=150, file=io.StringIO())
    console.print(found.table())
    shown = console.export_text()
    for words in (
        "How hard the pairs are",
        "alignment gap at beta 0.5",
        "greatest over beta",
        "cost below which",
    ):
        assert words in shown
    with pytest.raises(OptionError, match="beta"):
        evaluate(folders[0], data=rows, reference=folders[1], beta=0.0, prompts=0, **FAST)


def test_a_run_brings_its_own_beta_and_what_it_asks_of_a_pair(folders, rows, tmp_path):
    run = train(
        "ipo", model=str(folders[1]), data=rows, out=tmp_path / "ipo", tau=2.0, batch_size=8
    )
    found = evaluate(run.out, data=rows, prompts=0, **FAST)
    hard = found.all.difficulty
    assert hard["beta"] is None and found.settings["objective"]["method"] == "ipo"
    before = np.array(
        [
            slow_logp(folders[1], row, row.chosen)[0] - slow_logp(folders[1], row, row.rejected)[0]
            for row in rows
        ]
    )
    assert hard["idealized_own"]["value"] == np.mean(
        before + 0.25 * 999 / 1001 > 0
    )  # IPO's margin at tau 2, less the odds of 1000
    assert "cost" not in hard and "cost" not in found.groups["warm"].difficulty
    plain = evaluate(
        train("dpo", model=str(folders[1]), data=rows, out=tmp_path / "dpo", beta=0.3).out,
        data=rows,
        prompts=0,
        **FAST,
    )
    assert plain.all.difficulty["beta"] == 0.3
    assert (
        plain.all.difficulty["idealized_own"] == plain.all.difficulty["idealized"]["0.3"]
    )  # dpo's own is the closed form


def test_how_answers_were_drawn_is_said_whole():
    plain = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "best_of": 1}
    assert drawn_how(plain) == "temperature 1"
    cut = plain | {"top_k": 40, "top_p": 0.95, "best_of": 4, "select": "a.py:f"}
    assert drawn_how(cut) == (
        "temperature 1, top_k 40, top_p 0.95; the policy's are the best of 4 under a.py:f"
    )


def test_best_of_several_answers_is_chosen_by_one_and_judged_by_another(folders, rows):
    def a_count(prompts, answers):
        return [answer.count("a") for answer in answers]

    how = {"data": rows, "reference": folders[1], "reward": world.gold, "samples": 2, **FAST}
    many = evaluate(folders[0], **{**how, "samples": 8})
    best = evaluate(folders[0], best_of=4, select=a_count, **how)
    for plain, kept in zip(many.texts, best.texts, strict=True):  # the same draws, four to a choice
        chosen = [max(plain["policy"][i : i + 4], key=lambda text: text.count("a")) for i in (0, 4)]
        assert kept["policy"] == chosen
        assert kept["policy_reward"] == pytest.approx(world.gold([kept["prompt"]] * 2, chosen))
        assert len(kept["opponent"]) == 2
    assert best.settings["best_of"] == 4
    assert best.settings["select"].endswith("a_count")
    assert best.all.kl == many.all.kl  # of the policy itself
    assert (
        evaluate(
            folders[0], best_of=4, select=a_count, **{**how, "prompts": 0, "reward": None}
        ).texts
        == []
    )
    with pytest.raises(OptionError, match="hint: --select"):
        evaluate(folders[0], best_of=4, **how)
    with pytest.raises(OptionError, match="hint: --best-of"):
        evaluate(folders[0], select=a_count, **how)


def test_contests_between_names_are_refused_and_beside_texts_set_aside(folders, rows, tmp_path):
    path = tmp_path / "games.csv"
    path.write_text("winner,loser\nann,bob\nbob,cid\n")
    with pytest.raises(
        NeedError,
        match=(
            r"an evaluation reads texts; the rows say who beat whom, by name, first "
            r".*games.csv:2"
        ),
    ):
        evaluate(folders[0], data=path, prompts=0, **FAST)
    mixed = Dataset.of([*rows, *read(path)])
    found = evaluate(folders[0], data=mixed, prompts=0, **FAST)
    assert found.data["comparisons"] == len(rows)
    assert "skipped 2: matches between names, without texts" in found.notes


def test_a_model_that_gives_nan_is_an_error_and_not_fewer_rows(folders, rows, monkeypatch):
    from holdfast.evaluation import rows as module

    scored = module.score_in_chunks

    def broken(*given, **named):
        found = [dict(row) for row in scored(*given, **named)]
        found[3]["rejected"] = found[3]["rejected"] * float("nan")
        return found

    monkeypatch.setattr(module, "score_in_chunks", broken)
    with pytest.raises(ModelError, match="1 of 8 comparisons have no finite log-probability"):
        evaluate(folders[0], data=rows, reference=folders[1], prompts=0, **FAST)
