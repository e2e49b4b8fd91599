"""Who is told when a run fails or stops at a gate: two automations of the Prefect server call a webhook.
Import it only when the server's address is known.

The address of the webhook is a secret. It goes from the environment into a block of the server, which Prefect encrypts,
and nowhere else.
"""

from contextlib import suppress
from typing import cast
from uuid import UUID

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from pydantic import SecretStr

BLOCK = "halter-notify"
FLOWS = ["recipe", "rerun"]  # their subflows fail with them, and one message is enough
AUTOMATIONS = {
    "halter: a run failed": {"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
    "halter: a run stopped at a gate": {"prefect.flow-run.Stopped at a gate"},
}
# `text` is what Slack, Mattermost and others show; the rest is for programs
PAYLOAD = """{"text": {{ (flow_run.name ~ " is " ~ flow_run.state.name ~ ": " ~ flow_run.state.message) | tojson }},
"run": {{ flow_run.name | tojson }}, "state": {{ flow_run.state.name | tojson }}, "flow_run": "{{ flow_run.id }}"}"""


def set_up_notification(client: SyncPrefectClient, address: str | None) -> None:
    """Make the server call `address` when a run fails or stops at a gate; with None take that back. Repeatable: the
    automations are laid out anew each time."""
    for name in AUTOMATIONS:
        for old in client.read_automations_by_name(name):
            client.delete_automation(old.id)
    if address is None:
        with suppress(ValueError):  # there is none
            Webhook.delete(BLOCK)
        return
    block = cast(UUID, Webhook(url=SecretStr(address)).save(BLOCK, overwrite=True))
    for name, events in AUTOMATIONS.items():
        client.create_automation(
            AutomationCore(
                name=name,
                description="Laid out by `halter serve` from `notify` in the config; changes here last until its start",
                trigger=EventTrigger(
                    expect=events,
                    match={"prefect.resource.id": "prefect.flow-run.*"},
                    match_related={"prefect.resource.role": "flow", "prefect.resource.name": FLOWS},
                    posture=Posture.Reactive,
                    threshold=1,
                ),
                actions=[CallWebhook(block_document_id=block, payload=PAYLOAD)],
            )
        )
