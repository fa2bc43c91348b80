"""The example programs run as they are printed, and without any privilege."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
EXAMPLE = PROJECT / "examples" / "library.py"


def test_the_example_runs() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": str(PROJECT), "PATH": ""},
    )

    assert done.stderr == ""
    assert done.stdout == "vps answers HELLO\nvps answers MULTIWANBOND\nover 3 paths\n"


@pytest.mark.parametrize("page", ["README.md", "docs/library.md"])
def test_what_the_pages_show_compiles(page: str) -> None:
    shown = re.findall(r"```python\n(.*?)```", (PROJECT / page).read_text(), re.DOTALL)

    assert shown
    for text in shown:
        compile(text, page, "exec")


def test_the_example_is_what_the_documentation_prints() -> None:
    page = (PROJECT / "docs" / "library.md").read_text()

    assert EXAMPLE.read_text() in page


def test_importing_the_package_alone_is_cheap() -> None:
    program = "import multiwanbond, sys; print('trio' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PROJECT
    )

    assert done.stdout == "False\n"
