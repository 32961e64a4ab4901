"""Images from files: the formats of published sets, folders, and whatever can be wrong."""

from __future__ import annotations

import gzip
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_files import COUNT, HELD_OUT, save_picture, write_cifar10, write_idx, write_mnist
from PIL import Image
from torch import Tensor
from torchvision.datasets import CIFAR10, FashionMNIST
from torchvision.datasets.mnist import read_image_file, read_label_file

from wganbench.data import contents, downloads, load
from wganbench.data.contents import contents_digest
from wganbench.data.image_files import read_idx
from wganbench.data.images import Images


def images(name: str, **options: Any) -> Images:
    target = load(name, **options)
    assert isinstance(target, Images)
    return target


@pytest.fixture(autouse=True)
def no_system_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with Debian's data sets must not answer for the test's own files."""
    monkeypatch.setattr(downloads, "SYSTEM", tmp_path / "system")
    return tmp_path / "system"


# IDX files.


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("mnist", "MNIST/raw"),
        ("mnist", "mnist"),
        ("fashion_mnist", "FashionMNIST/raw"),
        ("fashion_mnist", "fashion-mnist"),
    ],
)
def test_idx_sets_hold_what_their_files_hold(
    tmp_path: Path, name: str, place: str, suffix: str
) -> None:
    content = write_mnist(tmp_path / place, suffix)
    target = images(name, root=str(tmp_path))
    assert target.shape == (1, 28, 28) and target.class_count == 10
    for part, pictures, labels in (
        ("train", target.images, target.labels),
        ("t10k", target.held_out_images, target.held_out_labels),
    ):
        assert labels is not None
        assert np.array_equal(pictures[:, 0].numpy(), content[f"{part}-images-idx3"])
        assert np.array_equal(labels.numpy(), content[f"{part}-labels-idx1"])


def test_our_reader_agrees_with_torchvisions(tmp_path: Path) -> None:
    write_mnist(tmp_path, "")
    for stem, dimensions, theirs in (
        ("train-images-idx3-ubyte", 3, read_image_file),
        ("t10k-labels-idx1-ubyte", 1, read_label_file),
    ):
        ours = torch.from_numpy(read_idx(tmp_path / stem, dimensions))
        assert torch.equal(ours.long(), theirs(str(tmp_path / stem)).long())


def test_names_of_clothes_are_torchvisions() -> None:
    assert list(downloads.FASHION_MNIST.class_names) == FashionMNIST.classes


def test_debians_files_are_read_where_they_lie(no_system_files: Path, tmp_path: Path) -> None:
    system = write_mnist(no_system_files / "fashion-mnist")
    target = images("fashion_mnist", root=str(tmp_path / "empty"))
    assert np.array_equal(target.images[:, 0].numpy(), system["train-images-idx3"])
    # The user's own files come first, and MNIST is not taken for Fashion-MNIST.
    own = write_mnist(tmp_path / "own" / "FashionMNIST" / "raw", seed=1)
    target = images("fashion_mnist", root=str(tmp_path / "own"))
    assert np.array_equal(target.images[:, 0].numpy(), own["train-images-idx3"])
    with pytest.raises(ValueError, match=r"^mnist is not in"):
        load("mnist", root=str(tmp_path / "own"))


def broken(tmp_path: Path, suffix: str, file: str) -> Path:
    write_mnist(tmp_path / "MNIST" / "raw", suffix)
    return tmp_path / "MNIST" / "raw" / file


@pytest.mark.parametrize("keep", [0, 10, 20_000, -9])
def test_a_compressed_file_cut_short_is_named(tmp_path: Path, keep: int) -> None:
    file = broken(tmp_path, ".gz", "train-images-idx3-ubyte.gz")
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz is damaged") as caught:
        load("mnist", root=str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_flipped_bit_in_a_compressed_file_is_found(tmp_path: Path) -> None:
    file = broken(tmp_path, ".gz", "t10k-images-idx3-ubyte.gz")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte\.gz is damaged"):
        load("mnist", root=str(tmp_path))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c[:-1], f"holds {COUNT * 784 - 1} values, its head says {COUNT * 784}"),
        (lambda c: c + b"x", f"holds {COUNT * 784 + 1} values"),
        (lambda c: c[:7], "no IDX file of bytes in 3 dimensions"),
        (lambda c: b"<html>" + c, "no IDX file of bytes in 3 dimensions"),
        (lambda c: c[:2] + b"\x0d" + c[3:], "no IDX file of bytes in 3 dimensions"),
        (lambda c: c[:3] + b"\x01" + c[4:], "no IDX file of bytes in 3 dimensions"),
    ],
    ids=["short", "long", "head", "page", "floats", "labels"],
)
def test_a_plain_file_that_is_not_what_it_says_is_named(
    tmp_path: Path, change: Any, said: str
) -> None:
    file = broken(tmp_path, "", "train-images-idx3-ubyte")
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(ValueError, match=f"train-images-idx3-ubyte is damaged: .*{said}"):
        load("mnist", root=str(tmp_path))


def test_pictures_and_labels_must_fit(tmp_path: Path) -> None:
    place = tmp_path / "MNIST" / "raw"
    write_mnist(place)
    write_idx(place / "t10k-labels-idx1-ubyte.gz", np.zeros(HELD_OUT - 1))
    with pytest.raises(ValueError, match=f"holds {HELD_OUT} images, .* {HELD_OUT - 1} labels"):
        load("mnist", root=str(tmp_path))
    write_idx(place / "t10k-labels-idx1-ubyte.gz", np.full(HELD_OUT, 10))
    with pytest.raises(ValueError, match="t10k-labels.* a label is 10"):
        load("mnist", root=str(tmp_path))


def test_a_missing_file_is_a_missing_set(tmp_path: Path) -> None:
    broken(tmp_path, ".gz", "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ValueError, match=r"mnist is not in .*raw: data\.download=true"):
        load("mnist", root=str(tmp_path))
    with pytest.raises(ValueError, match="apt-get install dataset-fashion-mnist"):
        load("fashion_mnist", root=str(tmp_path))


def test_download_goes_through_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's own code runs; only the connection is replaced."""
    source = write_mnist(tmp_path / "server")
    asked: list[tuple[str, str]] = []

    def fetch(url: str, download_root: str, filename: str, md5: str) -> None:
        asked.append((url, md5))
        compressed = (tmp_path / "server" / filename).read_bytes()
        target = Path(download_root) / filename
        target.write_bytes(compressed)
        target.with_suffix("").write_bytes(gzip.decompress(compressed))

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", fetch)
    root = tmp_path / "new"
    target = images("fashion_mnist", root=str(root), download=True)
    assert np.array_equal(target.images[:, 0].numpy(), source["train-images-idx3"])
    assert len(asked) == 4 and all("fashion" in url for url, _ in asked)
    assert [md5 for _, md5 in asked] == [md5 for _, md5 in FashionMNIST.resources]
    # What is there is not fetched again.
    downloads.load_idx_set.cache_clear()
    images("fashion_mnist", root=str(root), download=True)
    assert len(asked) == 4


def test_a_download_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no\nnetwork")

    for module in ("mnist", "cifar"):
        path = f"torchvision.datasets.{module}.download_and_extract_archive"
        monkeypatch.setattr(path, refuse)
    for name in ("mnist", "stacked_mnist", "cifar10"):
        with pytest.raises(ValueError, match="could not be downloaded to .*no.*network") as caught:
            load(name, root=str(tmp_path / "new"), download=True)
        assert "\n" not in str(caught.value)


# CIFAR-10.


def test_cifar10_holds_what_its_files_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = write_cifar10(tmp_path, monkeypatch)
    target = images("cifar10", root=str(tmp_path))
    assert target.shape == (3, 32, 32) and target.class_names[3] == "class 3"
    # A row of the files is the red plane, then the green, then the blue, each row by row.
    assert np.array_equal(target.images.flatten(1).numpy(), rows[:COUNT])
    assert np.array_equal(target.held_out_images.flatten(1).numpy(), rows[COUNT:])
    assert target.labels is not None and target.held_out_labels is not None
    assert target.labels[:12].tolist() == [*range(10), 0, 1]
    assert len(target.held_out_labels) == HELD_OUT


def test_cifar10_with_a_changed_byte_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cifar10(tmp_path, monkeypatch)
    file = tmp_path / CIFAR10.base_folder / "data_batch_3"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match="data_batch_3 is damaged .*MD5"):
        load("cifar10", root=str(tmp_path))
    file.unlink()
    with pytest.raises(ValueError, match=r"\(data_batch_3 missing\): data\.download=true"):
        load("cifar10", root=str(tmp_path))


def test_cifar10_is_downloaded_by_torchvision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch(url: str, root: Path, filename: str, md5: str) -> None:
        asked.append((url, filename, md5))
        write_cifar10(Path(root), monkeypatch)

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", fetch)
    target = images("cifar10", root=str(tmp_path), download=True)
    assert len(target.images) == COUNT
    assert asked == [(CIFAR10.url, CIFAR10.filename, CIFAR10.tgz_md5)]


# A folder of one's own.


def folder_images(folder: Path, **options: Any) -> Images:
    return images("image_folder", path=str(folder), **({"size": None, "channels": 1} | options))


def grey(folder: Path, names: list[str], side: int = 4) -> None:
    """Images of one grey each, 0, 1, 2, ..., in the order of their names."""
    for level, name in enumerate(names):
        save_picture(folder / name, np.full((side, side), level))


def levels(pictures: Tensor) -> list[int]:
    return [int(picture.flatten()[0]) for picture in pictures]


def test_subfolders_are_classes(tmp_path: Path) -> None:
    names = [f"{name}/{i:02}.png" for name in ("cat", "dog/small", "emu") for i in range(10)]
    grey(tmp_path, names)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".cache").mkdir()
    save_picture(tmp_path / ".cache" / "x.png", np.zeros((9, 9)))
    target = folder_images(tmp_path)
    assert target.class_names == ("cat", "dog", "emu")
    assert len(target.images) == 24 and len(target.held_out_images) == 6
    assert target.labels is not None and target.held_out_labels is not None
    for pictures, labels in (
        (target.images, target.labels),
        (target.held_out_images, target.held_out_labels),
    ):
        assert [level // 10 for level in levels(pictures)] == labels.tolist()
    assert target.held_out_labels.bincount().tolist() == [2, 2, 2]


@pytest.mark.parametrize("under", ["", "all/"])
def test_a_flat_folder_has_no_classes(tmp_path: Path, under: str) -> None:
    grey(tmp_path, [f"{under}{i:02}.PNG" for i in range(20)])
    target = folder_images(tmp_path)
    assert target.class_names == () and target.labels is None and target.class_count == 0
    assert sorted(levels(target.images) + levels(target.held_out_images)) == list(range(20))


def test_the_order_of_a_folder_is_that_of_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever order the file system lists them in."""
    for folder, step in (("a", 1), ("b", -1)):
        for i in range(12)[::step]:
            save_picture(tmp_path / folder / f"{i:02}.png", np.full((2, 2), i))
    original = Path.rglob
    first = folder_images(tmp_path / "a").images
    monkeypatch.setattr(Path, "rglob", lambda *a: reversed(list(original(*a))))
    assert torch.equal(first, folder_images(tmp_path / "b").images)


def test_pictures_are_shrunk_and_cut_to_the_middle(tmp_path: Path) -> None:
    pixels = np.zeros((8, 16), dtype=np.uint8)
    pixels[:, 4:12] = 200  # the middle square
    for i in range(10):
        save_picture(tmp_path / f"{i}.png", pixels)
    small = folder_images(tmp_path, size=4)
    assert small.shape == (1, 4, 4)
    # Of the pixels beside the square only the filter's foot is seen.
    assert bool((small.images[:, :, :, 1:3].float() - 200).abs().max() < 5)
    assert int(small.images.min()) > 150
    assert folder_images(tmp_path, size=None).shape == (1, 8, 16)
    assert folder_images(tmp_path, size=16, channels=3).shape == (3, 16, 16)
    # Stripes one pixel wide become grey: filtered, not sampled.
    for i in range(10):
        save_picture(tmp_path / "stripes" / f"{i}.png", np.tile([0, 255], (16, 8)))
    stripes = folder_images(tmp_path / "stripes", size=4).images[:, :, :, 1:3].float()
    assert bool(((stripes - 127.5).abs() < 26).all())


def test_colours_and_channels(tmp_path: Path) -> None:
    for i in range(10):
        save_picture(tmp_path / f"{i}.png", np.full((4, 4, 3), [250, 100, 10]))
    colour = folder_images(tmp_path, channels=3)
    assert colour.images[0, :, 0, 0].tolist() == [250, 100, 10]
    # ITU-R 601: 0.299 red + 0.587 green + 0.114 blue.
    assert abs(int(folder_images(tmp_path).images[0, 0, 0, 0]) - 134.6) <= 1


def test_odd_pictures_are_seen_as_people_see_them(tmp_path: Path) -> None:
    red = np.zeros((4, 4, 4), dtype=np.uint8)
    red[:, :2] = [255, 0, 0, 255]  # the right half is transparent
    upright = np.zeros((2, 6), dtype=np.uint8)
    upright[0] = 255
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    for i in range(10):
        save_picture(tmp_path / "clear" / f"{i}.png", red)
        (tmp_path / "turned").mkdir(exist_ok=True)
        Image.fromarray(upright).save(tmp_path / "turned" / f"{i}.png", exif=turned)
    clear = folder_images(tmp_path / "clear", channels=3).images[0]
    assert clear[:, 0, 0].tolist() == [255, 0, 0] and clear[:, 0, 3].tolist() == [255] * 3
    shown = folder_images(tmp_path / "turned").images[0, 0]
    assert shown.shape == (6, 2)
    assert shown[:, 1].tolist() == [255] * 6 and shown[:, 0].tolist() == [0] * 6


def test_unreadable_files_are_counted_and_named(tmp_path: Path) -> None:
    grey(tmp_path, [f"{i}.png" for i in range(20)])
    for i in range(4):
        (tmp_path / f"bad{i}.png").write_bytes(b"not an image")
    cut = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(cut[: len(cut) // 2])
    with pytest.raises(ValueError, match=r"data\.path: 5 of 24 images .*: 3\.png") as caught:
        folder_images(tmp_path)
    line = str(caught.value)
    assert "bad0.png" in line and "bad1.png" in line and "bad2.png" not in line
    assert line.endswith(", ...") and "\n" not in line
    for i in range(4):
        (tmp_path / f"bad{i}.png").unlink()
    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(tmp_path / "3.png")
    with pytest.raises(ValueError, match=r"1 of 20 .*3\.png \(more than 8 bits a channel"):
        folder_images(tmp_path)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.txt").write_text("text")
    with pytest.raises(ValueError, match=r"data\.path: there is no image in"):
        folder_images(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"data\.path: there is no folder"):
        folder_images(tmp_path / "none")
    (tmp_path / "all.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"data\.path: '.*all\.zip' is a file: give the folder"):
        folder_images(tmp_path / "all.zip")
    grey(tmp_path / "unequal", [f"{i}.png" for i in range(5)])
    save_picture(tmp_path / "unequal" / "9.png", np.zeros((6, 8)))
    with pytest.raises(ValueError, match=r"0\.png has 4x4 pixels, 9\.png 8x6; give data\.size=N"):
        folder_images(tmp_path / "unequal")
    grey(tmp_path / "mixed", ["a/1.png", "a/2.png", "3.png"])
    with pytest.raises(ValueError, match=r"beside its subfolders \(1, such as 3\.png\)"):
        folder_images(tmp_path / "mixed")
    grey(tmp_path / "few", ["a/1.png", "a/2.png", "a/3.png", "a/4.png", "b/5.png"])
    with pytest.raises(ValueError, match=r"data\.held_out_share=.* 1 images of the class 'b'"):
        folder_images(tmp_path / "few", held_out_share=0.4)


# What a folder holds, in one number.


def test_a_folder_is_known_by_the_names_and_bytes_of_its_files(tmp_path: Path) -> None:
    def digest() -> str | None:
        return contents_digest({"path": str(folder)})

    def write(name: str, contents: bytes) -> None:
        clock.append(clock[-1] + 10**9)  # a file system's own clock may not tick in between
        (folder / name).write_bytes(contents)
        os.utime(folder / name, ns=(clock[-1], clock[-1]))

    clock = [10**18]
    folder = tmp_path / "pictures"
    (folder / "cats").mkdir(parents=True)
    write("cats/one.png", b"first")
    write("two.png", b"second")
    before = digest()
    assert before == sha256(b"cats/one.png\x005\x00first" + b"two.png\x006\x00second").hexdigest()

    write("two.png", b"second")
    assert digest() == before, "touched is not changed"
    write("two.png", b"Second")
    assert digest() not in (None, before), "other bytes, as many of them"
    write("two.png", b"second")
    assert digest() == before
    (folder / "two.png").rename(folder / "three.png")
    assert digest() not in (None, before), "another name"
    (folder / "three.png").rename(folder / "two.png")
    (folder / "cats" / "new.png").touch()
    assert digest() not in (None, before), "one more"


def test_a_folder_is_read_once_for_all_runs_of_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    plain = contents.open_regular
    (tmp_path / "one.png").write_bytes(b"first")
    monkeypatch.setattr(
        contents, "open_regular", lambda path, follow: (opened.append(path), plain(path, follow))[1]
    )
    answers = {contents_digest({"path": str(tmp_path)}) for _ in range(3)}
    assert len(answers) == 1 and opened == [tmp_path / "one.png"]


def test_there_is_no_number_without_data(tmp_path: Path) -> None:
    assert contents_digest({}) is None
    assert contents_digest({"path": str(tmp_path / "gone")}) is None
