"""What ``wganbench list`` prints, and where the words about settings come from."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from wganbench.cli.app import main
from wganbench.cli.loss_page import loss_page, setting_of
from wganbench.config import compose
from wganbench.config.settings import SECTIONS, comments, settings
from wganbench.losses import RECIPES, WASSERSTEIN, Recipe
from wganbench.losses.constraints import TERMS
from wganbench.presets import GROUPS as CHOICES
from wganbench.presets import all_keys, conf_directory, directories, preset_names
from wganbench.tags.lookup import TAGS
from wganbench.tuning.command import parse


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["list", *arguments]) == 0
    return capsys.readouterr().out


def test_every_setting_is_listed_once_and_explained() -> None:
    rows = {group: settings(group) for group in SECTIONS if group != "launcher"}
    keys = [row.key for own in rows.values() for row in own]
    names = {f"{group}.{word}" for group in CHOICES for word in ("name", "kind")}
    assert sorted(keys) == sorted(set(all_keys(directories())) - names - set(CHOICES))
    every = [row for group in SECTIONS for row in settings(group)]
    assert [row for row in every if not (row.meaning and row.default and row.range)] == []


def test_a_default_names_the_choices_that_have_it() -> None:
    rows = {row.key: row for group in ("loss", "train", "network") for row in settings(group)}
    assert rows["loss.clip_value"].default == "0.01 (clip)"
    assert rows["loss.gp_lambda"].default == "10 (gp, bce_gp, dragan, gp0, lp)"
    assert "5e-05 (clip)" in rows["train.critic_lr"].default
    assert rows["network.latent"].default == "normal"
    assert rows["train.steps"].range.startswith("whole number, 1 to ")


def test_comments_are_read_by_key_and_continued(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    lines = ["# Head.", "a: 1  # first", "b:", "  c: 2   # second", "         # goes on"]
    file.write_text("\n".join([*lines, "  d: x#y", "# later", "e: 3", ""]))
    assert comments(file, "g.") == {"g.a": "first", "g.b.c": "second goes on"}


def test_lists_of_settings_studies_and_tuned(capsys: pytest.CaptureFixture[str]) -> None:
    train = listed(capsys, "settings", "train")
    assert "train.critic_lr  |  the critic's learning rate  |  default: 0.0001" in train
    assert "loss.gp_lambda" not in train and "loss.gp_lambda" in listed(capsys, "settings")
    studies = [line.split()[0] for line in listed(capsys, "studies").splitlines()[1:]]
    assert studies == preset_names("study")
    tuned = listed(capsys, "tuned").splitlines()
    (clip,) = [line for line in tuned if line.startswith("  tuned=clip-ring8 ")]
    assert "loss.clip_value=1.25" in clip and "--trials" not in clip
    short = listed(capsys)
    assert "dirac" in short and "clip-ring8" not in short and "list settings [GROUP]" in short


def test_the_users_own_files_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "heart.yaml").write_text("# A heart. Source: ours.\nkind: heart\n")
    assert "data=heart" not in listed(capsys, "data")
    own = listed(capsys, "data", "--config-dir", str(tmp_path))
    assert "  data=heart  |  A heart.  |  ours." in own and "data=ring8" in own
    for words in (["nothing"], ["settings", "nothing"], ["data", "train"], ["--config-dir=no"]):
        assert main(["list", *words]) == 2
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("what", ["losses", "tuned"])
def test_a_pipe_among_the_users_files_is_refused(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for group in ("loss", "tuned"):
        (tmp_path / group).mkdir()
        os.mkfifo(tmp_path / group / "mine.yaml")
    assert main(["list", what, "--config-dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "mine.yaml is not a regular file" in error and error.count("\n") == 1


def test_settings_of_the_users_own_files_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "# @package _global_\nloss:\n  name: mine\n  my_lambda: 3.0  # how much\n"
    text += "train:\n  critic_lr: 0.125\n"
    for folder in (tmp_path / "own", tmp_path / "conf"):
        (folder / "loss").mkdir(parents=True)
        (folder / "loss" / "mine.yaml").write_text(text)
    assert "my_lambda" not in listed(capsys, "settings", "loss")
    for words in (["--config-dir", str(tmp_path / "own")], [f"plugins={tmp_path / 'mine.py'}"]):
        (tmp_path / "mine.py").touch()
        monkeypatch.setenv("WGANBENCH_PLUGINS", "")
        own = listed(capsys, "settings", "loss", *words)
        row = "loss.my_lambda  |  how much  |  default: 3 (mine)  |  accepts: number, -1e30 to 1e30"
        assert row in own
        assert "loss.gp_lambda" in own
        assert "0.125 (mine)" in listed(capsys, "settings", "train", *words)


def test_the_keys_of_searches_and_speedruns_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    tune = listed(capsys, "settings", "tune")
    assert "trials  |  settings drawn for each loss  |  default: 64  |  accepts: whole" in tune
    speedrun = listed(capsys, "settings", "speedrun")
    assert "seeds  |  runs of each loss  |  default: 20" in speedrun and "trials" not in speedrun
    assert (parse([]).trials, parse([]).fresh, parse([]).folder.name) == (64, 5, "tune-ring8")
    assert parse(["name=DATA"]).folder.name == "DATA"
    assert main(["list", "settings", "tun"]) == 2
    assert "did you mean 'tune'" in capsys.readouterr().err


def test_ranges_that_are_checked_elsewhere_are_named_too() -> None:
    rows = {row.key: row for group in ("loss", "train") for row in settings(group)}
    assert rows["loss.penalties"].range == "list of gp, lp, gp0, r1, r2, dragan or div"
    assert rows["train.betas"].range == "2 numbers, at least 0, below 1"


def test_a_terminal_of_80_columns_is_not_overrun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    for words in (["experiments"], ["metrics"], ["settings", "train"], ["tuned"]):
        lines = re.sub("\x1b[^m]*m", "", listed(capsys, *words)).splitlines()
        assert 70 <= max(len(line) for line in lines) <= 80
        # Explanations have more than half of the width.
        starts = [len(line) - len(line.lstrip()) for line in lines if line.startswith("  ")]
        assert 0 < max(starts) < 40


def test_a_loss_has_a_page_made_from_its_row(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = listed(capsys, "losses", "gp")
    assert "critic minimises  |  E f - E r + gp_lambda E (|grad D(x_hat)| - 1)^2" in page
    assert "critic -1, generator -0.25" in page
    # (5 - 1)^2 times lambda 10.
    assert "at the paper's settings 160" in page
    assert "loss.n_critic=5 loss.gp_lambda=10" in page and "tuned=gp-ring8  |  loss." in page
    assert "constraint on the critic  |  none" in listed(capsys, "losses", "hinge")
    paired = listed(capsys, "losses", "rpgan_r1r2")
    assert "E softplus(-(r - f)) [pairs i-i] + r1_gamma/2 E |grad D(x)|^2 + r2_gamma/2" in paired
    assert "E |grad D(x_hat)|^div_p" in listed(capsys, "losses", "wgan_div")
    assert "is divided by its largest" in listed(capsys, "losses", "hinge_sn")
    assert "clipped to [-clip_value" in listed(capsys, "losses", "clip")
    assert main(["list", "losses", "hing"]) == 2
    told = capsys.readouterr().err
    assert "hinge" in told and told.count("\n") == 1


def test_golden_values_are_those_of_the_wrapped_critic(capsys: pytest.CaptureFixture[str]) -> None:
    """D = 3 x1 + 4 x2 has slope 5: scores s become s / 5, or s / (5 + |s|)."""

    def hinge(real: list[float], fake: list[float]) -> str:
        critic = sum(max(0, 1 - r) / 2 for r in real) + sum(max(0, 1 + f) / 2 for f in fake)
        return f": critic {critic:.6g}, generator {-sum(fake) / 2:.6g}"

    plain, spectral, gradient = (
        next(line for line in listed(capsys, "losses", name).splitlines() if "golden" in line)
        for name in ("hinge", "hinge_sn", "hinge_gn")
    )
    assert plain.endswith(hinge([0.5, 2.0], [-0.5, 1.0])) and "become" not in plain
    assert spectral.endswith(
        "become r = (0.1, 0.4), f = (-0.1, 0.2)" + hinge([0.1, 0.4], [-0.1, 0.2])
    )
    assert gradient.endswith(hinge([1 / 11, 2 / 7], [-1 / 11, 1 / 6]))
    assert "become r = (0.0909091, 0.285714), f = (-0.0909091, 0.166667)" in gradient


def test_a_function_of_ones_own_is_named_in_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def penalty(critic: Any, x: Any, x_fake: Any, eps: Any, coefficients: Any) -> Any:
        return critic(x).square().mean()

    own = Recipe(
        "mine", "me", WASSERSTEIN, penalties=(penalty, TERMS["r1"]), coefficients=("r1_gamma",)
    )
    monkeypatch.setitem(RECIPES._rows, "packs", own)
    page = dict(loss_page("packs"))
    assert page["critic minimises"].startswith("E f - E r + penalty(...) + r1_gamma/2 E")
    constraint = (
        "a penalty by its own function, penalty(...); a penalty, r1_gamma/2 E |grad D(x)|^2"
    )
    assert page["constraint on the critic"] == constraint
    assert setting_of("packs") is None, "a loss of this name is one"


def test_names_that_are_no_loss_lead_to_a_setting(capsys: pytest.CaptureFixture[str]) -> None:
    for name, key in (
        ("packing", "loss.packing"), ("PacGAN", "loss.packing"), ("unrolled", "loss.unrolled"),
        ("optimistic_adam", "train.optimizer"), ("ogda", "train.optimizer"),
    ):  # fmt: skip
        title, row = listed(capsys, "losses", name).splitlines()
        assert title.endswith("with every loss") and row.startswith(f"  {key}  |  ")
    everything = listed(capsys, "losses")
    for words in ("loss.packing=2", "loss.unrolled=5", "train.optimizer=optimistic_adam"):
        assert words in everything.splitlines()[-1]
        compose(["loss=bce", words])
    assert "with every loss" not in listed(capsys, "data")


def test_a_tag_has_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    page = listed(capsys, "metrics", "modes/kl")
    row = TAGS["modes/kl"]
    for text in (row.meaning, row.formula, row.caveat, row.source, "nat", "lower"):
        assert text in page
    assert row.caveat in listed(capsys, "metrics", "averaged/modes/kl")
    assert "layer i" in listed(capsys, "metrics", "grad_norm/critic_layer_3")
    group = listed(capsys, "metrics", "energy").splitlines()
    assert [line.split()[0] for line in group[1:]] == [t for t in TAGS if t.startswith("energy/")]
    assert main(["list", "metrics", "modes/cov"]) == 2
    assert "did you mean 'modes/covered'" in capsys.readouterr().err


def test_a_range_names_the_kinds_where_they_differ() -> None:
    (row,) = [one for one in settings("data") if one.key == "data.centres"]
    assert "-2.5 to 2.5, or null (funnels)" in row.range and "(mixture)" in row.range


def test_a_loss_s_yaml_under_another_name_has_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loss").mkdir()
    text = (conf_directory() / "loss" / "gp.yaml").read_text()
    (tmp_path / "loss" / "mygp.yaml").write_text(text)
    assert "gp_lambda" in listed(capsys, "losses", "mygp", "--config-dir", str(tmp_path))


@pytest.mark.parametrize(
    ("typed", "ours"), [("wgan-gp", "gp"), ("GP", "gp"), ("r1", "bce_r1"), ("R3GAN", "rpgan_r1r2")]
)
def test_common_names_lead_to_a_loss_s_page(
    typed: str, ours: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page = listed(capsys, "losses", typed)
    assert page == listed(capsys, "losses", ours) and page.startswith(f"loss={ours}\n")
