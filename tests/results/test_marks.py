from __future__ import annotations

from dgkd_search.results.marks import place_label


def test_a_label_goes_where_it_hides_nothing_and_stays_inside() -> None:
    right = place_label((0.2, 0.5), 0.4, [])
    left = place_label((0.9, 0.5), 0.4, [])
    assert right is not None
    assert left is not None
    assert "right" in right.side
    assert "left" in left.side
    points = [(x / 50, y / 50) for x in range(51) for y in range(26, 40)]
    label = place_label((0.5, 0.5), 0.2, points)
    assert label is not None
    assert label.side == "below"


def test_labels_do_not_overlap_or_are_not_there() -> None:
    labels = [place_label((0.5, 0.5), 0.3, [])]
    while labels[-1] is not None:
        labels.append(place_label((0.5, 0.5), 0.3, [], [each for each in labels if each]))
        assert len(labels) < 9
    boxes = [label.box for label in labels if label is not None]
    assert len(boxes) >= 3
    for i, (left, right, low, high) in enumerate(boxes):
        for a, b, c, d in boxes[:i]:
            assert right <= a or b <= left or high <= c or d <= low
