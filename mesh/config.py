"""Settings of a node that are not a property of its device.

Owns the numbers that tune the mesh, each with its reason. Values are frozen; tests and scenarios make
others.
"""

from __future__ import annotations

from dataclasses import dataclass

from mesh.types import Aim, Drafting, Standby

DEFAULT_MESH = "home"
"""Name of the mesh where none is given."""

MAX_MESSAGE_BYTES = 16 * 2**20
"""Largest message on the wire. The largest we send is a frame of MAX_FRAME_POSITIONS in bf16, 8 MiB at a
hidden size of 8,192; the rest is room for float32. A peer cannot make us allot more than this."""

MAX_PADDING_BYTES = 64 * 2**10
"""In a question by which a way is measured. Twice what we send; it is dropped where it is read."""

MAX_LINKS = 32
"""Ways that a node tells of in its status, the nearest: more than a plan has stages, and below 2 KB."""

MAX_FRAME_POSITIONS = 512
"""Positions in one frame; longer prompts go in several, which also fills the pipeline."""

MAX_KEPT_BYTES = 256 * 2**20
"""What a node keeps at most of the rows that it sent on, for the case that the next hop is lost. For MiMo-7B
32,000 positions; more would hardly be asked for, and what is forgotten is only computed again."""

MAX_CONVERSATION_BYTES = 8 * 2**20
"""Text in one chat request; far more than any context holds, and fits a message with room to spare."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the mesh waits, in seconds."""

    heartbeat_interval_s: float = 1.0
    """Two small messages for each pair of nodes in that time: seldom, for the sake of batteries."""
    suspect_after_s: float = 2.0
    """One heartbeat missed, and the next is due."""
    lost_after_s: float = 3.0
    """Two heartbeats missed: a loaded device that skips one is not declared dead."""
    quick_heartbeat_s: float = 0.2
    """Between nodes that share a live session: they notice each other's silence within a second."""
    quick_suspect_s: float = 0.5
    """Silence of such a node after which it is suspect."""
    quick_lost_s: float = 0.9
    """And lost. Above two retransmissions of TCP in a row (0.2 and 0.4 s), or bad Wi-Fi would kill."""
    echo_interval_s: float = 20.0
    """Between two pairs of questions to a node by which the way to it is measured: ways seldom change."""
    flap_window_s: float = 60.0
    """A node that goes and comes again more than `flap_limit` times in that time is not reliable."""
    flap_limit: int = 2
    kept_out_s: float = 60.0
    """So long such a node is left out of new plans, counted from its last going."""
    forget_after_s: float = 120.0
    """How long a node that is gone stays on the list."""
    dial_s: float = 3.0
    """For a channel and its handshake."""
    load_s: float = 120.0
    """For a stage to be read from disk and packed: gigabytes on a slow card."""
    stall_s: float = 30.0
    """The longest wait for a token, or for a stage to get on towards it, before the answer fails."""
    close_s: float = 1.0
    """For saying goodbye."""
    linger_s: float = 3.0
    """How long a stage keeps a session whose gateway is gone: its client may turn to another one."""
    drain_s: float = 30.0
    """The longest that a node which is asked to leave waits until others have taken over."""
    told_every_s: float = 0.03
    """Text of an answer is sent so often at most: nobody reads faster, and each message costs a quarter of a
    millisecond, which a stage on the same processor lacks."""
    client_ask_s: float = 0.3
    """Silence in an answer after which its client asks the gateway for a sign of life."""
    client_lost_s: float = 0.6
    """And so long after that it turns to another gateway: both together stay below a second and below
    `linger_s`, and above two retransmissions of TCP."""


@dataclass(frozen=True, slots=True)
class Planning:
    """How models are placed."""

    context_step: int = 1024
    """A plan allots the context a request needs, rounded up to this, so that plans are stable."""
    standby: Standby = Standby.NONE
    """For which spans another node holds a warm copy."""
    aim: Aim | None = None
    """What makes a plan the best; None: throughput while many ask, else latency."""
    drafting: Drafting = Drafting.AUTO
    """How tokens are guessed, where a request says nothing of it."""
    draft_model: str | None = None
    """A small model that this gateway has guess for larger ones of its vocabulary."""
    draft_depth: int | None = None
    """So many are guessed at once, whatever that is worth; None: as many as pay."""
    draft_ahead: int | None = None
    """So many frames of guesses go ahead, whatever that is worth; None: as many as pay."""
    distrusted: frozenset[str] = frozenset()
    """Devices that the gateway never uses, by name or the first 4 or more digits of the id."""
