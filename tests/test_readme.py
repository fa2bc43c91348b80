"""What the README and the pages beside it point to is there."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
LINK = re.compile(r"\[([^\]]*)\]\(([^)#:]+)\)")
TEST = re.compile(r"\btest_[a-z0-9_]+\b")


def links(page: Path) -> list[tuple[str, Path]]:
    """The text and the file of every link within the project."""
    return [(text, page.parent / target) for text, target in LINK.findall(page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_points_to_is_there(page: Path) -> None:
    missing = [str(target) for _, target in links(page) if not target.exists()]

    assert missing == []


def test_every_test_that_the_readme_names_is_there() -> None:
    named = [
        (name, target)
        for text, target in links(PROJECT / "README.md")
        if target.suffix == ".py"
        for name in TEST.findall(text.replace(target.name.removesuffix(".py"), ""))
    ]

    assert len(named) > 50
    for name, target in named:
        assert re.search(rf"\bdef {name}\b", target.read_text()), f"{target.name} has no {name}"
