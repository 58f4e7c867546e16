"""`test-mail`: a mail that tries out whether mail arrives."""

from pycron.control.access import Refusal, user_of
from pycron.control.context import Context
from pycron.control.handlers import handles
from pycron.control.operations import start_by_hand
from pycron.control.server import Peer
from pycron.engine.delivery_jobs import mail_job
from pycron.model.delivery import Mail, Occasion
from pycron.model.job import Job, Source, digest
from pycron.model.settings import Settings
from pycron.protocol.control_answers import TestMailAnswer
from pycron.protocol.control_messages import TestMailRequest
from pycron.schedule.expressions import NoSchedule


@handles(TestMailRequest)
def test_mail(context: Context, peer: Peer, request: TestMailRequest) -> TestMailAnswer:
    user = request.user or user_of(peer)
    context.access.check_may_change(peer, user)
    if context.config().mail_transport == "none":
        raise Refusal("mail is off: mail.transport is none (pycron.toml(5))")
    if no_mail := context.info().no_mail:
        raise Refusal(f"no mail can be sent: {no_mail}")
    live = start_by_hand(context, peer, _job(user), force=False)
    return {"run_id": str(live.run)}


def _job(user: str) -> Job:
    """The Job that sends a mail to a user, as that user."""
    tested = Job(
        id=digest("test-mail", user),
        name="test",
        source=Source(user, user),
        line=0,
        user=user,
        schedule=NoSchedule(),
        command="",
        stdin=None,
        environment=(),
        settings=Settings(),
    )
    return mail_job(tested, Occasion.TEST, Mail((user,), user))
