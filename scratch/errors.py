"""What can go wrong, as one family."""

from __future__ import annotations


class ScratchError(Exception):
    """Something went wrong. `code` is stable and meant for programs."""

    code = "scratch_error"


class ServiceUnreachable(ScratchError):
    """Nothing answers at the address, also when asked again."""

    code = "service_unreachable"


class NotTheService(ScratchError):
    """What answers is not the scratch detector: a proxy's page, or another program."""

    code = "not_the_service"


class TimedOut(ScratchError):
    """There is no answer yet; the task goes on."""

    code = "timed_out"


class Refused(ScratchError):
    """The service's own error, with its code: see its `problem+json`."""

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        #: of HTTP; None for a task that was accepted and failed
        self.status = status


class BadSignature(ScratchError):
    """A webhook that is not from the service, was changed on its way, or is old."""

    code = "bad_signature"
