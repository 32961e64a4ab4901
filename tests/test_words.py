"""What people type: names they know, seeds, file names, flags; and that it means one thing."""

from __future__ import annotations

import shlex
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wganbench import registry
from wganbench.cli import app
from wganbench.cli.app import main
from wganbench.config import ConfigError, compose, run_id
from wganbench.config.overrides import parse_arguments, read_override, translate
from wganbench.config.synonyms import VALUES, canonical, plain
from wganbench.data.table_text import columns_word
from wganbench.presets import choices, directories
from wganbench.registry import Registry

WHERE = directories()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(*typed: str, several: bool = False) -> list[str]:
    return translate(typed, several, WHERE).overrides


def told(capsys: pytest.CaptureFixture[str], command: str) -> str:
    """The one line of a command that is refused."""
    assert main(shlex.split(command)) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and len(line) < 500, line
    return line


# Names people know.


def test_every_synonym_leads_to_a_choice_and_hides_none() -> None:
    for group, names in VALUES.items():
        known = choices(group, WHERE)
        for name, ours in names.items():
            assert plain(name) == name and ours in known
            assert name not in [plain(choice) for choice in known], "what exists is what it says"
        for choice in known:
            assert canonical(group, choice, known) == choice


@pytest.mark.parametrize(
    ("typed", "ours"),
    [
        ("loss=wgan-gp", "loss=gp"),
        ("loss=WGAN_GP", "loss=gp"),
        ("loss=GP", "loss=gp"),
        ("loss=WGAN", "loss=clip"),
        ("loss=vanilla", "loss=bce"),
        ("loss=dcgan,wgan,WGAN-GP", "loss=bce,clip,gp"),
        ("loss=r1", "loss=bce_r1"),
        ("loss=R3GAN", "loss=rpgan_r1r2"),
        ("loss=SN-GAN", "loss=hinge_sn"),
        ("loss=gn-gan", "loss=hinge_gn"),
        ("loss=wasserstein", "loss=wasserstein"),
        ("loss=hinge", "loss=hinge"),
        ("data=MNIST", "data=mnist"),
        ("data=8gaussians", "data=ring8"),
        ("data=25Gaussians", "data=grid25"),
        ("data=swissroll", "data=swiss_roll"),
        ("data=CIFAR-10", "data=cifar10"),
        ("network=ResNet", "network=resnet32"),
        ("tuned=paper", "tuned=none"),
        ("tuned=null", "tuned=none"),
        ("~tuned", "tuned=none"),
    ],
)
def test_names_people_know(typed: str, ours: str) -> None:
    assert words(typed) == [ours] == words(ours)


def test_the_configuration_is_that_of_our_name() -> None:
    theirs, ours = compose(["loss=WGAN-GP", "tuned=paper"]), compose(["loss=gp", "tuned=none"])
    assert theirs == ours and run_id(theirs) == run_id(ours)


def test_a_name_of_the_users_own_is_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "wgan.yaml").write_text("# mine\n")
    assert translate(["loss=wgan"], False, directories(tmp_path)).overrides == ["loss=wgan"]


def test_an_accepted_name_is_said_in_a_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "loss=wgan-gp", "--cfg", "job", "-p", "loss"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "wganbench: loss=wgan-gp is loss=gp here\n"
    assert "name: gp" in captured.out
    assert main(["train", "loss=GP", "--cfg", "job"]) == 0
    assert capsys.readouterr().err == ""


# Seeds.


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("seeds=5", "seed=range(0,5)"),
        ("seed=0..4", "seed=range(0,5)"),
        ("seed=3..3", "seed=range(3,4)"),
        ("seeds=1,4", "seed=1,4"),
        ("seeds=[1,4]", "seed=1,4"),
        ("seed=range(2,4)", "seed=range(2,4)"),
    ],
)
def test_seeds_of_a_sweep(typed: str, meant: str) -> None:
    assert words(typed, several=True) == [meant]


def test_seeds_are_for_sweeps(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "wganbench sweep 'seed=range(0,5)'" in told(capsys, "train seeds=5")
    assert "seeds=3,7" in told(capsys, "sweep seeds=many")
    for verb in ("train", "sweep"):
        assert "seed=3..5 is 3 to 5" in (error := told(capsys, f"{verb} seed=5..3"))
        assert "range(" not in error
        assert "seeds=0 is no seed" in told(capsys, f"{verb} seeds=0")


# Names of files.

NAMES = [
    "cloud (1).csv", "seed=0.csv", "josé.csv", "日本.csv", "a,b.csv", "[v1].csv", "{b}.csv",
    "~x.csv", "a#b.csv", "a&b.csv", "a'b.csv", 'a"b.csv', "a;b.csv", "a!b.csv", "1e5", "a b.csv",
    "a=(1,2].csv", "'.csv", "range(3)", "a:b.csv", "a\\'b.csv",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_ordinary_names_of_files(name: str, here: Path) -> None:
    (here / "x").mkdir()
    path = f"x/{name}"
    override = f"data.path={path}"
    for several in (False, True):
        Path(path).touch()
        (word,) = words(override, several=several)
        assert words(word, several=several) == [word], "understanding twice changes nothing"
        parsed = parse_arguments([word], several=several)
        (value,) = [read_override(text).value() for text in parsed.overrides]
        assert value == path


def test_a_run_on_such_a_file_and_what_is_stored_repeats_it(here: Path) -> None:
    np.save("a,b (1)=ü.npy", np.random.default_rng(0).normal(size=(600, 2)))
    typed = ["data=points", "data.path=a,b (1)=ü.npy", "output_dir=größe", "name=a=b"]
    config = compose(typed)
    assert config.data.options["path"] == "a,b (1)=ü.npy"
    assert (config.output_dir, config.name) == ("größe", "a=b")
    assert compose(words(*typed)) == config


def test_a_comma_in_a_sweep_is_part_of_a_name_where_there_is_such_a_file(here: Path) -> None:
    assert words("data.path=a.csv,b.csv", several=True) == ["data.path=a.csv,b.csv"]
    Path("a.csv,b.csv").touch()
    assert words("data.path=a.csv,b.csv", several=True) == ["data.path='a.csv,b.csv'"]
    both = words("data.path=a (1).csv,b (1).csv", several=True)
    assert both == ["data.path='a (1).csv','b (1).csv'"]
    assert words("data.path=a.csv,b.csv") == ["data.path='a.csv,b.csv'"]


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("[x (m),y]", ["x (m)", "y"]),
        ("[größe,2019]", ["größe", 2019]),
        ("[1e5, 0.10,null,True]", ["1e5", "0.10", "null", "True"]),
        ("[x [m],y [m]]", ["x [m]", "y [m]"]),
        ("['x (m)',\"a,b\"]", ["x (m)", "a,b"]),
        ('[a=b, "a,b" , Bob\'s]', ["a=b", "a,b", "Bob's"]),
        ("[x,y]", ["x", "y"]),
    ],
)
def test_ordinary_names_of_columns(typed: str, names: list[str | int]) -> None:
    for several in (False, True):
        (word,) = words(f"data.columns={typed}", several=several)
        assert words(word, several=several) == [word], "understanding twice changes nothing"
        assert read_override(word).value() == names


def test_columns_that_are_swept_over_and_what_is_no_list() -> None:
    (word,) = words("data.columns=[x (m)],[y (m),z]", several=True)
    assert word == "data.columns=['x (m)'],['y (m)',z]"
    with pytest.raises(ConfigError, match="asks for several runs"):
        parse_arguments(["data.columns=[x (m)],[z]"])
    assert words("++data.columns=[x (m),y]") == ["++data.columns=['x (m)',y]"]
    assert words("data.columns=x (m)") == ["data.columns='x (m)'"], "the schema refuses it"


def test_the_columns_that_a_message_names_can_be_pasted() -> None:
    names = ["x (m)", "größe", 'a,"b"', "[v]", "1e5", 'a\\"b', "end\\", "null"]
    shell = shlex.split(columns_word(names))
    (word,) = words(*shell)
    assert read_override(word).value() == names


def test_an_empty_path_and_no_columns_are_refused(here: Path) -> None:
    np.save("a.npy", np.random.default_rng(0).normal(size=(600, 2)))
    for kind in ("points", "image_folder"):
        with pytest.raises(ConfigError, match=r"^data\.path is empty"):
            compose([f"data={kind}", "data.path="])
    with pytest.raises(ConfigError, match=r"^data\.columns is empty; null takes all"):
        compose(["data=points", "data.path=a.npy", "data.columns=[]"])


def test_what_is_quoted_or_a_number_stays(here: Path) -> None:
    for word in ("data.path='a (1).csv'", "name=2024", "seed=3", "train.betas=[0.5,0.9]",
                 "name=${data.name}", "train.critic_lr=1e-4", "hydra.run.dir='a b'"):  # fmt: skip
        assert words(word) == [word]


# Flags.


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("train -precision=bf16", "did you mean precision=bf16?"),
        ("train seed=1 -precision=bf16", "did you mean precision=bf16?"),
        ("sweep -width=8", "did you mean network.width=8?"),
        ("study dirac -seeds=3", "no flag"),
        ("train -p loss", "--cfg"),
        ("train --experimental-rerun x", "pickled"),
        ("train --exp x", "no flag"),
        ("train --seed 3", "did you mean seed=3?"),
        ("train --lr 1e-4", "train.critic_lr=1e-4 train.generator_lr=1e-4"),
        ("train --batch-size 8", "train.batch_size=8"),
        ("sweep seed=0,1 --cfg job", "wganbench train ... --cfg"),
        ("train ~seed", "cannot be removed"),
        ("train ~sed", "did you mean seed"),
        ("train +foo=1", "unknown key foo; wganbench train --cfg job"),
        ("train +seed=1", "+seed: there is a seed already: write seed=..."),
        ("train loss=null", "loss is chosen by a name"),
        ("train loss=[nan]", "loss is chosen by a name"),
        ("sweep loss=null,gp", "loss is chosen by a name"),
        ("sweep +loss@x.x=[1],2", "loss is chosen by a name"),
        ("train 'seed=${'", "no end"),
        ("train 'seed=${nope}'", "seed: ${nope} stands for another key's value"),
        ("train 'name=???'", "name"),
        ("train name=.x", "spaces"),
        (f"train seed={'9' * 5000}", "longer than 4096"),
        (f"train seed={'9' * 4000}", "seed must be at most"),
        (f"train seed={'[' * 5000}", "nested too deeply"),
        (f"train name={'a' * 99_000}", "20000 are the most"),
        (f"train seed={'a' * 4000}", "seed must be a whole number"),
        (f"train loss={'a' * 4000}", "unknown loss"),
        (f"resume {'a' * 300}", "too long"),
        (f"compare {'a' * 300}", "aaa"),
        (f"train name={'a' * 256}", "too long"),
        ("list metrics -n 3", "-n"),
    ],
    ids=lambda text: text[:40],
)
def test_refused_in_our_words(
    command: str, said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = told(capsys, command)
    assert said in line, line
    for word in ("nterpolation", "NoneType", "hydra.run.dir", "Config group", "TypeError"):
        assert word not in line
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("verb", ["", "train", "sweep", "compare", "doctor", "study", "list"])
def test_h_is_help_and_ours(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for flag in ("-h", "--help"):
        assert main([*verb.split(), flag]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1] and "Hydra is" not in told[0] and "Usage" in told[0]


def test_words_after_a_flag(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("conf").mkdir()
    for command in (
        "train --config-dir conf --overwrite --cfg job",
        "train --overwrite --config-dir conf --cfg job seed=0",
        "train --cfg job loss=gp -p overwrite --overwrite",
    ):
        assert main(command.split()) == 0
        assert "true" in capsys.readouterr().out.lower()
    parsed = parse_arguments(["--cfg", "job", "loss=clip", "--config-dir", "conf", "seed=1"])
    assert parsed.overrides == ["loss=clip", "seed=1"]
    assert parsed.command[2:] == ["--cfg", "job", "--config-dir", "conf"]


def test_nul_and_what_the_system_refuses(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", "a\0b"]) == 2 and "NUL" in capsys.readouterr().err
    assert main(["train", "name=a\0b"]) == 2 and "NUL" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="NUL"):
        compose(["name=a\0b"])


def test_memory_that_runs_out_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: ...")):

        def fails(*_: Any, error: BaseException = error, **__: Any) -> None:
            raise error

        monkeypatch.setattr(app, "app", fails)
        assert main(["list"]) == 3
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and "train.batch_size" in line


def test_an_empty_experiment_is_none() -> None:
    assert words("experiment=clip_sweep", "seed=1", "experiment=null") == ["seed=1"]
    assert words("experiment=none", "~experiment") == []


# Other people's packages.


def test_a_plugin_that_fails_is_named_at_every_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("mine", "no_such_module:add", "wganbench.things")]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    monkeypatch.setattr(registry, "_waiting", {})
    things: Registry[int] = Registry("things")
    things.register("one", 1)
    assert things["one"] == 1
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"mine = no_such_module:add.*ModuleNotFound"):
            things["two"]
        with pytest.raises(ConfigError, match=r"wganbench\.things"):
            list(things)
    monkeypatch.setattr(EntryPoint, "load", lambda self: lambda: things.register("two", 2))
    assert things["two"] == 2 and list(things) == ["one", "two"]


def test_the_sweep_of_an_experiment_is_not_left_out_silently() -> None:
    (note,) = parse_arguments(["experiment=clip_sweep"]).notes
    assert "sweeps over loss.clip_value, seed, train does one run" in note
    assert not parse_arguments(["experiment=clip_sweep"], several=True).notes
    assert not parse_arguments(["experiment=arm_gp"]).notes
    with pytest.raises(ConfigError, match="experiment=clip_sweep has a sweep of its own"):
        parse_arguments(["experiment=arm_gp,clip_sweep"], several=True)
    assert parse_arguments(["experiment=arm_gp,arm_clip"], several=True).overrides
