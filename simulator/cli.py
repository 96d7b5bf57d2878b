"""The command `mesh-sim`."""

from __future__ import annotations

import click


@click.group()
@click.version_option(package_name="ambient-mesh")
def main() -> None:
    """Run households of virtual devices."""


@main.command("list")
def list_scenarios() -> None:
    """List the scenarios."""
    click.echo("no scenarios yet")
