"""Collects what is wrong with a file, so that the operator hears all of it at once."""

from typing import NamedTuple

from multiwanbond.errors import ConfigError, ConfigFileError

from .origin import Mark, Origin


class _Problem(NamedTuple):
    key: str
    mark: Mark | None
    text: str
    remedy: str


class Problems:
    """The complaints about one file."""

    def __init__(self) -> None:
        self._found: list[_Problem] = []

    def add(self, key: str, text: str, remedy: str, *, mark: Mark | None = None) -> None:
        """Complain about a key.

        Args:
            key: dotted name, such as "wans[1].interface"; "" for the file as a whole.
            text: what is wrong, with the value quoted, without a full stop; likewise `remedy`.
            mark: where, if that is not where the key's value stands.
        """
        self._found.append(_Problem(key, mark, text, remedy))

    def add_consequence(
        self, key: str, text: str, remedy: str, *, depends_on: tuple[str, ...] = ()
    ) -> None:
        """Complain about how keys fit together, unless one of them is wrong by itself.

        A value that could not be read counts as absent, and complaining about that would mislead.
        """
        related = (key, *depends_on)
        wrong = [found.key for found in self._found]
        if not any(is_part_of(a, b) or is_part_of(b, a) for a in wrong for b in related):
            self.add(key, text, remedy)

    def raise_if_any(self, origin: Origin) -> None:
        """Raise ConfigFileError with every complaint, from the top of the file to its end."""
        if not self._found:
            return
        by_place = sorted(self._found, key=lambda problem: self._place(problem, origin))
        raise ConfigFileError([_to_error(problem, origin) for problem in by_place])

    @staticmethod
    def _place(problem: _Problem, origin: Origin) -> Mark:
        return problem.mark or origin.mark_of(problem.key) or Mark(0, 0)


def is_part_of(key: str, whole: str) -> bool:
    """Say whether `key` is `whole` or within it."""
    return key == whole or key.startswith((f"{whole}.", f"{whole}["))


def _to_error(problem: _Problem, origin: Origin) -> ConfigError:
    where = origin.where(problem.key) if problem.mark is None else origin.at(problem.mark)
    subject = f"{problem.key}: " if problem.key else ""
    return ConfigError(where, _sentence(f"{subject}{problem.text}"), _sentence(problem.remedy))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?")) else f"{text}."
