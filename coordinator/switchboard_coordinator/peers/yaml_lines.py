"""YAML that remembers where everything stood, so that a mistake can be shown by line and key. Pure.

Plain YAML only: keys are text as it is written (a peer may be called `no`), a key stands once, and there are no
aliases: what applies to a peer is written at that peer.
"""

from typing import Any

import yaml

Path = tuple[str | int, ...]


class YamlError(Exception):
    """The text is no such YAML. `line` counts from 1."""

    def __init__(self, line: int, words: str) -> None:
        super().__init__(words)
        self.line = line
        self.words = words


class Document:
    """One YAML document: its plain value, and the line of every key and list entry."""

    def __init__(self, text: str) -> None:
        """Read the text.

        Raises:
            YamlError: the syntax is broken.
        """
        self.repeated: list[tuple[Path, int]] = []
        """Keys that stand once more, each with the line of the repetition; the first one counts."""
        self._lines: dict[Path, int] = {}
        try:
            self._loader = _Loader(text)
            node = self._loader.get_single_node()
            self.value: Any = self._plain(node, ()) if node else None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise YamlError(mark.line + 1 if mark else 1, error.problem or "cannot be read") from None
        except yaml.YAMLError as error:
            raise YamlError(1, f"cannot be read as text: {getattr(error, 'reason', error)}") from None

    def line(self, path: Path) -> int:
        """Where the key or entry stands; where it is missing, the line of what should hold it."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def _plain(self, node: yaml.Node, path: Path) -> Any:
        self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(entry, (*path, index)) for index, entry in enumerate(node.value)]
        try:
            return self._loader.construct_object(node)
        except ValueError:  # what looks like a date and is none
            return node.value

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be text", problem_mark=key.start_mark)
            place = (*path, key.value)
            if key.value in mapping:
                self.repeated.append((place, key.start_mark.line + 1))
                continue
            self._lines[place] = key.start_mark.line + 1
            mapping[key.value] = self._plain(value, place)
        return mapping


class _Loader(yaml.SafeLoader):
    """Aliases are refused: they may point at what holds them, and double in size at every step."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # types-pyyaml has no types for it
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not taken: write it out", problem_mark=mark)
        return super().compose_node(parent, index)
