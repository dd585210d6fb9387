import numpy as np
import pytest

torch = pytest.importorskip("torch")

from snn_compile.frontend.augment import (  # noqa: E402
    affine,
    affine_on_device,
    augmentation,
    crop_and_flip,
    random_affine,
    random_maps,
)
from snn_compile.frontend.data import DataSet  # noqa: E402

IDENTITY = [1.0, 0, 0, 0, 1, 0]


def random(seed):
    return torch.Generator().manual_seed(seed)


def images(count, *shape, seed=0):
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=random(seed))


def data_set(name, shape):
    samples, labels = np.zeros((2, *shape), np.uint8), np.zeros(2, np.int64)
    return DataSet(name, samples, labels, samples, labels, 255, 10)


def test_each_data_set_has_its_own():
    assert augmentation(data_set("digits", (64,))) is None
    assert augmentation(data_set("mnist", (1, 28, 28))) is random_affine
    assert augmentation(data_set("fashion-mnist", (1, 28, 28))) is random_affine
    assert augmentation(data_set("cifar10", (3, 32, 32))) is crop_and_flip


@pytest.mark.parametrize(("change", "shape"), [(random_affine, (1, 28, 28)), (crop_and_flip, (3, 32, 32))])
def test_the_generator_decides_everything(change, shape):
    batch = images(40, *shape)
    kept = batch.clone()
    first = change(batch, random(7))
    assert first.dtype == torch.float32
    assert first.shape == batch.shape
    assert torch.equal(first, change(batch, random(7)))
    assert not torch.equal(first, change(batch, random(8)))
    assert torch.equal(batch, kept)
    assert first.min() >= 0 and first.max() <= 255
    one = random(7)
    assert not torch.equal(change(batch, one), change(batch, one))


def test_a_white_image_stays_within_its_range():
    white = torch.full((500, 1, 28, 28), 255, dtype=torch.uint8)
    out = random_affine(white, random(3))
    assert out.max() == 255
    assert out.min() == 0


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 5, 9), (2, 1, 1)])
def test_the_identity_gives_the_image_back(shape):
    batch = images(6, *shape)
    assert torch.equal(affine(batch, torch.tensor([IDENTITY] * 6)), batch.to(torch.float32))


def test_a_quarter_turn_moves_a_pixel_where_it_should():
    batch = torch.zeros((1, 1, 28, 28), dtype=torch.uint8)
    batch[0, 0, 3, 20] = 200
    # out(x, y) = in(y, -x): what is at column 20, row 3 comes from row y, column -x, counted from 13.5
    out = affine(batch, torch.tensor([[0.0, 1, 0, -1, 0, 0]]))
    assert out.nonzero().tolist() == [[0, 0, 20, 24]]
    assert out.max() == 200


def test_a_shift_moves_by_whole_and_half_pixels():
    batch = torch.zeros((2, 1, 28, 28), dtype=torch.uint8)
    batch[:, 0, 3, 20] = 200
    out = affine(batch, torch.tensor([[1.0, 0, 2, 0, 1, -5], [1.0, 0, 0.5, 0, 1, 0]]))
    assert out[0, 0, 8, 18] == 200
    assert out[0].sum() == 200
    assert out[1, 0, 3, 19:21].tolist() == [100, 100]


def test_far_outside_is_zero():
    batch = images(2, 1, 28, 28)
    maps = torch.tensor([[1.0, 0, 1e6, 0, 1, 0], [1.0, 0, 0, 0, 1, -1e6]])
    assert not affine(batch, maps).any()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 9, 14)])
def test_the_kernel_equals_grid_sample(shape):
    batch = images(200, *shape)
    maps = random_maps(200, *shape[1:], random(5))
    assert torch.allclose(affine(batch, maps) / 255, affine_on_device(batch, maps) / 255, rtol=0, atol=1e-4)


def test_the_maps_are_those_of_the_paper():
    maps = random_maps(5000, 28, 28, random(1)).to(torch.float64)
    linear = maps[:, [0, 1, 3, 4]].reshape(-1, 2, 2)
    scale = 1 / torch.linalg.det(linear).sqrt()
    assert 0.85 <= scale.min() < 0.86 and 1.1 < scale.max() <= 1.11
    angle = torch.rad2deg(torch.atan2(maps[:, 1], maps[:, 0]))
    assert -30 <= angle.min() < -29 and 29 < angle.max() <= 30 + 1e-5
    shift = -torch.linalg.solve(linear, maps[:, [2, 5]])
    for along in shift.unbind(1):
        assert -4.2 - 1e-5 <= along.min() < -4.1 and 4.1 < along.max() <= 4.2 + 1e-5


def test_crops_are_windows_of_the_padded_image():
    batch = images(60, 3, 32, 32)
    out = crop_and_flip(batch, random(2)).to(torch.uint8)
    padded = torch.nn.functional.pad(batch, (4, 4, 4, 4))
    seen = set()
    for n in range(60):
        windows = [
            (y, x, flipped)
            for y in range(9)
            for x in range(9)
            for flipped in (False, True)
            if torch.equal(out[n].flip(2) if flipped else out[n], padded[n, :, y : y + 32, x : x + 32])
        ]
        assert len(windows) == 1
        seen |= set(windows)
    assert {y for y, _, _ in seen} == {x for _, x, _ in seen} == set(range(9))
    assert {flipped for *_, flipped in seen} == {False, True}
