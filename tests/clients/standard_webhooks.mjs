// The Standard Webhooks library for JavaScript: takes a message, or signs one. What to do is the one argument, as JSON.
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const { secret, id, at, body, headers } = JSON.parse(process.argv[2]);
const webhook = new Webhook(secret);

function takes() {
  try {
    webhook.verify(body, headers);
    return true;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return false;
    throw error;
  }
}

console.log(JSON.stringify(headers ? takes() : webhook.sign(id, new Date(at * 1000), body)));
