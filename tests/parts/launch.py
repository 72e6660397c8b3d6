"""`python launch.py PARENT PROGRAM ARGUMENT...`: becomes PROGRAM, which the kernel kills when process PARENT dies.

A program of its own, since code between fork and exec (`preexec_fn`) is unsafe in a process with threads. The death
signal stays over exec, and is sent when the *thread* that started this process ends (prctl(2)).
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Ask for the signal, see that the parent still lives, then become the program."""
    parent, program, *arguments = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit("the process that started this one is gone")
    os.execv(program, [program, *arguments])


main()
