"""Views: reproducible, independent of batches, and equal to a plain loop over images."""

import numpy as np
import pytest
import torch

from dgkd_search.data.augmentation import Bank, Views, crop_box
from dgkd_search.data.config import AUGMENTS
from dgkd_search.errors import InputError


def _naive(images: torch.Tensor, rows: torch.Tensor, bank: Bank, pad: int) -> torch.Tensor:
    size = images.shape[-1]
    shown = []
    for image, row in zip(images.numpy(), rows.tolist(), strict=True):
        padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad)))
        dy, dx = bank.offsets[row].tolist()
        cut = padded[:, dy : dy + size, dx : dx + size]
        shown.append(cut[:, :, ::-1] if bank.flips[row] else cut)
    return torch.from_numpy(np.stack(shown))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("channels, size", [(1, 8), (3, 32), (3, 20)])
@pytest.mark.parametrize("augment", ["crop", "flip", "crop+flip"])
def test_apply_equals_a_loop_over_images(
    augment: str, channels: int, size: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    views = Views(50, size, augment, seed=1)
    rows = torch.randperm(50)[:30]
    images = torch.randint(0, 256, (30, channels, size, size)).to(dtype)
    bank = views.bank(2)
    assert bank is not None
    shown = views.apply(images, rows, 2)
    assert shown.dtype == dtype
    assert torch.equal(shown, _naive(images, rows, bank, size // 8))
    assert not torch.equal(shown, images)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("augment", ["resized-crop", "resized-crop+flip"])
def test_resized_crops_equal_a_loop_over_images(augment: str, dtype: torch.dtype) -> None:
    """Each output pixel is the bilinear mean of the four pixels around its position in the crop."""
    size, count = 12, 20
    views = Views(count, size, augment, seed=1)
    rows = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:15]
    images = torch.randint(0, 256, (15, 3, size, size)).to(dtype)
    bank = views.bank(3)
    assert bank is not None
    assert bool(bank.flips.any()) == ("flip" in augment)
    shown = views.apply(images, rows, 3)
    assert shown.dtype == dtype
    for image, view, row in zip(images.numpy(), shown.numpy(), rows.tolist(), strict=True):
        left, top, wide, tall = crop_box(bank.offsets[row][None], size, size)[0].tolist()
        for i in range(size):
            for j in range(size):
                column = size - 1 - j if bank.flips[row] else j
                x = np.clip(left + wide * (column + 0.5) / size - 0.5, 0, size - 1)
                y = np.clip(top + tall * (i + 0.5) / size - 0.5, 0, size - 1)
                x0, y0 = int(x), int(y)
                x1, y1 = min(x0 + 1, size - 1), min(y0 + 1, size - 1)
                a, b = x - x0, y - y0
                expected = (1 - b) * ((1 - a) * image[:, y0, x0] + a * image[:, y0, x1])
                expected = expected + b * ((1 - a) * image[:, y1, x0] + a * image[:, y1, x1])
                np.testing.assert_allclose(
                    view[:, i, j], expected, atol=0.51 if dtype == torch.uint8 else 1e-2
                )


def test_resized_crops_lie_in_the_image_and_have_the_shapes_of_inception() -> None:
    draws = torch.rand(5000, 4, generator=torch.Generator().manual_seed(1))
    for width, height in ((224, 224), (500, 375), (30, 400)):
        left, top, wide, tall = crop_box(draws, width, height).unbind(1)
        assert (left >= 0).all() and (top >= 0).all()
        assert (left + wide <= width * (1 + 1e-5)).all()
        assert (top + tall <= height * (1 + 1e-5)).all()
        inside = (wide < width) & (tall < height)
        ratio, area = (wide / tall)[inside], (wide * tall)[inside] / (width * height)
        assert (ratio >= 0.7499).all() and (ratio <= 1.3335).all()
        assert (area >= 0.0799).all() and (area <= 1.0001).all()
    left, top, wide, tall = crop_box(draws, 1000, 1000).unbind(1)
    assert abs(float((wide * tall).mean()) / 1e6 - 0.53) < 0.03  # uniform, largest boxes clipped
    assert abs(float((left + wide / 2).mean()) - 500) < 20


def test_a_whole_image_is_shown_as_it_is() -> None:
    draws = torch.tensor([[1.0, 0.5, 0.0, 0.0]])  # the whole area, square
    torch.testing.assert_close(crop_box(draws, 32, 32), torch.tensor([[0.0, 0.0, 32.0, 32.0]]))


def test_apply_takes_channels_last_images() -> None:
    views = Views(9, 16, "crop+flip", seed=1)
    images, rows = torch.rand(9, 3, 16, 16), torch.arange(9)
    strided = images.to(memory_format=torch.channels_last)
    assert torch.equal(views.apply(strided, rows, 0), views.apply(images, rows, 0))


def test_a_view_does_not_depend_on_the_batch() -> None:
    images = torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8)
    views = Views(40, 32, "crop+flip", seed=7)
    whole = views.apply(images, torch.arange(40), 3)
    order = torch.randperm(40)
    views.apply(images, order, 4)  # using another bank in between has no effect
    for rows in torch.split(order, 7):
        assert torch.equal(views.apply(images[rows], rows, 3), whole[rows])


def test_banks_differ_by_number_and_seed_alone() -> None:
    def offsets(number: int, seed: int) -> torch.Tensor:
        bank = Views(100, 32, "crop+flip", seed).bank(number)
        assert bank is not None
        return torch.cat((bank.offsets, bank.flips[:, None]), 1)

    torch.manual_seed(1)
    first = offsets(0, 0)
    torch.manual_seed(2)
    assert torch.equal(first, offsets(0, 0))
    assert not torch.equal(first, offsets(1, 0))
    assert not torch.equal(first, offsets(0, 1))


def test_banks_are_the_same_on_every_version() -> None:
    # Stored outputs belong to these views: if these numbers change, increase TRAINING_VERSION.
    bank = Views(4, 32, "crop+flip", seed=0).bank(0)
    assert bank is not None
    assert bank.offsets.tolist() == [[6, 3], [5, 0], [8, 7], [6, 5]]
    assert bank.flips.tolist() == [False, True, True, False]


def test_banks_cover_their_range_evenly() -> None:
    bank = Views(9000, 32, "crop+flip", seed=0).bank(0)
    assert bank is not None
    for axis in (0, 1):
        counts = torch.bincount(bank.offsets[:, axis], minlength=9)
        assert len(counts) == 9 and counts.min() > 850 and counts.max() < 1150
    assert abs(bank.flips.float().mean() - 0.5) < 0.03


def test_parts_of_an_augmentation_are_left_out() -> None:
    crop, flip = Views(64, 32, "crop", 0).bank(0), Views(64, 32, "flip", 0).bank(0)
    assert crop is not None and flip is not None
    assert not crop.flips.any() and crop.offsets.float().std() > 1
    assert flip.flips.any() and (flip.offsets == 4).all()


def test_no_augmentation_gives_the_images_themselves() -> None:
    views = Views(5, 32, "none", 0)
    images = torch.rand(5, 3, 32, 32)
    assert views.bank(0) is None
    assert views.apply(images, torch.arange(5), 0) is images


def test_unknown_augmentations_are_refused() -> None:
    with pytest.raises(InputError, match=r"augment 'rotate': choose from none, crop"):
        Views(5, 32, "rotate", 0)
    for augment in AUGMENTS:
        Views(5, 32, augment, 0)
