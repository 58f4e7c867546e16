"""The configuration, pycron.toml: its options, their forms, and its reader.

May import: the pure folders and system.
"""

from pycron.config.configuration import Configuration, FileState
from pycron.config.options import AT_START, OPTIONS, Config, NotificationOptions
from pycron.config.reader import (
    CAPPED,
    OPEN_SECTIONS,
    ConfigError,
    ConfigUnreadable,
    read_config,
)
from pycron.config.senders import SenderOptions

__all__ = [
    "AT_START",
    "CAPPED",
    "OPEN_SECTIONS",
    "OPTIONS",
    "Config",
    "ConfigError",
    "ConfigUnreadable",
    "Configuration",
    "FileState",
    "NotificationOptions",
    "SenderOptions",
    "read_config",
]
