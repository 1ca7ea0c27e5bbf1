from __future__ import annotations

import xml.etree.ElementTree as ET

from dgkd_search.results.report.chain_diagram import Node, draw_chain

SVG = "{http://www.w3.org/2000/svg}"
NODES = [
    Node("resnet56", 853_018, 93.5, ()),
    Node("resnet20", 269_722, None, (0,)),
    Node("resnet8", 75_290, 90.0, (0, 1)),
]


def parse(text: str) -> ET.Element:
    return ET.fromstring(str(text).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def test_every_model_and_every_arrow_is_there() -> None:
    root = parse(draw_chain(NODES, 0.25))
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert texts == [
        *("resnet56", "853.0 k parameters", "93.50 %"),
        *("resnet20", "269.7 k parameters", ""),
        *("resnet8", "75.3 k parameters", "90.00 %"),
    ]
    arrows = [path for path in root.iter(f"{SVG}path") if path.get("marker-end")]
    assert len(arrows) == 3
    assert sum(path.get("class") == "dropped" for path in arrows) == 2, "those of the student"


def test_a_source_that_is_never_dropped_is_drawn_whole() -> None:
    assert "dropped" not in draw_chain(NODES, 0.0)
    assert "dropped" not in draw_chain(NODES[:2], None)


def test_arrows_stay_within_the_drawing() -> None:
    nodes = [Node(f"m{i}", 10, None, tuple(range(i))) for i in range(8)]
    root = parse(draw_chain(nodes, 0.1))
    _, _, width, height = map(float, root.get("viewBox", "").split())
    for path in root.iter(f"{SVG}path"):
        if path.get("marker-end") and "C" in (path.get("d") or ""):
            start, peak, *_ = [float(n) for n in (path.get("d") or "").split("C")[1].split()[1::2]]
            top = float((path.get("d") or "").split("C")[0].split()[1])
            assert 0.25 * top + 0.75 * start >= 0, "a curve's highest point"
            assert start == peak <= height
    assert width > 0


def test_names_of_models_are_no_markup() -> None:
    drawn = draw_chain([Node("<b>", 10, None, ()), Node('a"&', 5, None, (0,))], None)
    assert next(t.text for t in parse(drawn).iter(f"{SVG}text")) == "<b>"


def test_a_long_name_fits_and_is_told_in_full() -> None:
    names = ["a_network_of_somebody_with_a_very_long_name-a", "a_network_of_somebody-b"]
    root = parse(draw_chain([Node(names[0], 10, None, ()), Node(names[1], 5, None, (0,))], None))
    shown = [text.text or "" for text in root.iter(f"{SVG}text") if text.text and "…" in text.text]
    assert all(len(text) <= 20 for text in shown)
    assert [text[-2:] for text in shown] == ["-a", "-b"], "they end differently"
    assert [title.text for title in root.iter(f"{SVG}title")] == names
