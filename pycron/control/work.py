"""`serve` and `work`: what `pycron worker` asks of the daemon of its host.

A worker has no rights beyond these requests. Its messages come from the broker, to which others may
write, too: what they say is checked against the configuration here, and against the row by the
database.
"""

import re
import time

from pycron.control.access import Refusal
from pycron.control.channel import Channel
from pycron.control.context import ClusterAccess, Context
from pycron.control.handlers import handles
from pycron.control.server import Peer
from pycron.control.workers import Worker, refused, why_not_allowed
from pycron.crontab.identity import shared_run
from pycron.engine.shared_events import WorkWanted
from pycron.model.setting_values import NAME_PATTERN
from pycron.model.shared import SharedKey
from pycron.protocol.work_messages import ServeAnswer, ServeRequest, WorkAnswer, WorkRequest

_MOST_QUEUES = 100  # that a worker may serve
_MOST_SLOTS = 10_000
_MOST_ATTEMPTS = 1_000_000
_FARTHEST = 86_400  # seconds that a fire time may be ahead


@handles(ServeRequest)
def serve(context: Context, peer: Peer, request: ServeRequest) -> Channel[ServeAnswer]:
    cluster = _cluster_for(context, peer)
    queues = tuple(request.queues.split(","))
    if len(queues) > _MOST_QUEUES or not all(map(_is_name, queues)):
        raise Refusal(f'bad queues: "{request.queues}" (names with commas)')
    slots = min(max(1, request.slots), _MOST_SLOTS)
    return cluster.workers.serve(Worker(peer.pid, queues, request.version, slots))


@handles(WorkRequest)
def work(context: Context, peer: Peer, request: WorkRequest) -> Channel[WorkAnswer]:
    cluster = _cluster_for(context, peer)
    shared = SharedKey(request.owner, request.name, request.fire_time)
    _check_key(context, request)
    run = shared_run(request.cluster, shared)
    key = run, request.attempt
    workers = cluster.workers
    if workers.is_waited_for(key) and not request.resume:
        return _refuse("it is known here already")
    reason = why_not_allowed(context.config(), request.owner, request.queue)
    if reason is not None:
        workers.note_refusal(request.queue, request.name, request.owner, reason)
        cluster.refuse(shared, request.attempt, reason)
        return _refuse(reason)
    channel = workers.wait(key)
    context.feed(WorkWanted(shared, request.attempt, request.queue, request.resume))
    return channel


def _cluster_for(context: Context, peer: Peer) -> ClusterAccess:
    """The cluster, for a worker. Raises Refusal."""
    if not context.access.is_worker(peer):
        account = context.config().worker_account
        raise Refusal(f"only {account} and root may be workers (worker.account)")
    if context.cluster is None or not context.engine.shared.is_on:
        raise Refusal("this host is in no cluster ([cluster] of pycron.toml)")
    return context.cluster


def _check_key(context: Context, request: WorkRequest) -> None:
    """Raises Refusal for a message that no agent of this cluster has sent."""
    if request.cluster != context.engine.shared.cluster:
        raise Refusal(f'the message is of the cluster "{request.cluster}"')
    sound = (
        _is_name(request.name)
        and _is_name(request.queue)
        and 0 < len(request.owner) <= 255
        and request.fire_time <= time.time() + _FARTHEST
        and request.attempt <= _MOST_ATTEMPTS
    )
    if not sound:
        raise Refusal("the message names a Run that cannot be")


def _is_name(text: str) -> bool:
    return re.fullmatch(NAME_PATTERN, text, re.ASCII) is not None


def _refuse(reason: str) -> Channel[WorkAnswer]:
    channel: Channel[WorkAnswer] = Channel(lambda _: None)
    channel.say(refused(reason), last=True)
    return channel
