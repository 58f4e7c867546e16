"""The linter: what a table does although its author hardly meant it.

May import: crontab, schedule and model.

Pure: facts about the machine come in as functions. Each module has the checks of one subject, and
beside each check its Code: what `pycron check --explain` and docs/check.md say about it.
"""
