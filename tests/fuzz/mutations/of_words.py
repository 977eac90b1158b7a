"""Other words: names, settings and variables that a person could type."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from tests.fuzz.mutations.change import Change

NAMES = [
    "ibgan",
    "gan",
    "vae",
    "dsprites",
    "celeba",
    "image_folder",
    "sap",
    "fid",
    "disentanglement_lib",
    "ibgan_authors",
]
_keys = st.sampled_from(
    [
        "steps",
        "batch_size",
        "seed",
        "loss",
        "trainer",
        "device",
        "precision",
        "eval_metrics",
        "eval_every",
        "save_every",
        "keep",
        "keep_best",
        "log_every",
        "model.ngf",
        "model.z_dim",
        "model.variant",
        "model.init",
        "model.share_front",
        "loss.beta",
        "loss.gamma",
        "trainer.lr_generator",
        "trainer.noise_steps",
        "dataset.source",
        "sap.num_train",
        "model",
        "dataset",
        "preset",
        "image_shape",
        "made_by",
        ".",
        "..",
        "a.b.c",
        "model.",
        ".ngf",
    ]
)
typed = st.one_of(
    st.sampled_from(
        [
            "",
            "0",
            "-1",
            "1e4",
            "1e999",
            "nan",
            "none",
            "true",
            "auto",
            "9" * 5000,
            "os:system",
            "sys:exit",
            "x" * 9000,
            "[/x]",
            "a\nb",
            "\x1b[2J",
            "\udcff",
            "~nobody-there",
            "cuda:99",
            "ibgan",
            "1,2",
            "../..",
            "/dev/null",
        ]
    ),
    st.sampled_from(NAMES),
    st.text(max_size=12),
)
set_words = st.tuples(_keys | st.text(max_size=8), typed).map("=".join) | st.text(max_size=12)


@st.composite
def words(draw: st.DrawFn) -> Change:
    """What `--set` and names may be."""
    asked = {
        "model": draw(st.sampled_from(["ibgan", "ibgan", "vae", "factor_vae"]) | typed),
        "dataset": draw(st.sampled_from(["dsprites", "dsprites", "celeba"]) | typed),
        "preset": draw(st.none() | st.none() | typed),
        "words": draw(st.lists(set_words, max_size=4)),
    }
    return lambda folder: (folder / "words.json").write_text(json.dumps(asked))


@st.composite
def environment(draw: st.DrawFn) -> Change:
    """What the variables about plugins may be; a process's environment holds no NUL."""
    value = st.lists(typed | st.sampled_from(["ibgan", "adapters", "*", " ", ",,"]), max_size=4).map(",".join)
    asked = {"ZOO_DISABLE_PLUGINS": draw(value).replace("\0", "").encode("utf-8", "replace").decode()}
    return lambda folder: (folder / "environment.json").write_text(json.dumps(asked))
