"""Says when the PAM service of the configuration is not set up on this machine."""

from collections.abc import Callable

from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.system.pam import has_service


def warn_of_missing_service(service: str | None, log: Callable[[Log], None]) -> None:
    """Without a file of its own, PAM lets the service `other` decide, whatever that says."""
    if service is not None and not has_service(service):
        reason = f"/etc/pam.d/{service} does not exist: PAM goes by /etc/pam.d/other instead"
        log(Log(Event.PAM_SERVICE_MISSING, {"reason": reason}, bad=True))
