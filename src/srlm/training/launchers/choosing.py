"""How the processes of a training are started: `command` for those that are, and what is refused before."""

import sys
from pathlib import Path

from srlm.config import DpoSection, LauncherSection, SftSection
from srlm.training.launchers import accelerate, ray


def check_launcher(launcher: LauncherSection, *sections: SftSection | DpoSection) -> None:
    """Raise ConfigError where a launcher cannot do the trainings of some sections on this machine."""
    if launcher.kind == "accelerate":
        for section in sections:
            accelerate.check(launcher, section)
    elif launcher.kind == "ray":
        for section in sections:
            ray.check(launcher, section)


def command(launcher: LauncherSection, section: SftSection | DpoSection, job: Path) -> list[str]:
    """The command whose standard output is a job's JSON lines; it may write files beside the job's.

    Raises ConfigError as `check_launcher` does.
    """
    check_launcher(launcher, section)
    if launcher.kind == "accelerate":
        return accelerate.command(launcher, section, job)
    if launcher.kind == "ray":
        return ray.command(launcher, job)
    return [sys.executable, "-P", "-m", "srlm.training.child", str(job)]
