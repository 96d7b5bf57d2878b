"""Every error the mesh raises on purpose, in one tree.

    MeshError
    ├── BadRequest               the caller must change something; trying again is useless
    │   ├── BadSetting           an option, file of settings or address that cannot be read
    │   ├── UnknownModel         no model of that name in the catalogue or on disk
    │   ├── ModelNotPulled       a known model whose file is not on this device
    │   ├── ContextExceeded      prompt and answer do not fit the model's context
    │   ├── UnknownSkill         no skill of that name; says which there are
    │   ├── UnknownDevice        no device of that name in the mesh
    │   └── LastHolder           nobody could take over what a device holds, so it may not be drained
    ├── ModelError               the model's file is at fault
    │   ├── ModelCorrupt         truncated, altered or not a model at all
    │   └── UnsupportedModel     a valid file of a kind that this engine does not run
    ├── CapacityError            the devices are too small or too busy
    │   ├── InsufficientMemory   no plan fits; says how many megabytes are missing
    │   └── Busy                 full right now; says after how many seconds to try again
    │       └── UpstreamBusy     an attached server takes nothing right now
    ├── NetworkError             a peer or the path to it is at fault
    │   ├── PeerUnreachable      nobody answered there; try again later
    │   ├── ChannelClosed        the peer closed the channel, or it broke
    │   ├── NotAMesh             something answered, but not with our protocol
    │   ├── MalformedMessage     a peer sent bytes that are no message of ours
    │   ├── VersionMismatch      the peer speaks another major version
    │   ├── OtherMesh            the peer belongs to a mesh of another name
    │   ├── AddressInUse         another program listens there
    │   ├── NoDevices            nobody of this mesh was found
    │   ├── NodeLeaving          the node that was asked is about to leave; ask another
    │   ├── PullFailed           a model could not be downloaded; what came is kept for the next try
    │   ├── UpstreamUnreachable  the attached server does not answer at its address; nothing was sent
    │   ├── UpstreamRefused      it will not do what was asked: a wrong key, model or setting
    │   └── UpstreamBroken       its answer broke off, or was none
    └── SessionError             one session is broken; its node lives
        ├── UnknownSession       a frame of a session that was never opened, or is gone
        ├── StageNotLoaded       the node does not hold the span that the session needs; plan again
        ├── PositionGap          a frame starts beyond the end of the cache
        ├── ShapeMismatch        hidden states or token ids of a wrong size
        ├── StageLost            a device of the plan went away
        ├── CapacityLost         it did, and the others have no room for its layers; says what is missing
        ├── NotFinite            a layer made numbers that are none: damaged weights, or a damaged input
        ├── Stalled              no token came in time
        ├── DeadlineExceeded     the caller's own time is over
        └── InternalError        a bug on some node; its log has the traceback

Each leaf has a `code`, the name that travels on the wire, and says by `retry` whether the same
call may succeed later with nothing changed by the caller.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import ClassVar


class MeshError(Exception):
    """Root of the tree; its text is one line that says what happened and what to do."""

    code: ClassVar[str] = "mesh_error"
    retry: ClassVar[bool] = False


class BadRequest(MeshError):
    """The caller must change something."""

    code = "bad_request"


class BadSetting(BadRequest):
    """An option, file of settings or address cannot be read."""

    code = "bad_setting"


class UnknownModel(BadRequest):
    """No model of that name is known."""

    code = "unknown_model"


class ModelNotPulled(BadRequest):
    """The model is known but its file is not on this device."""

    code = "model_not_pulled"


class ContextExceeded(BadRequest):
    """Prompt and answer together do not fit the model's context."""

    code = "context_exceeded"


class UnknownSkill(BadRequest):
    """No skill of that name is known."""

    code = "unknown_skill"


class UnknownDevice(BadRequest):
    """No device of that name is in the mesh."""

    code = "unknown_device"


class LastHolder(BadRequest):
    """Nobody could take over what a device holds."""

    code = "last_holder"


class ModelError(MeshError):
    """The model's file is at fault."""

    code = "model_error"


class ModelCorrupt(ModelError):
    """The file is truncated, altered or no model at all."""

    code = "model_corrupt"


class UnsupportedModel(ModelError):
    """A valid file of an architecture or type that this engine does not run."""

    code = "unsupported_model"


class CapacityError(MeshError):
    """The devices are too small or too busy."""

    code = "capacity"


class InsufficientMemory(CapacityError):
    """No plan fits the devices' memory."""

    code = "insufficient_memory"


class Busy(CapacityError):
    """Full right now."""

    code = "busy"
    retry = True

    def __init__(self, message: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        """When it is worth trying again, in seconds, by what is known; None where nothing is."""

    def until(self, retry_after_s: float) -> Busy:
        """Return the same with the time after which to try again, in the text too; kept where it has one."""
        if self.retry_after_s is not None:
            return self
        seconds = max(1, round(retry_after_s))
        return type(self)(f"{self}; try again in about {seconds} s", float(seconds))


class UpstreamBusy(Busy):
    """An attached server takes nothing right now."""

    code = "upstream_busy"


class NetworkError(MeshError):
    """A peer, or the path to it, is at fault."""

    code = "network"
    retry = True


class PeerUnreachable(NetworkError):
    """Nobody answered at that address."""

    code = "peer_unreachable"


class ChannelClosed(NetworkError):
    """The peer closed the channel, or it broke."""

    code = "channel_closed"


class NotAMesh(NetworkError):
    """Something answered at that address, but not with the mesh's protocol."""

    code = "not_a_mesh"
    retry = False


class MalformedMessage(NetworkError):
    """A peer sent bytes that are no message of ours; its channel is closed."""

    code = "malformed_message"
    retry = False


class VersionMismatch(NetworkError):
    """The peer speaks another major version of the protocol."""

    code = "version_mismatch"
    retry = False


class OtherMesh(NetworkError):
    """The peer belongs to a mesh of another name."""

    code = "other_mesh"
    retry = False


class AddressInUse(NetworkError):
    """Another program listens at that address."""

    code = "address_in_use"
    retry = False


class NoDevices(NetworkError):
    """Nobody of this mesh was found."""

    code = "no_devices"


class NodeLeaving(NetworkError):
    """The node that was asked is about to leave."""

    code = "node_leaving"
    retry = True


class PullFailed(NetworkError):
    """A model could not be downloaded; what came so far is kept for the next try."""

    code = "pull_failed"


class UpstreamUnreachable(NetworkError):
    """Nobody answered at the address of an attached server; no part of the question was sent."""

    code = "upstream_unreachable"


class Concern(Enum):
    """What a server's refusal says something about."""

    QUESTION = auto()
    """Only what was asked: it is too long, or has a field that the server does not take."""
    MODEL = auto()
    """Whatever that model is asked."""
    SERVER = auto()
    """Whatever the server is asked: a wrong key, a redirect, nobody there."""


class UpstreamRefused(NetworkError):
    """An attached server will not do what was asked; its owner must change a key, a model or a setting."""

    code = "upstream_refused"
    retry = False

    def __init__(self, message: str = "", concern: Concern = Concern.SERVER) -> None:
        super().__init__(message)
        self.concern = concern
        """What it says something about; does not travel."""


class UpstreamBroken(NetworkError):
    """An attached server's answer broke off, or was none; part of it may have come."""

    code = "upstream_broken"


class SessionError(MeshError):
    """One session is broken; its node lives."""

    code = "session"
    retry = True


class UnknownSession(SessionError):
    """A message names a session that was never opened here, or is gone."""

    code = "unknown_session"


class StageNotLoaded(SessionError):
    """The node does not hold the span that the session needs."""

    code = "stage_not_loaded"


class PositionGap(SessionError):
    """A frame starts beyond the end of the cache."""

    code = "position_gap"


class ShapeMismatch(SessionError):
    """Hidden states or token ids have a wrong size."""

    code = "shape_mismatch"


class StageLost(SessionError):
    """A device of the plan went away."""

    code = "stage_lost"

    def __init__(self, message: str = "", lost: str | None = None) -> None:
        super().__init__(message)
        self.lost = lost
        """Id of the node, where it is known."""


class CapacityLost(SessionError):
    """A device of the plan went away, and the others have no room for its layers."""

    code = "capacity_lost"


class NotFinite(SessionError):
    """A layer made numbers that are none."""

    code = "not_finite"
    retry = False


class Stalled(SessionError):
    """No token came in time."""

    code = "stalled"


class DeadlineExceeded(SessionError):
    """The time that the caller gave is over."""

    code = "deadline_exceeded"
    retry = False


class InternalError(SessionError):
    """A bug on some node."""

    code = "internal"
    retry = False


def _leaves(root: type[MeshError]) -> list[type[MeshError]]:
    found = [root]
    for child in root.__subclasses__():
        found.extend(_leaves(child))
    return found


_BY_CODE = {error.code: error for error in _leaves(MeshError)}


def from_code(code: str, message: str, retry_after_s: float | None = None) -> MeshError:
    """Rebuild an error that travelled; a code of a newer version becomes an InternalError that names it."""
    known = _BY_CODE.get(code)
    if known is not None and issubclass(known, Busy):
        return known(message, retry_after_s)
    return known(message) if known else InternalError(f"{message} ({code})")


def retry_after_s(error: MeshError) -> float | None:
    """When it is worth trying again, as far as an error says so."""
    return error.retry_after_s if isinstance(error, Busy) else None


def first_of(group: BaseExceptionGroup[MeshError]) -> MeshError:
    """Return the first error of a TaskGroup's, for callers who expect one."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first
