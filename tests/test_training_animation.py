"""The animation: one frame an evaluation, none twice after a resume, a GIF at the end."""

from __future__ import annotations

import numpy as np
from PIL import Image
from training_configs import tiny

from wganbench.runs.folder import RunFolder
from wganbench.training.figures import cut_frames, frames, save_frame
from wganbench.training.runs import train_run


def test_a_run_leaves_one_frame_an_evaluation(tmp_path):
    config = tiny(**{"train.steps": 2, "evaluate.every_n_steps": 1, "log.animation": True})
    train_run(config, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    assert [int(frame.stem) for frame in frames(folder)] == [0, 1, 2]
    with Image.open(tmp_path / "run" / "samples.gif") as gif:
        assert gif.n_frames == 3
        assert np.asarray(gif.convert("RGB")).std() > 0


def test_frames_after_the_checkpoint_are_cut(tmp_path):
    folder = RunFolder(tmp_path).lock()
    for step in (0, 10, 20, 30):
        save_frame(folder, step, b"PNG")
    cut_frames(folder, 20)
    assert [int(frame.stem) for frame in frames(folder)] == [0, 10, 20]
    cut_frames(folder, 0)
    assert frames(folder) == []
