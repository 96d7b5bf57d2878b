"""`mesh devices`: who is in the mesh."""

from __future__ import annotations

import asyncio

import click

from mesh.types import Device
from nodes.options import Reach, client_options, json_option
from nodes.present import device_json, devices_table, print_json, print_table, remarks


@click.command()
@client_options
@json_option
def command(reach: Reach, as_json: bool) -> None:
    """List the devices of the mesh as one of its nodes sees them."""
    devices = asyncio.run(_devices(reach))
    if as_json:
        print_json([device_json(device) for device in devices])
    else:
        print_table(devices_table(devices))
        for line in remarks(devices):
            click.echo(line)


async def _devices(reach: Reach) -> tuple[Device, ...]:
    async with reach.connect() as client:
        return await client.devices()
