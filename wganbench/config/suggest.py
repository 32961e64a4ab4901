"""What a user meant by a key that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

ALIASES = {
    "lambda": "loss.gp_lambda",
    "lam": "loss.gp_lambda",
    "lambda_gp": "loss.gp_lambda",
    "gp": "loss.gp_lambda",
    "gp_lamda": "loss.gp_lambda",
    "gp_weight": "loss.gp_lambda",
    "penalty_weight": "loss.gp_lambda",
    "c": "loss.clip_value",
    "clip": "loss.clip_value",
    "weight_clip": "loss.clip_value",
    "gamma": "loss.r1_gamma",
    "r1": "loss.r1_gamma",
    "critic_steps": "loss.n_critic",
    "critic_iters": "loss.n_critic",
    "n_dis": "loss.n_critic",
    "lr": "train.critic_lr and train.generator_lr",
    "learning_rate": "train.critic_lr and train.generator_lr",
    "lr_d": "train.critic_lr",
    "d_lr": "train.critic_lr",
    "lr_critic": "train.critic_lr",
    "lr_g": "train.generator_lr",
    "g_lr": "train.generator_lr",
    "lr_generator": "train.generator_lr",
    "epochs": "train.steps",
    "iterations": "train.steps",
    "iters": "train.steps",
    "max_steps": "train.steps",
    "n_steps": "train.steps",
    "bs": "train.batch_size",
    "batch": "train.batch_size",
    "batchsize": "train.batch_size",
    "beta1": "train.betas",
    "beta2": "train.betas",
    "opt": "train.optimizer",
    "ema": "train.average_decay",
    "hidden": "network.width",
    "hidden_dim": "network.width",
    "layers": "network.depth",
    "z_dim": "network.latent_dim",
    "nz": "network.latent_dim",
    "dataset": "data",
    "model": "network",
    "arch": "network",
    "gpu": "device",
    "random_seed": "seed",
    "dtype": "precision",
    "amp": "precision",
    "out": "output_dir",
    "outputs": "output_dir",
}
"""Other people's last words for our keys."""


def nearest(key: str, valid: Iterable[str]) -> str | None:
    """The valid key that ``key`` most likely stands for, or None.

    In this order: an alias, a key with the same last word, the most similar last word
    in the same group, the most similar one anywhere.

    >>> nearest("loss.gp_lamda", ["loss.gp_lambda"]), nearest("steps", ["train.steps"])
    ('loss.gp_lambda', 'train.steps')
    """
    keys = list(dict.fromkeys(valid))
    word = last_word(key)
    known = alias(key, keys)
    if known is not None:
        return known
    for candidate in keys:
        if last_word(candidate) == word:
            return candidate
    group = key.rpartition(".")[0]
    for candidates in ([one for one in keys if one.rpartition(".")[0] == group], keys):
        by_word = {last_word(candidate): candidate for candidate in reversed(candidates)}
        near = difflib.get_close_matches(word, by_word, n=1, cutoff=0.6)
        if near:
            return by_word[near[0]]
    return None


def alias(key: str, valid: Iterable[str]) -> str | None:
    """Our key, or keys, for what others call ``key``, where they are valid."""
    ours, keys = ALIASES.get(last_word(key).lower()), set(valid)
    return ours if ours is not None and keys.issuperset(ours.split(" and ")) else None


def nearest_key(key: str, valid: Iterable[str]) -> str:
    """``"; did you mean x?"``, or nothing where no valid key comes near."""
    found = nearest(key, valid)
    return f"; did you mean {found}?" if found else ""


def last_word(key: str) -> str:
    return key.rpartition(".")[2]
