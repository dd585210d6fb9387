import pytest

torch = pytest.importorskip("torch")

from snn_compile.frontend.rules.masked import pick, random_masks, shares  # noqa: E402


@pytest.mark.parametrize("free", [20, 600, 990, 1000])
@pytest.mark.parametrize("count", [0, 1, 15, 200])
def test_picks_distinct_free_places(free, count):
    candidates = torch.arange(1000) < free
    places = pick(candidates, count, torch.Generator().manual_seed(0))
    assert len(places.unique()) == len(places) == min(count, free)
    assert bool(candidates[places].all())


@pytest.mark.parametrize("free", [8, 5])
def test_every_free_place_is_equally_likely(free):
    """Count 1 of 8 free places of 8 is drawn by rejection; 1 of 5 of 12 from a list."""
    candidates = torch.arange(8 if free == 8 else 12) < free
    random = torch.Generator().manual_seed(1)
    drawn = torch.cat([pick(candidates, 1, random) for _ in range(2000)])
    assert torch.bincount(drawn, minlength=free).tolist() == pytest.approx([2000 / free] * free, rel=0.2)


def test_masks_have_the_total_and_the_same_density():
    weights = [torch.ones(40, 25), torch.ones(10, 10), torch.ones(7)]
    masks = random_masks(weights, 111, torch.Generator().manual_seed(0))
    assert [mask.shape for mask in masks] == [weight.shape for weight in weights]
    assert [int(mask.sum()) for mask in masks] == shares([1000, 100, 7], 111) == [100, 10, 1]
