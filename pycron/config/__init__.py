"""The configuration, pycron.toml: its options, their forms, and its reader.

May import: the pure folders and system.
"""

from pycron.config.options import OPTIONS, Config, NotificationOptions
from pycron.config.reader import CAPPED, OPEN_SECTIONS, ConfigError, read_config

__all__ = [
    "CAPPED",
    "OPEN_SECTIONS",
    "OPTIONS",
    "Config",
    "ConfigError",
    "NotificationOptions",
    "read_config",
]
