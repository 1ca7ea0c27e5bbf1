"""The lines about files that are not used."""

from pathlib import Path

from dgkd_search.data.left_out import LeftOut, Reason

ROOT = Path("photos")


def test_nothing_left_out_gives_no_line() -> None:
    assert LeftOut(ROOT).lines() == [] and LeftOut(ROOT).summary() == ""


def test_suffixes_are_ranked_by_count() -> None:
    left_out = LeftOut(ROOT)
    for name in ("1.txt", "1.HEIC", "2.heic", "3.json", "4.json", "5.json"):
        left_out.add_unread(ROOT / name)
    assert left_out.lines() == ["left out: 3 .json, 2 .heic (no decoder), 1 .txt"]


def test_rare_suffixes_are_summed_up() -> None:
    left_out = LeftOut(ROOT)
    for number in range(10):
        for suffix in range(number, 10):
            left_out.add_unread(ROOT / f"{number}.s{suffix}")
    assert left_out.summary().endswith(", 3 .s2, 3 with 2 other suffixes")


def test_a_strange_suffix_is_an_example_only() -> None:
    left_out = LeftOut(ROOT)
    left_out.add_unread(ROOT / "a/1.jpg?width=300&height=200")
    left_out.add_unread(ROOT / "a/2.\x1b[31m")
    assert left_out.summary() == ("2 files of no known suffixes (a/1.jpg?width=300&height=200)")


def test_every_reason_has_a_count_and_an_example() -> None:
    for reason in Reason:
        left_out = LeftOut(ROOT)
        left_out.add(reason, ROOT / "a/1")
        assert left_out.summary() == f"1 {reason.value[0]} (a/1)"
        left_out.add(reason, ROOT / "a/2")
        assert left_out.summary() == f"2 {reason.value[1]} (a/1)"


def test_strays_are_counted_by_folder() -> None:
    left_out = LeftOut(ROOT)
    for path in ("train/1.png", "train/2.png", "3.png"):
        left_out.add_stray(ROOT / path)
    assert left_out.strays(ROOT / "train") == 2 and left_out.strays(ROOT / "val") == 0
    first, second = left_out.lines()
    assert first.startswith("1 image is directly in photos/, outside any class (for example 3.png)")
    assert second.startswith("2 images are directly in train/")
