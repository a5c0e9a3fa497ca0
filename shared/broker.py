"""The one place that configures Celery, for both of its sides."""

from __future__ import annotations

import base64
import json
from typing import Any

from celery import Celery
from kombu import Queue, serialization

from shared import redis_transport
from shared.contract import QUEUE_INSPECT, TASK_INSPECT, InspectJob
from shared.settings import Settings
from shared.tracing import sending

#: seconds; with kombu's defaults whoever publishes to or acknowledges at a Redis that accepts but
#: never answers hangs for ever. The worker's blocking pop is not bound by it: it is polled.
_SOCKET_TIMEOUT_S = 5
#: RabbitMQ's; Redis has none
_HEARTBEAT_S = 60


def celery_app(settings: Settings, *, results: bool) -> Celery:
    """Who sends passes `results=False`: a backend would SUBSCRIBE a channel for each task.

    The worker passes True; results are Celery's own, so any Celery client can read them.
    """
    redis_transport.install()
    app = Celery(
        "scratch",
        broker=settings.broker_url or settings.redis_url,
        backend=settings.redis_url if results else None,
        set_as_current=results,
    )
    app.conf.update(
        task_serializer="json",
        result_serializer="json",
        event_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        task_queues=[Queue(QUEUE_INSPECT)],
        task_default_queue=QUEUE_INSPECT,
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_deduplicate_successful_tasks=False,  # our task is idempotent; saves a GET each
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_remote_control=True,
        worker_send_task_events=True,
        result_expires=settings.result_ttl_s,
        redis_socket_timeout=_SOCKET_TIMEOUT_S,
        redis_socket_connect_timeout=_SOCKET_TIMEOUT_S,
        result_backend_transport_options={"retry_policy": {"max_retries": 8}},
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,  # a Redis that is full or read-only for a while
        # Nobody would answer heartbeats on the idle connections of who only sends.
        broker_heartbeat=_HEARTBEAT_S if results else 0,
        broker_transport_options=_transport_options(settings, sends=not results),
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_max": 0.2},
    )
    return app


def _transport_options(settings: Settings, *, sends: bool) -> dict[str, Any]:
    if (settings.broker_url or settings.redis_url).startswith(("amqp", "pyamqp")):
        # RabbitMQ itself gives back at once what a lost connection had not acknowledged.
        timeouts = {"read_timeout": _SOCKET_TIMEOUT_S, "write_timeout": _SOCKET_TIMEOUT_S}
        return {
            "confirm_publish": True,
            "connect_timeout": _SOCKET_TIMEOUT_S,
            **(timeouts if sends else {}),
        }
    return {
        "priority_steps": [0],  # ours have none, and each step is one more list to wait at
        "socket_timeout": _SOCKET_TIMEOUT_S,
        "socket_connect_timeout": _SOCKET_TIMEOUT_S,
    }


def send(app: Celery, job: InspectJob) -> None:
    """Puts a job into the queue; blocks. Raises OperationalError, RedisError or OSError."""
    # Never ignore_result: it travels with the message, and the worker would store nothing.
    with sending(TASK_INSPECT, job.id) as headers:
        app.send_task(TASK_INSPECT, queue=QUEUE_INSPECT, headers=headers, **_task(job))


def queue_entry(app: Celery, job: InspectJob) -> str:
    """What `send` would push on the list QUEUE_INSPECT of Redis: kombu's envelope of the message.

    For who writes to that Redis anyway: the message then goes with what else is written.
    """
    with sending(TASK_INSPECT, job.id) as headers:
        message = app.amqp.as_task_v2(name=TASK_INSPECT, **_task(job))
    content_type, encoding, body = serialization.dumps(message.body, "json")
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-encoding": encoding,
            "content-type": content_type,
            "headers": {**message.headers, **headers},
            "properties": {
                **message.properties,
                "body_encoding": "base64",
                "delivery_info": {"exchange": "", "routing_key": QUEUE_INSPECT},
                "delivery_mode": 2,
                "delivery_tag": job.id,
                "priority": 0,
            },
        }
    )


def _task(job: InspectJob) -> dict[str, Any]:
    return {
        "task_id": job.id,
        "kwargs": {"job": job.encode()},
        "argsrepr": "()",
        "kwargsrepr": f"{job.size} bytes, sha256 {job.sha256}",  # what Flower shows
    }
