"""Files with equal bytes in two parts."""

from pathlib import Path

import pytest

from dgkd_search.data.duplicates import FileComparison

COMMON = b"x" * 5000  # longer than what is read first


def save(folder: Path, contents: list[bytes]) -> list[str]:
    folder.mkdir()
    paths = [folder / str(number) for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return [str(path) for path in paths]


def test_only_equal_bytes_are_duplicates(tmp_path: Path) -> None:
    training = save(tmp_path / "train", [b"a", b"bc", b"a" + COMMON, COMMON + b"b", b""])
    others = save(
        tmp_path / "val",
        [b"z", b"bc", b"b" + COMMON, COMMON + b"b", b"", b"a" + COMMON, COMMON + b"c"],
    )
    found = FileComparison().duplicates(training, others)
    assert found.complete
    assert found.pairs == [
        (training[1], others[1]),
        (training[3], others[3]),
        (training[2], others[5]),
    ]


def test_all_copies_of_one_file_are_found(tmp_path: Path) -> None:
    training = save(tmp_path / "train", [b"a", b"a", b"b"])
    others = save(tmp_path / "val", [b"a", b"a", b"c"])
    found = FileComparison().duplicates(training, others)
    assert found.pairs == [(training[0], others[0]), (training[0], others[1])]


def test_a_second_comparison_reads_only_new_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = save(tmp_path / "train", [b"a" + COMMON, b"b" + COMMON])
    validation = save(tmp_path / "val", [b"b" + COMMON])
    test = save(tmp_path / "test", [b"a" + COMMON])
    comparison = FileComparison()
    assert len(comparison.duplicates(training, validation).pairs) == 1
    for path in (*training, *validation):
        Path(path).write_bytes(b"c" + COMMON)  # not noticed
    assert comparison.duplicates(training, test).pairs == [(training[0], test[0])]


def test_a_link_is_a_duplicate_without_reading(tmp_path: Path) -> None:
    training = save(tmp_path / "train", [b"a" + COMMON])
    (tmp_path / "link").symlink_to(training[0])
    found = FileComparison(max_bytes=0).duplicates(training, [str(tmp_path / "link")])
    assert len(found.pairs) == 1 and found.complete


def test_whole_files_are_read_up_to_a_limit(tmp_path: Path) -> None:
    contents = [bytes([number]) + COMMON for number in range(6)]
    training, others = save(tmp_path / "train", contents), save(tmp_path / "val", contents)
    all_files = 12 * 5001
    assert len(FileComparison(max_bytes=all_files).duplicates(training, others).pairs) == 6
    some = FileComparison(max_bytes=all_files - 1).duplicates(training, others)
    assert 0 < len(some.pairs) < 6 and not some.complete


def test_of_many_files_an_evenly_spaced_sample_is_compared(tmp_path: Path) -> None:
    contents = [number.to_bytes(2, "big") for number in range(40)]
    training, others = save(tmp_path / "train", contents), save(tmp_path / "val", contents)
    found = FileComparison(max_opened=50).duplicates(training, others)
    assert found.pairs == list(zip(training[::4], others[::4], strict=True))
    assert not found.complete


def test_files_that_cannot_be_read_are_skipped(tmp_path: Path) -> None:
    training = save(tmp_path / "train", [b"a", b"b"])
    others = save(tmp_path / "val", [b"a", b"b"])
    Path(training[0]).unlink()
    Path(others[1]).unlink()
    Path(others[1]).mkdir()
    assert FileComparison().duplicates(training, others).pairs == []
