"""A reader of pickles that can execute nothing: a stack machine over the opcodes of plain data.

Python's own unpickler imports whatever a pickle names and calls it. This one knows numbers, words,
bytes, lists, maps, a given list of names, and calls of those names that are functions of ours. Any
other opcode and any other name is refused. Memory and time are bounded by the pickle's length: an
opcode makes one object at most, and nothing walks into what it made.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from minidl.files.words import is_count, shown
from minidl.ir import ArgumentError

Name = tuple[str, str]
"""A module and what it is called there."""


@dataclass(frozen=True, slots=True)
class Word:
    """A name of the list, as a value."""

    module: str
    name: str


Calls = Mapping[Name, Callable[..., object]]
States = Mapping[type, Callable[[Any, object], None]]
Persistent = Callable[[object], object]


def no_persistent(described: object) -> object:
    """For pickles that refer to nothing outside of them."""
    raise ArgumentError("its pickle refers to something outside of it: refused")


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a pickle may say: its reader's choice. All that is called must be quick, and keep what
    it is given rather than copy it."""

    calls: Calls
    """What may be called, and what is called in its place."""
    words: frozenset[Name] = frozenset()
    """Names that may stand as values."""
    objects: Calls = field(default_factory=dict)
    """What may be made without arguments and without being called (NEWOBJ), and what is in its
    place."""
    states: States = field(default_factory=dict)
    """By type, what takes the state of a value that such a call has made."""
    persistent: Persistent = no_persistent
    """What a persistent id stands for."""
    longest: int = 16 * 2**20
    """Bytes of a pickle at most."""
    hint: str = ""
    """The way out where another name is in it."""


def read_pickle(data: bytes, allowed: Allowed) -> Any:
    """The value that a pickle describes; ArgumentError where more is in it than is allowed."""
    if len(data) > allowed.longest:
        raise ArgumentError(f"its pickle has {len(data):,} bytes, {allowed.longest:,} are allowed")
    machine = _Machine(allowed)
    for opcode, argument, position in _opcodes(data):
        if opcode == "STOP":
            if position + 1 != len(data) or len(machine.stack) != 1:
                raise ArgumentError("its pickle leaves something over")
            return machine.pop()
        machine.execute(opcode, argument, first=position == 0)
    raise ArgumentError("its pickle has no end")


def _opcodes(data: bytes) -> Iterator[tuple[str, Any, int]]:
    """Name, argument and position of every opcode; nothing of the pickle is executed."""
    found = pickletools.genops(data)
    while True:
        try:
            opcode, argument, position = next(found)
        except StopIteration:
            return
        except (ValueError, OverflowError, IndexError) as error:
            raise ArgumentError(f"its pickle is damaged: {shown(str(error))}") from None
        yield opcode.name, argument, position or 0


class _Machine:
    def __init__(self, allowed: Allowed) -> None:
        self.allowed = allowed
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def execute(self, opcode: str, argument: Any, first: bool) -> None:
        if first != (opcode == "PROTO"):
            raise ArgumentError(
                "its pickle does not begin with its protocol, once: 0 and 1 are not allowed"
            )
        if opcode in CONSTANTS:
            self.stack.append(CONSTANTS[opcode])
        elif opcode in LITERALS:
            self.stack.append(argument)
        elif opcode in OPCODES:
            OPCODES[opcode](self, argument)
        else:
            about = f" {shown(argument)}" if isinstance(argument, str) else ""
            raise ArgumentError(
                f"its pickle uses {opcode}{about}, which plain data does not need: refused"
            )

    # -- the stack -------------------------------------------------------------------------------

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is MARK:
            raise ArgumentError("its pickle takes what is not there")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is MARK:
                found = self.stack[i + 1 :]
                del self.stack[i:]
                return found
        raise ArgumentError("its pickle has no mark to go back to")

    def top(self, kind: type) -> Any:
        """The value that is changed in place, which must be of that kind."""
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise ArgumentError(f"its pickle changes what is no {kind.__name__}")
        return self.stack[-1]

    # -- opcodes ---------------------------------------------------------------------------------

    def protocol(self, version: int) -> None:
        if not 2 <= version <= 5:
            raise ArgumentError(f"its pickle has protocol {version}: 2 to 5 are read")

    def tuple_of(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(items)))

    def dict_of_marked(self) -> None:
        items = self.pop_to_mark()
        self.stack.append({})
        self.set_items(items)

    def append(self, items: list[Any]) -> None:
        self.top(list).extend(items)

    def set_items(self, items: list[Any]) -> None:
        """Keys are words and small numbers: others can be made to hash slowly, or alike."""
        if len(items) % 2:
            raise ArgumentError("its pickle has a key without a value")
        target = self.top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (str, bytes) and not (is_count(key) and key < 2**31):
                raise ArgumentError(f"its pickle has a key of type {type(key).__name__}: refused")
            target[key] = value

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def word(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ArgumentError("its pickle names something by what is no word: refused")
        known = self.allowed.calls, self.allowed.words, self.allowed.objects
        if not any((module, name) in names for names in known):
            raise ArgumentError(
                f"its pickle names {shown(f'{module}.{name}')}, which is not allowed: refused; "
                "nothing was executed",
                self.allowed.hint,
            )
        self.stack.append(Word(module, name))

    def stacked_word(self) -> None:
        name, module = self.pop(), self.pop()
        self.word(module, name)

    def reduce(self) -> None:
        self.stack.append(self.call(self.allowed.calls))

    def new(self) -> None:
        if self.stack and isinstance(self.stack[-1], tuple) and self.stack[-1]:
            raise ArgumentError("its pickle makes an object of arguments: refused")
        self.stack.append(self.call(self.allowed.objects))

    def call(self, calls: Calls) -> object:
        """What stands for a name, given the arguments above it."""
        arguments, function = self.pop(), self.pop()
        pair = (function.module, function.name) if isinstance(function, Word) else None
        if pair is None or pair not in calls or not isinstance(arguments, tuple):
            about = f"{function.module}.{function.name}" if pair else function
            raise ArgumentError(f"its pickle calls {shown(about)}, which is not allowed: refused")
        return calls[pair](*arguments)

    def build(self) -> None:
        state, value = self.pop(), self.top(object)
        take = self.allowed.states.get(type(value))
        if take is None:
            raise ArgumentError("its pickle sets the state of what has none: refused")
        take(value, state)

    def put(self, index: int) -> None:
        if not self.stack or self.stack[-1] is MARK:
            raise ArgumentError("its pickle remembers what is not there")
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise ArgumentError("its pickle recalls what it did not remember")
        self.stack.append(self.memo[index])


MARK = object()
CONSTANTS = {"MARK": MARK, "NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
LITERALS = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "SHORT_BINSTRING", "BINSTRING",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
OPCODES: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda m, version: m.protocol(version),
    "FRAME": lambda m, _: None,
    "EMPTY_DICT": lambda m, _: m.stack.append({}),
    "EMPTY_LIST": lambda m, _: m.stack.append([]),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.pop_to_mark())),
    "TUPLE1": lambda m, _: m.tuple_of(1),
    "TUPLE2": lambda m, _: m.tuple_of(2),
    "TUPLE3": lambda m, _: m.tuple_of(3),
    "LIST": lambda m, _: m.stack.append(m.pop_to_mark()),
    "DICT": lambda m, _: m.dict_of_marked(),
    "APPEND": lambda m, _: m.append([m.pop()]),
    "APPENDS": lambda m, _: m.append(m.pop_to_mark()),
    "SETITEM": lambda m, _: m.set_item(),
    "SETITEMS": lambda m, _: m.set_items(m.pop_to_mark()),
    "BINPUT": lambda m, index: m.put(index),
    "LONG_BINPUT": lambda m, index: m.put(index),
    "MEMOIZE": lambda m, _: m.put(len(m.memo)),
    "BINGET": lambda m, index: m.get(index),
    "LONG_BINGET": lambda m, index: m.get(index),
    "GLOBAL": lambda m, pair: m.word(*pair.split(" ", 1)),
    "STACK_GLOBAL": lambda m, _: m.stacked_word(),
    "REDUCE": lambda m, _: m.reduce(),
    "NEWOBJ": lambda m, _: m.new(),
    "BUILD": lambda m, _: m.build(),
    "BINPERSID": lambda m, _: m.stack.append(m.allowed.persistent(m.pop())),
}
"""What plain data needs; INST, OBJ, NEWOBJ_EX, EXT, POP, DUP and all others are refused."""
