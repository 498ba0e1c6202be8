"""The model: the time of a launch is the longest of what its blocks do on the multiprocessors, of
the L2 and of the memory, and the launch itself.

Blocks run in rounds: a multiprocessor has as many at a time as fit, and as many in all as the most
loaded one gets. In a stage of a main loop tensor cores, issue slots, shared memory and the way from
the L2 overlap, but not wholly: with one block on a multiprocessor they wait for each other at the
barrier. More of anything that a card has never makes it slower.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from minidl.ir.card import Card
from minidl.roofline.constants import CONSTANTS, Constants
from minidl.roofline.counts import WAVEFRONT
from minidl.roofline.work import Reread, Stages, Work

TENSOR, UNITS, ISSUE, SHARED, L2 = "tensor cores", "float32 units", "issue", "shared memory", "L2"
LATENCY, DRAM, LAUNCH = "latency", "DRAM", "launch"
BOUNDS = (TENSOR, UNITS, ISSUE, SHARED, L2, DRAM, LATENCY, LAUNCH)
"""What a launch can be bound by."""

SYSTEM = 1024
"""Bytes of shared memory of each block that the system keeps."""
UNIT_OF_REGISTERS = 256
"""A warp's registers are given in multiples of it."""


@dataclass(frozen=True)
class Time:
    """How long a launch takes, as predicted."""

    seconds: float
    bound: str
    """One of `BOUNDS`."""
    parts: Mapping[str, float]
    """Seconds that each resource is busy at least, by its name in `BOUNDS`."""


def resident(work: Work, card: Card) -> int:
    """Blocks of the launch that a multiprocessor has room for; at least one."""
    chip = card.limits
    of_a_warp = -(-work.registers * 32 // UNIT_OF_REGISTERS) * UNIT_OF_REGISTERS
    fits = (
        chip.threads // work.threads,
        chip.blocks,
        chip.registers // (of_a_warp * work.warps),
        chip.shared // (work.shared + SYSTEM),
    )
    return max(1, min(fits))


def stage_clocks(
    stages: Stages, warps: int, card: Card, constants: Constants = CONSTANTS
) -> dict[str, float]:
    """Clocks of a multiprocessor that one stage of one block keeps each of its parts busy."""
    chip, tensor = card.limits, stages.unit != "simt"
    peak = card.peaks.of(stages.unit) * (chip.mma if tensor else 1)
    return {
        TENSOR if tensor else UNITS: stages.operations / (peak / card.multiprocessors / card.clock),
        ISSUE: stages.instructions * warps / chip.schedulers,
        SHARED: stages.wavefronts * WAVEFRONT / chip.shared_bandwidth,
        L2: stages.copied / constants.l2_port,
    }


def time_of(work: Work, card: Card, constants: Constants = CONSTANTS) -> Time:
    """How long a launch takes on a card, and what bounds it."""
    most = -(-work.blocks // card.multiprocessors)
    room = resident(work, card)
    at_once = min(room, most)
    rounds, rest = divmod(most, at_once)
    busy = _busy(work, card, constants)
    clocks = rounds * _clocks(work, card, at_once, constants)
    if rest:
        clocks += _clocks(work, card, rest, constants)
    on_multiprocessors = clocks / card.clock
    memory = _moved(work, card, room) / (card.bandwidth * constants.share(work.access))
    l2 = _through_l2(work) / card.l2_bandwidth
    parts = {name: most * each / card.clock for name, each in busy.items()}
    parts[LATENCY] = (rounds + bool(rest)) * _waiting(work, constants) / card.clock
    longest = max(on_multiprocessors, memory, l2)
    if card.launch >= longest:
        bound = LAUNCH
    elif longest == on_multiprocessors:
        bound = max(parts, key=parts.__getitem__)
    else:
        bound = DRAM if longest == memory else L2
    parts |= {L2: max(l2, parts.get(L2, 0.0)), DRAM: memory, LAUNCH: card.launch}
    return Time(card.launch + longest, bound, parts)


def _busy(work: Work, card: Card, constants: Constants) -> dict[str, float]:
    """Clocks that one block keeps each part of a multiprocessor busy."""
    found: dict[str, float] = {}
    if work.stages is not None:
        stage = stage_clocks(work.stages, work.warps, card, constants)
        found = {name: work.stages.count * clocks for name, clocks in stage.items()}
    for name, clocks in _giving(work, card).items():
        found[name] = found.get(name, 0.0) + clocks
    return found


def _clocks(work: Work, card: Card, blocks: int, constants: Constants) -> float:
    """Of a multiprocessor that has `blocks` blocks from beginning to end."""
    clocks = _waiting(work, constants) + _together(_giving(work, card), blocks, constants)
    if work.stages is not None:
        stage = stage_clocks(work.stages, work.warps, card, constants)
        clocks += work.stages.count * _together(stage, blocks, constants)
    return clocks


def _together(busy: Mapping[str, float], blocks: int, constants: Constants) -> float:
    """Clocks of so many blocks side by side that keep each part busy so long, and overlap."""
    p = min(constants.overlap + blocks - 1, constants.most_overlap)
    return float(blocks * sum(each**p for each in busy.values()) ** (1 / p))


def _waiting(work: Work, constants: Constants) -> float:
    """Clocks in which a block waits for memory and nothing else happens in it."""
    if work.stages is None:
        return 0.0
    rounds = work.epilogue.rounds if work.epilogue is not None else 0
    return constants.fill + rounds * constants.latency


def _giving(work: Work, card: Card) -> dict[str, float]:
    """Clocks that a block's epilogue keeps each part of a multiprocessor busy."""
    epilogue, chip = work.epilogue, card.limits
    if epilogue is None:
        return {}
    return {
        ISSUE: epilogue.instructions * work.warps / chip.schedulers,
        SHARED: epilogue.wavefronts * WAVEFRONT / chip.shared_bandwidth,
    }


def _moved(work: Work, card: Card, room: int) -> float:
    """Bytes between memory and the chip; `room` of a multiprocessor for blocks."""
    return work.moved + (_reread(work.reread, card, room) if work.reread else 0)


def _reread(reread: Reread, card: Card, room: int) -> int:
    """Bytes that the L2 has not kept until the next pass takes them; of passes that run side by
    side one reads."""
    if reread.kept <= card.l2:
        return 0
    together = max(1, card.multiprocessors * room // reread.tiles)
    return (-(-reread.passes // together) - 1) * reread.nbytes * reread.parts


def _through_l2(work: Work) -> float:
    """Bytes that all blocks take from the L2, and give to it."""
    copied = work.stages.count * work.stages.copied * work.blocks if work.stages else 0
    return copied + work.moved
