"""The Standard Webhooks library for Python: takes a message, or signs one. What to do is the one argument, as JSON."""

import datetime
import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


def takes(webhook, message):
    """Whether it is what whoever knows the secret has sent."""
    try:
        webhook.verify(message["body"], message["headers"])
    except WebhookVerificationError:
        return False
    return True


def main():
    message = json.loads(sys.argv[1])
    webhook = Webhook(message["secret"])
    if "headers" in message:
        print(json.dumps(takes(webhook, message)))
    else:
        at = datetime.datetime.fromtimestamp(message["at"], tz=datetime.timezone.utc)
        print(json.dumps(webhook.sign(message["id"], at, message["body"])))


main()
