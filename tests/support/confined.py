"""Runs a program with the system calls that a unit of systemd leaves it: confined.py UNIT PROGRAM ARGUMENTS...

As systemd does it with SystemCallFilter= and SystemCallErrorNumber=: every other call fails with that error.
"""

import errno
import os
import subprocess
import sys

import seccomp


def values(unit, key):
    with open(unit) as lines:
        pairs = (line.strip().partition("=") for line in lines)
        return [value for found, _, value in pairs if found == key]


def calls(names):
    """Sets such as @system-service stand for what systemd has in them, which may be sets again."""
    for name in names:
        if not name.startswith("@"):
            yield name
            continue
        text = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True)
        lines = (line.strip() for line in text.stdout.splitlines()[1:])
        yield from calls(line for line in lines if line and not line.startswith("#"))


def main(unit, *command):
    (error,) = values(unit, "SystemCallErrorNumber")
    allowed = [name for value in values(unit, "SystemCallFilter") for name in value.split()]
    if not allowed or any(name.startswith("~") for name in allowed):
        sys.exit(f"{unit}: this understands lists of what is allowed only, not {allowed}")
    refused = seccomp.SyscallFilter(seccomp.ERRNO(getattr(errno, error)))
    for name in sorted(set(calls(allowed))):
        try:
            refused.add_rule(seccomp.ALLOW, name)
        except (RuntimeError, ValueError, OSError):
            pass  # A call that this machine does not have.
    refused.load()
    os.execvp(command[0], command)


main(*sys.argv[1:])
