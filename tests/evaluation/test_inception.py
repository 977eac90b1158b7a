"""The Inception features against pytorch-fid's own, and the weights file: found, checked, refused, never fetched."""

from __future__ import annotations

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import pytorch_fid.inception
import torch
import torchvision
from PIL import Image
from pytorch_fid.fid_score import get_activations

from ibgan_plugin.evaluation import inception
from ibgan_plugin.evaluation.inception import FILE_NAME, SHA256, InceptionFeatures, find_weights, read_weights
from tests.exploding import Exploding
from zoo.errors import ZooError

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture
def root(tmp_path: Path, monkeypatch) -> Path:
    """A data root, and a torch.hub folder beside it, both empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "data"


@pytest.fixture
def hub(root: Path) -> Path:
    """Where torch.hub keeps its downloads."""
    folder = root.parent / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def features(random_inception_weights: Path) -> InceptionFeatures:
    weights = read_weights(random_inception_weights, allow_unverified=True, root=Path("/nowhere"))
    return InceptionFeatures(weights)


def images(num: int, channels: int) -> np.ndarray:
    """Smooth random pictures with hard edges, uint8 (num, 64, 64, channels)."""
    rng = np.random.default_rng(channels)
    coarse = torch.from_numpy(rng.random((num, channels, 8, 8)))
    smooth = torch.nn.functional.interpolate(coarse, size=64, mode="bicubic").clamp(0, 1).permute(0, 2, 3, 1).numpy()
    smooth[:, 20:40, 30:50] = rng.random((num, 1, 1, channels))
    return np.rint(255 * smooth).astype(np.uint8)


def test_features_are_those_of_pytorch_fid_on_saved_images(features, random_inception_weights, hub, tmp_path) -> None:
    """Its own network, loader and reader of PNG files, given the same weights where it looks for a download."""
    shutil.copy(random_inception_weights, hub / FILE_NAME)
    network = pytorch_fid.inception.InceptionV3([3])
    colour, gray = images(6, 3), images(3, 1)
    files = [tmp_path / f"{i}.png" for i in range(9)]
    for file, pixels in zip(files, [*colour, *gray[..., 0]], strict=True):
        Image.fromarray(pixels).save(file)
    theirs = get_activations(files, network, batch_size=9, num_workers=0)
    ours = np.concatenate([features(colour), features(gray)])
    assert ours.shape == (9, 2048)
    assert ours.dtype == np.float32
    assert theirs.std(axis=0).mean() > 1e-2 * np.abs(theirs).mean()  # the images do differ
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * np.abs(theirs).max())
    assert np.linalg.norm(ours - theirs) < 5e-6 * np.linalg.norm(theirs)


def test_gray_is_repeated_and_batches_change_nothing(features: InceptionFeatures) -> None:
    gray = images(3, 1)
    whole = features(gray)
    scale = np.abs(whole).max()
    np.testing.assert_allclose(features(np.repeat(gray, 3, axis=3)), whole, rtol=0, atol=1e-5 * scale)
    in_two_batches = np.concatenate([features(gray[:1]), features(gray[1:])])
    np.testing.assert_allclose(in_two_batches, whole, rtol=0, atol=1e-5 * scale)


def test_workers_change_nothing_and_leave_torchs_threads_alone(features: InceptionFeatures, monkeypatch) -> None:
    pictures = images(3, 3)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = features(pictures)
        torch.set_num_threads(3)
        together = features(pictures)
        with ThreadPoolExecutor(1) as later:
            assert torch.get_num_threads() == later.submit(torch.get_num_threads).result() == 3
        monkeypatch.setattr(features, "_of_batch", lambda batch: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            features(pictures)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5 * np.abs(alone).max())


def test_bf16_gives_other_features_but_not_another_picture(features, random_inception_weights) -> None:
    weights = read_weights(random_inception_weights, allow_unverified=True, root=Path("/nowhere"))
    pictures = images(2, 3)
    exact, rough = features(pictures), InceptionFeatures(weights, precision="bf16")(pictures)
    assert rough.dtype == np.float32
    error = np.linalg.norm(rough - exact) / np.linalg.norm(exact)
    assert 1e-4 < error < 5e-2


def test_building_leaves_torch_and_pytorch_fid_as_they_were(random_inception_weights: Path) -> None:
    weights = read_weights(random_inception_weights, allow_unverified=True, root=Path("/nowhere"))
    fetch, state = pytorch_fid.inception.load_state_dict_from_url, torch.random.get_rng_state()
    network = inception.inception(weights)
    assert pytorch_fid.inception.load_state_dict_from_url is fetch
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not network.training
    found = network.state_dict()
    assert torch.equal(found["blocks.0.0.conv.weight"], weights.state["Conv2d_1a_3x3.conv.weight"])
    assert torch.equal(
        found["blocks.3.2.branch_pool.bn.running_var"], weights.state["Mixed_7c.branch_pool.bn.running_var"]
    )


def test_a_pytorch_fid_that_does_not_ask_is_refused(random_inception_weights: Path, monkeypatch) -> None:
    weights = read_weights(random_inception_weights, allow_unverified=True, root=Path("/nowhere"))
    monkeypatch.setattr(
        pytorch_fid.inception,
        "fid_inception_v3",
        lambda: torchvision.models.inception_v3(aux_logits=False, init_weights=False),
    )
    with pytest.raises(ZooError, match=r"another way than 0\.3\.0"):
        inception.inception(weights)
    monkeypatch.delattr(pytorch_fid.inception, "load_state_dict_from_url")
    with pytest.raises(ZooError, match=r"another way than 0\.3\.0"):
        inception.inception(weights)


def test_no_weights_file_is_one_line_that_says_what_to_do(root: Path) -> None:
    with pytest.raises(ZooError) as caught:
        find_weights(None, root)
    said = str(caught.value)
    assert "\n" not in said
    assert pytorch_fid.inception.FID_WEIGHTS_URL in said
    assert SHA256 in said
    assert str(root / FILE_NAME) in said
    assert "inception_weights=PATH" in said
    assert caught.value.exit_code == 1
    with pytest.raises(ZooError, match="there is no Inception weights file"):
        find_weights(root / "other.pth", root)


def test_the_setting_comes_before_the_data_root_and_that_before_torch_hub(root: Path, hub: Path) -> None:
    (hub / FILE_NAME).touch()
    assert find_weights(None, root) == hub / FILE_NAME
    root.mkdir()
    (root / FILE_NAME).touch()
    assert find_weights(None, root) == root / FILE_NAME
    (root / "mine.pth").touch()
    assert find_weights(root / "mine.pth", root) == root / "mine.pth"


def test_another_hash_is_refused_unless_asked_for(random_inception_weights: Path, root: Path, monkeypatch) -> None:
    sha256 = hashlib.sha256(random_inception_weights.read_bytes()).hexdigest()
    with pytest.raises(ZooError) as caught:
        read_weights(random_inception_weights, root=root)
    said = str(caught.value)
    assert "\n" not in said
    assert sha256 in said
    assert SHA256 in said
    assert "allow_unverified_weights" in said
    allowed = read_weights(random_inception_weights, allow_unverified=True, root=root)
    assert (allowed.sha256, allowed.verified) == (sha256, False)
    monkeypatch.setattr(inception, "SHA256", sha256)
    assert read_weights(random_inception_weights, root=root).verified


def test_the_expected_hash_is_the_one_in_the_published_file_name() -> None:
    """torch.hub's files carry the first eight digits of their SHA-256 in their names."""
    assert pytorch_fid.inception.FID_WEIGHTS_URL == inception.SOURCE
    assert SHA256[:8] == Path(FILE_NAME).stem.rsplit("-", 1)[1]


@pytest.mark.parametrize("new_format", [True, False])
def test_no_code_in_a_weights_file_is_run(root: Path, tmp_path: Path, new_format: bool) -> None:
    executed = tmp_path / "executed"
    torch.save({"weight": Exploding(executed)}, tmp_path / "evil.pth", _use_new_zipfile_serialization=new_format)
    with pytest.raises(ZooError, match="is neither a tensor nor a plain value; nothing of it was run"):
        read_weights(tmp_path / "evil.pth", allow_unverified=True, root=root)
    assert not executed.exists()


def test_the_old_file_format_is_read(root: Path, tmp_path: Path) -> None:
    """The published file is older than torch's zip format."""
    torch.save({"weight": torch.arange(6.0)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    weights = read_weights(tmp_path / "old.pth", allow_unverified=True, root=root)
    assert torch.equal(weights.state["weight"], torch.arange(6.0))


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 and no more"])
def test_damaged_weights_are_one_line(root: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cut.pth").write_bytes(content)
    with pytest.raises(ZooError, match=r"is no file of torch\.save") as caught:
        read_weights(tmp_path / "cut.pth", allow_unverified=True, root=root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"epoch": 3}, torch.zeros(2)])
def test_files_without_a_state_dict_are_refused(root: Path, tmp_path: Path, content) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ZooError, match="not a state dict of tensors"):
        read_weights(tmp_path / "other.pth", allow_unverified=True, root=root)


def test_weights_of_another_network_are_refused_in_one_line(
    root: Path, tmp_path: Path, random_inception_weights
) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    # Written by the fixture; read as the code under test reads it.
    state = torch.load(random_inception_weights, weights_only=True)
    state["fc.bias"] = torch.zeros(1000)  # torchvision's number of classes
    torch.save(state, tmp_path / "torchvision.pth")
    for name in ("other.pth", "torchvision.pth"):
        weights = read_weights(tmp_path / name, allow_unverified=True, root=root)
        with pytest.raises(ZooError, match="does not fit pytorch-fid's Inception network") as caught:
            inception.inception(weights)
        assert "\n" not in str(caught.value)
