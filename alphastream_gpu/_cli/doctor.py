"""
alphastream doctor: shows what OpenGL this machine has, with a fix for each problem.
"""

from __future__ import annotations

import json
import sys

import click

from .._context.doctor import examine
from .running import EXIT_CHECK_FAILED, cli, one_line

__all__ = ["doctor"]


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Check this machine's OpenGL.

    Prints a fix for each problem: a command or a variable. Exits with 1 if masks cannot be rendered with GL. A
    problem is a note if masks do not need the missing part, or have an alternative to it.
    """
    report = examine()
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2))
    else:
        shown = set()
        for finding in report.findings:
            mark = "ok" if finding.ok else "MISSING" if finding.level == "needed" else "note"
            click.echo(f"{mark:7} {finding.name}: {one_line(finding.detail)}")
            if finding.fix:
                click.echo(f"        fix: {'as above' if finding.fix in shown else finding.fix}")
                shown.add(finding.fix)
    sys.exit(0 if report.ok else EXIT_CHECK_FAILED)
