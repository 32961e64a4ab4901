"""Folders of images as they are downloaded: which files count, and what is said of the rest."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from data_files import save_picture
from PIL import Image
from torchvision.datasets import ImageFolder

from wganbench.data import contents, load
from wganbench.data.contents import ENDINGS, contents_digest, find_images
from wganbench.data.image_files import load_folder
from wganbench.data.images import Images


def fill(folder: Path, *names: str) -> Path:
    """Images under these names, each of another colour."""
    for i, name in enumerate(names):
        save_picture(folder / name, np.full((4, 4, 3), 10 * i % 250))
    return folder


def classes(folder: Path, *names: str, n: int = 4) -> Path:
    return fill(folder, *(f"{name}/{i}.png" for name in names for i in range(n)))


def images(folder: Path) -> Images:
    target = load("image_folder", path=str(folder), size=None, held_out_share=0.5)
    assert isinstance(target, Images)
    return target


def test_classes_are_those_of_torchvision(tmp_path: Path) -> None:
    folder = classes(tmp_path / "set", "b", "a", "C")
    fill(folder, "a/deep/er/x.jpg")
    (folder / "linked").symlink_to(classes(tmp_path / "elsewhere", "x") / "x")
    (folder / "a" / "round").symlink_to(folder)
    found, theirs = find_images(folder), ImageFolder(str(folder), is_valid_file=is_real(folder))
    assert sorted(set(found.classes)) == theirs.classes == ["C", "a", "b", "linked"]
    ours = [(str(f), c) for f, c in zip(found.files, found.classes, strict=True)]
    assert sorted(ours) == sorted((f, theirs.classes[c]) for f, c in theirs.samples)
    assert found.notes == ("17 images, 4 classes: C 4, a 5, b 4, linked 4",)
    assert images(folder).class_names == ("C", "a", "b", "linked")


@pytest.mark.parametrize(("link", "to"), [("alias", "cat"), ("zebra", "cat")])
def test_a_class_folder_that_is_reached_twice_is_named(tmp_path: Path, link: str, to: str) -> None:
    folder = classes(tmp_path, "cat", "dog")
    (folder / link).symlink_to(folder / to)
    with pytest.raises(
        ValueError, match=rf"^data\.path: .*/{link}' .*reached twice by a link"
    ) as told:
        find_images(folder)
    assert f"/{to}'" in str(told.value)


def is_real(folder: Path):  # type: ignore[no-untyped-def]
    """Torchvision goes round a loop of links once: its second sight of a file does not count."""
    return lambda path: "round" not in Path(path).parts and Path(path).suffix in ENDINGS


def test_hidden_and_other_files_do_not_count(tmp_path: Path) -> None:
    folder = classes(tmp_path, "cat", "dog")
    before = contents_digest({"path": str(folder)})
    for name in (
        ".DS_Store",
        "cat/.DS_Store",
        "cat/._0.png",
        "cat/notes.txt",
        "x.HEIC",
        ".git/a.png",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    os.mkfifo(folder / "cat" / "pipe.png")
    (folder / "cat" / "gone.png").symlink_to("nowhere")
    assert contents_digest({"path": str(folder)}) == before is not None
    told = find_images(folder).notes[0]
    assert told == (
        "8 images, 2 classes: cat 4, dog 4; passed over 3 other files "
        "(.heic 1, .txt 1, broken link 1)"
    )
    fill(folder, "cat/new.png")
    assert contents_digest({"path": str(folder)}) != before
    # Data of other kinds than images count with every visible file.
    one = contents_digest({"path": str(folder)}, "mine")
    (folder / "cat" / "notes.txt").write_bytes(b"y, longer")
    assert contents_digest({"path": str(folder)}, "mine") != one


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    folder = classes(tmp_path, odd, "plain")
    fill(folder, f"plain/{odd}.png")
    assert contents_digest({"path": str(folder)}) is not None
    assert images(folder).class_names == (r"caf\xe9", "plain")
    assert r"caf\xe9 4" in find_images(folder).notes[0]
    (folder / "plain" / f"{odd}.gif").write_bytes(b"none")
    with pytest.raises(ValueError, match=r"caf\\xe9\.gif \(no image\)") as caught:
        load_folder(str(folder), None, 3, 0.5, 0)
    str(caught.value).encode()


@pytest.mark.parametrize("ending", [".gif", ".jfif", ".jp2", ".avif", ".tga", ".JPE"])
def test_what_pillow_reads_is_read(tmp_path: Path, ending: str) -> None:
    folder = classes(tmp_path, "a", n=3)
    form = {".jfif": "JPEG", ".jpe": "JPEG", ".jp2": "JPEG2000"}.get(ending.lower())
    try:
        Image.new("RGB", (4, 4), "red").save(folder / "a" / f"x{ending}", form)
    except (KeyError, OSError, ValueError):
        pytest.skip("this Pillow cannot write it")
    target = images(folder)
    assert len(target.images) + len(target.held_out_images) == 4


def test_images_that_are_added_are_read(tmp_path: Path) -> None:
    folder = classes(tmp_path, "a", n=4)
    before = load_folder(str(folder), None, 3, 0.5, 0)
    assert load_folder(str(folder), None, 3, 0.5, 0) is before
    Image.new("RGB", (4, 4), "red").save(folder / "a" / "one-more.png")
    after = load_folder(str(folder), None, 3, 0.5, 0)
    assert len(after.images) + len(after.held_out_images) == 5


def test_every_ending_is_known_to_pillow() -> None:
    Image.init()
    optional = {".avif", ".apng"}
    assert set(ENDINGS) - optional <= set(Image.registered_extensions()) | {".jpx", ".j2k"}


def test_a_folder_around_the_classes_is_gone_through(tmp_path: Path) -> None:
    folder = classes(tmp_path / "a", "unzipped/data/cat", "unzipped/data/dog")
    (folder / "unzipped" / "__MACOSX").mkdir()
    (folder / "unzipped" / "docs").mkdir()
    found = find_images(folder)
    assert set(found.classes) == {"cat", "dog"}
    assert found.notes[1] == f"the class folders lie in {folder / 'unzipped' / 'data'}"
    alone = find_images(classes(tmp_path / "b", "only"))
    assert set(alone.classes) == {""} and alone.notes[0] == "4 images without classes"
    assert alone.notes[1:] == (f"the images lie in {tmp_path / 'b' / 'only'}",)


@pytest.mark.parametrize(
    "parts",
    [
        ("train", "test"),
        ("Train", "val", "test"),
        ("test", "valid"),
        ("training_set", "test_set"),
        ("seg_train", "seg_test", "seg_dev"),
        ("train2017", "val2017"),
        ("TrainImages", "testset"),
    ],
)
@pytest.mark.parametrize("below", ["cat", "."])
def test_parts_of_a_set_are_no_classes(tmp_path: Path, parts: tuple[str, ...], below: str) -> None:
    folder = classes(tmp_path / "set", *(f"{part}/{below}" for part in parts))
    with pytest.raises(ValueError, match=r"data\.path: .* parts of one set.*data\.path=") as caught:
        find_images(folder)
    wanted = parts[0]
    assert str(caught.value).endswith(str(folder / wanted))


@pytest.mark.parametrize(
    "names",
    [("train", "tram"), ("test_a", "test_b"), ("contest", "protrain"), ("test", "cat", "trained")],
)
def test_classes_whose_names_are_alike_are_no_parts(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert set(find_images(classes(tmp_path, *names)).classes) == set(names)


def test_classes_that_hold_the_same_folders_are_warned_of(tmp_path: Path) -> None:
    folds = classes(tmp_path / "a", *(f"fold{i}/{name}" for i in (1, 2) for name in ("cat", "dog")))
    warning = find_images(folds).notes[-1]
    assert warning == (
        "warning: all classes hold the same folders (cat, dog); if these are the classes, give "
        f"data.path={folds / 'fold1'}"
    )
    many = classes(tmp_path / "many", *(f"{fold}/{k}" for fold in "ab" for k in range(6)))
    assert "the same folders (0, 1, 2, 3, 4, ...); if" in find_images(many).notes[-1]
    for names in (("a/x", "b/y"), ("a/x", "b/x"), ("a", "b"), ("a/x", "a/y", "b/x", "b/y", "b"),
                  ("a/x", "a/y", "b/x", "b/z")):  # fmt: skip
        folder = classes(tmp_path / "-".join(names).replace("/", "_"), *names)
        assert not any("warning" in note for note in find_images(folder).notes)


def test_a_broken_link_is_told_and_not_counted(tmp_path: Path) -> None:
    folder = classes(tmp_path, "cat", "dog")
    (folder / "cat" / "gone.png").symlink_to(tmp_path / "elsewhere.png")
    assert images(folder).notes == (
        "8 images, 2 classes: cat 4, dog 4; passed over 1 other file (broken link 1)",
    )
    digest = contents_digest({"path": str(folder)}, "another")
    (folder / "cat" / "gone.png").unlink()
    assert digest == contents_digest({"path": str(folder)}, "another")


def test_an_empty_class_folder_is_refused(tmp_path: Path) -> None:
    folder = classes(tmp_path, "cat", "dog")
    (folder / "emu").mkdir()
    (folder / "emu" / "one.heic").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"class folder '.*emu'; passed over 1 .*\.heic 1\): fill"):
        find_images(folder)
    (folder / "dog").rename(folder / ".dog")
    with pytest.raises(ValueError, match="class folder"):
        find_images(folder)


def test_a_folder_of_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "MOST_OTHERS", 20)
    folder = fill(tmp_path, "a/0.png", "b/1.png")
    for i in range(30):
        (folder / "a" / f"{i}.txt").touch()
    with pytest.raises(ValueError, match=r"data\.path.* over 20 files that are no images"):
        find_images(folder)
    assert contents_digest({"path": str(folder)}) is None


def test_many_classes_are_told_in_a_line(tmp_path: Path) -> None:
    told = find_images(classes(tmp_path, *(f"c{i:02}" for i in range(14)), n=1)).notes[0]
    assert "14 classes: c00 1, " in told and told.endswith("c09 1, 4 more")


def test_the_lines_come_with_the_target(tmp_path: Path) -> None:
    folder = classes(tmp_path, "a", "b")
    assert images(folder).notes == find_images(folder).notes
    options = {"path": str(folder), "size": None, "held_out_share": 0.5, "train_points": 2}
    assert load("image_folder", **options).notes == find_images(folder).notes
