"""Minimum cuts in small networks: Dinic's method on plain lists."""

from __future__ import annotations

from collections import deque

SOURCE, SINK = 0, 1

ENDLESS = 1 << 62
"""More than all bytes of a step together: what no minimum cut goes through."""


class Flow:
    """A network from SOURCE to SINK, and the largest flow through it (Dinic 1970)."""

    def __init__(self) -> None:
        self._out: list[list[int]] = [[], []]
        """By node, its edges: 2k and 2k + 1 are each other's way back."""
        self._to: list[int] = []
        self._room: list[int] = []
        self.steps = 0
        """Edges that were looked at, about: what it cost."""

    def node(self) -> int:
        self._out.append([])
        return len(self._out) - 1

    def edge(self, a: int, b: int, room: int = ENDLESS) -> None:
        self._out[a].append(len(self._to))
        self._out[b].append(len(self._to) + 1)
        self._to += b, a
        self._room += room, 0

    def run(self) -> int:
        """The largest flow, which is the least cut."""
        total = 0
        level = self._levels()
        while level[SINK] >= 0:
            total += self._blocking(level)
            level = self._levels()
        return total

    def from_source(self) -> list[bool]:
        """By node, whether it is on the source's side of every minimum cut."""
        return [level >= 0 for level in self._levels()]

    def to_sink(self) -> list[bool]:
        """By node, whether it is on the sink's side of every minimum cut."""
        found = [False] * len(self._out)
        found[SINK], stack = True, [SINK]
        while stack:
            for e in self._out[stack.pop()]:
                if self._room[e ^ 1] and not found[self._to[e]]:
                    found[self._to[e]] = True
                    stack.append(self._to[e])
        return found

    def _levels(self) -> list[int]:
        """By node, its distance from the source through edges with room; -1: none."""
        out, to, room = self._out, self._to, self._room
        self.steps += len(to)
        level = [-1] * len(out)
        level[SOURCE] = 0
        queue = deque([SOURCE])
        while queue:
            a = queue.popleft()
            for e in out[a]:
                if room[e] and level[to[e]] < 0:
                    level[to[e]] = level[a] + 1
                    queue.append(to[e])
        return level

    def _blocking(self, level: list[int]) -> int:
        """Flow along shortest ways until each has an edge without room."""
        out, to, room = self._out, self._to, self._room
        self.steps += len(to)
        total, at, a = 0, [0] * len(out), SOURCE
        """`at`: by node, its edges before that one lead nowhere any more."""
        way: list[int] = []
        while True:
            while a != SINK:
                edges, k, below = out[a], at[a], level[a] + 1
                while k < len(edges) and not (room[edges[k]] and level[to[edges[k]]] == below):
                    k += 1
                at[a] = k
                if k < len(edges):
                    way.append(edges[k])
                    a = to[edges[k]]
                elif way:
                    a = to[way.pop() ^ 1]
                    at[a] += 1
                else:
                    return total
            least = min(room[e] for e in way)
            self.steps += len(way)
            total += least
            for e in way:
                room[e] -= least
                room[e ^ 1] += least
            full = next(k for k, e in enumerate(way) if not room[e])
            a = to[way[full] ^ 1]
            del way[full:]
