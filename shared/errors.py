"""The one family of errors that users and operators meet. Each class carries a stable `code`.

ServiceError
├── UploadError: the request could not be read
│   ├── BrokenUpload · EmptyUpload · UploadTooLarge · UploadTooSlow · KeyReused
│   ├── CallbackRefused
├── ImageError: the bytes are not an image we can judge; final, never retried
│   ├── UnsupportedImage · ImageTooLarge · CorruptImage · UnsupportedPixels
├── TaskError: the task cannot be found or finished
│   ├── TaskNotFound · HeatmapNotFound · ImageNotKept · TaskNotCancellable · TaskCancelled
│   ├── TaskTimedOut · UploadLost · NoAnswerYet
│   ├── BadMessage · PoisonImage · InferenceFailed · InternalError
├── Unavailable: try again later
│   ├── Overloaded · StorageFull · DeadlineUnreachable · RateLimited · BrokerUnavailable
│   ├── CallbacksFull · HistoryUnavailable
├── LinkError: a link in a mail says nothing
│   ├── LinkInvalid · LinkExpired · LinkUsed
├── Unauthorized: an API key is needed
├── NotReviewer: an API key of somebody else is needed
├── AccessError: the API keys or addresses are not as they must be; the api must not start
└── CheckpointError: the model directory is not what its manifest says; the worker must not start

No HTTP status lives here: `api/errors.py` holds the table.
"""

from __future__ import annotations

from typing import ClassVar


class ServiceError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        super().__init__(self.message)


class UploadError(ServiceError):
    """The upload could not be read."""

    code = "broken_upload"


class BrokenUpload(UploadError):
    """The request is not a multipart form with an image in the field `file`."""

    code = "broken_upload"


class EmptyUpload(UploadError):
    """The uploaded file is empty."""

    code = "empty_upload"


class UploadTooLarge(UploadError):
    """The upload is larger than this service accepts."""

    code = "upload_too_large"


class KeyReused(UploadError):
    """This idempotency key was used for another image."""

    code = "idempotency_key_reused"


class CallbackRefused(UploadError):
    """This service does not send answers to that `callback_url`."""

    code = "callback_refused"


class UploadTooSlow(UploadError):
    """The upload came too slowly, or stopped."""

    code = "upload_too_slow"


class ImageError(ServiceError):
    """The image cannot be judged."""

    code = "bad_image"


class UnsupportedImage(ImageError):
    """The file is not an image in a format this service reads."""

    code = "unsupported_image"


class ImageTooLarge(ImageError):
    """The image has more pixels than this service accepts."""

    code = "image_too_large"


class CorruptImage(ImageError):
    """The image is truncated or damaged."""

    code = "corrupt_image"


class UnsupportedPixels(ImageError):
    """The image's pixel format has no defined meaning here."""

    code = "unsupported_pixels"


class TaskError(ServiceError):
    """The task failed."""

    code = "task_failed"


class TaskNotFound(TaskError):
    """No such task: the id is unknown or its result has expired."""

    code = "task_not_found"


class HeatmapNotFound(TaskNotFound):
    """No heatmap: the task has none yet, has expired, or was not uploaded with `?explain=true`."""

    code = "heatmap_not_found"


class ImageNotKept(TaskNotFound):
    """No image: the task is unknown, or its image is not in the history."""

    code = "image_not_kept"


class NoAnswerYet(TaskError):
    """The task has no prediction that could be right or wrong."""

    code = "no_answer"


class TaskNotCancellable(TaskError):
    """The task has already started or finished."""

    code = "task_not_cancellable"


class TaskCancelled(TaskError):
    """The task was cancelled before it started."""

    code = "task_cancelled"


class TaskTimedOut(TaskError):
    """The task did not finish before its deadline."""

    code = "task_timed_out"


class UploadLost(TaskError):
    """The uploaded image expired before a worker could read it."""

    code = "upload_lost"


class BadMessage(TaskError):
    """The queued message does not have the expected shape."""

    code = "bad_message"


class PoisonImage(TaskError):
    """Workers died while they processed this image; it will not be tried again."""

    code = "poison_image"


class InferenceFailed(TaskError):
    """The model could not process this image."""

    code = "inference_failed"


class InternalError(TaskError):
    """An unexpected error; the operator has been told."""

    code = "internal_error"


class Unavailable(ServiceError):
    """The service cannot take this now."""

    code = "unavailable"

    def __init__(self, message: str | None = None, *, retry_after_s: int = 2) -> None:
        super().__init__(message)
        #: what a client should wait before it tries again, in seconds
        self.retry_after_s = retry_after_s


class Overloaded(Unavailable):
    """The queue is full."""

    code = "queue_full"


class StorageFull(Unavailable):
    """There is no room for another image."""

    code = "storage_full"


class DeadlineUnreachable(Unavailable):
    """The answer would come after the deadline of this request."""

    code = "deadline_unreachable"


class RateLimited(Unavailable):
    """This client has had its share for now."""

    code = "rate_limited"


class CallbacksFull(Unavailable):
    """Too many callbacks wait for their receivers; an upload without one is taken."""

    code = "callbacks_full"


class BrokerUnavailable(Unavailable):
    """The task queue does not answer."""

    code = "broker_unavailable"


class LinkError(ServiceError):
    """This link says nothing."""

    code = "link_error"


class LinkInvalid(LinkError):
    """This is not a link of ours, or no longer."""

    code = "link_invalid"


class LinkExpired(LinkError):
    """This link is more than a week old."""

    code = "link_expired"


class LinkUsed(LinkError):
    """This link has been used: its word is recorded."""

    code = "link_used"


class HistoryUnavailable(Unavailable):
    """The history of images and labels does not answer."""

    code = "history_unavailable"


class NotReviewer(ServiceError):
    """This API key may not look through kept images; SCRATCH_REVIEWERS names those that may."""

    code = "not_a_reviewer"


class Unauthorized(ServiceError):
    """A valid API key is needed, as `Authorization: Bearer KEY` or `X-API-Key: KEY`."""

    code = "unauthorized"


class AccessError(ServiceError):
    """The API keys cannot be used."""

    code = "bad_access"


class CheckpointError(ServiceError):
    """The checkpoint cannot be used."""

    code = "bad_checkpoint"


def _family(root: type[ServiceError]) -> dict[str, type[ServiceError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found |= _family(child)
    return found


def error_for(code: str, message: str) -> ServiceError:
    """The error that a recorded failure stands for; an unknown code is an internal error."""
    return _family(ServiceError).get(code, InternalError)(message)
