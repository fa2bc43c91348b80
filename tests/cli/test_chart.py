"""The chart of `--svg` shows every share at its place, and is SVG."""

from xml.etree import ElementTree as ET

from multiwanbond.cli.chart import Bar, chart

SVG = "{http://www.w3.org/2000/svg}"
BARS: list[Bar] = [
    ("mix4 cubic", 0.9, {"best line alone": 0.6, "MPTCP": 0.3}),
    ("geo cubic", 0.45, {"best line alone": 0.6}),
]


def rectangles(picture: str, colour: str) -> list[dict[str, float]]:
    """Return place and size of all rectangles of one colour, from the top."""
    found = ET.fromstring(picture).iter(f"{SVG}rect")
    return [
        {name: float(rect.get(name, "")) for name in ("x", "y", "width", "height")}
        for rect in found
        if rect.get("fill") == colour
    ]


def texts(picture: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(picture).iter(f"{SVG}text")]


def test_a_bar_is_as_long_as_its_share() -> None:
    first, second = rectangles(chart("shares", BARS, 0.95), "#47a")

    assert first["width"] == 2 * second["width"]
    assert first["y"] < second["y"]


def test_a_mark_stands_where_a_bar_of_its_share_would_end() -> None:
    picture = chart("shares", [*BARS, ("as long as the mark", 0.6, {})], 0.95)

    *_, bar = rectangles(picture, "#47a")
    _, first, second = rectangles(picture, "black")
    assert first["x"] == second["x"] == bar["x"] + bar["width"] - 1


def test_what_is_marked_and_wanted_is_said() -> None:
    said = texts(chart("shares", BARS, 0.95))

    assert said[:3] == ["shares", "best line alone", "MPTCP"]
    assert {"mix4 cubic", "0.90", "goal 0.95"} <= set(said)


def test_nothing_leaves_the_picture() -> None:
    picture = chart("shares", [("lucky", 1.25, {"best line alone": 1.3}), *BARS], 0.95)

    width = float(ET.fromstring(picture).get("width", ""))
    for colour in ("#47a", "black"):
        assert all(each["x"] + each["width"] < width for each in rectangles(picture, colour))


def test_any_label_is_only_text() -> None:
    assert "<b> & co" in texts(chart("<b> & co", [("<b> & co", 1.0, {"<b> & co": 1.0})], 0.95))


def test_a_chart_of_nothing_is_still_one() -> None:
    assert ET.fromstring(chart("shares", [], 0.95)).tag == f"{SVG}svg"
