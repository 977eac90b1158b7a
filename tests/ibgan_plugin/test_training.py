"""Short runs of every system on both sprite sets, through the host: the terms move as they should, metrics follow."""

import json

import pytest
import torch

import zoo
from tests.systems import ADVERSARIAL, VAES

# Narrow, hurried and without noise, for forty steps to show where they lead.
HURRIED = {
    "model.ngf": 8,
    "model.ndf": 8,
    "trainer.lr_discriminator": 1e-4,
    "trainer.lr_generator": 5e-4,
    "trainer.noise_start": 0,
}
TERMS = {
    "gan": ["real", "fake", "adversarial", "mi_lower"],
    "infogan": ["real", "fake", "adversarial", "mi_lower"],
    "ibgan": ["real", "fake", "adversarial", "mi_lower", "mi_upper", "kl"],
    "vae": ["elbo", "reconstruction", "kl_total", "kl"],
    "beta_vae": ["elbo", "reconstruction", "kl_total", "kl"],
    "factor_vae": ["elbo", "reconstruction", "kl_total", "kl", "total_correlation", "says_code", "says_permuted"],
    "beta_tcvae": ["elbo", "reconstruction", "kl_total", "kl", "total_correlation"],
}


def train(model, dataset, out, root, steps=40, **options):
    settings = HURRIED if model in ADVERSARIAL else {"trainer.lr": 1e-3}
    options = {"batch_size": 32, "log_every": 5, "device": "cpu", "precision": "fp32"} | options
    return zoo.train(model, dataset, out=out, steps=steps, settings=settings, data_root=root, **options)


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["dsprites", "color_dsprites"])
@pytest.mark.parametrize("model", ADVERSARIAL + VAES)
def test_a_short_run(model, dataset, drawn, tmp_path):
    run = train(model, dataset, tmp_path / "run", drawn)
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 10, 15, 20, 25, 30, 35, 40]
    first, last = lines[0], lines[-1]
    assert set(TERMS[model]) <= set(first), "every term is logged"
    if model in ADVERSARIAL:
        assert last["real"] + last["fake"] < first["real"] + first["fake"], "D learns"
        assert last["mi_lower"] > first["mi_lower"], "Q learns"
        assert last["instance_noise"] == 0
    else:
        assert last["reconstruction"] < 0.6 * first["reconstruction"]
        assert last["elbo"] > first["elbo"]
        assert max(line["kl_total"] for line in lines) > first["kl_total"] > 0, "information enters the code"
    if model in VAES or model == "ibgan":
        total = "mi_upper" if model == "ibgan" else "kl_total"
        for line in lines:
            assert sum(line["kl"]) == pytest.approx(line[total], rel=1e-4)
            assert min(line["kl"]) >= -1e-5
    if model == "ibgan":
        assert last["mi_upper"] > first["mi_upper"], "r takes up information on z"
    if model == "factor_vae":
        assert all(0 < line["says_code"] < 3 and 0 < line["says_permuted"] < 3 for line in lines)

    document = zoo.evaluate(
        model,
        run.path,
        ["factorvae", "mi_bounds"],
        settings={
            "factorvae": {"votes": 50, "samples_per_vote": 20, "variance_images": 500},
            "mi_bounds": {"num": 500},
        },
        device="cpu",
        data_root=drawn,
    )
    assert 0 <= document["metrics"]["factorvae"]["score"] <= 1
    if model in VAES:
        assert "mi_bounds is not defined for VAE" in document["errors"]["mi_bounds"]
        return
    assert document["errors"] == {}
    bounds = document["metrics"]["mi_bounds"]
    assert bounds["score"] == bounds["mi_lower"]
    assert (bounds["mi_upper"] is not None) == (model == "ibgan")
    if model == "ibgan":
        assert len(bounds["kl"]) == 10
        assert sum(bounds["kl"]) == pytest.approx(bounds["mi_upper"])


@pytest.mark.slow
def test_factorvae_resumes_bit_for_bit_with_its_discriminator(drawn, tmp_path):
    """The loss's network is built by the host, bound by the trainer, and comes back from the trainer's state."""
    straight = train("factor_vae", "dsprites", tmp_path / "straight", drawn, steps=6, batch_size=8)
    train("factor_vae", "dsprites", tmp_path / "twice", drawn, steps=3, batch_size=8)
    twice = train("factor_vae", "dsprites", tmp_path / "twice", drawn, steps=6, batch_size=8, resume=True)
    for file in ("model.safetensors", "trainer.safetensors"):
        expected, found = straight.newest().tensors(file), twice.newest().tensors(file)
        assert expected.keys() == found.keys()
        assert all(torch.equal(value, found[name]) for name, value in expected.items())
    assert any(name.startswith("loss/discriminator.") for name in expected)
    assert any(name.startswith("discriminator/") for name in expected)
