"""Puts a job into the queue of RQ workers, by RQ's own means."""

from redis import Redis
from rq import Queue
from rq.exceptions import DuplicateJobError

from pycron.sender.request import SendRequest

TIMEOUT = 10  # seconds that a connection or an answer may take


def send(request: SendRequest) -> None:
    """Put the job into the queue, unless it was put there before. Raises RedisError."""
    broker = Redis.from_url(
        request["url"], socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=None
    )
    try:
        Queue(request["queue"], connection=broker).enqueue_call(
            request["task"],
            tuple(request["arguments"]),
            request["named"],
            job_id=request["id"],
            meta=dict(request["headers"]),
            unique=True,
        )
    except DuplicateJobError:  # of an earlier Attempt, of which nobody knows how it ended
        return
