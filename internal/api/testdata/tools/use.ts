// A client made from the OpenAPI document, as its users write it: what the types say is what the server does.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

const env = (globalThis as any).process.env as Record<string, string>;
const client = createClient<paths>({
  baseUrl: env.QHOOK_URL,
  headers: { Authorization: `Bearer ${env.QHOOK_KEY}` },
});

function need<T>(what: string, x: { data?: T; error?: { detail?: string } }): T {
  if (x.data === undefined) throw new Error(`${what}: ${x.error?.detail}`);
  return x.data;
}

const made = need("create", await client.POST("/v1/webhooks", {
  body: { url: "https://hooks.example.com/ts", event_types: ["qap.investor.*"], generate_signing_key: true },
}));
const id: string = made.id;
const receipt = need("publish", await client.POST("/v1/events", {
  body: { type: "qap.investor.created", object_id: "i1", object_owner_id: "a1", owner_id: "a1", data: { n: 1 } },
}));
const event = need("event", await client.GET("/v1/events/{id}", { params: { path: { id: receipt.id } } }));
const delivery: components["schemas"]["Delivery"] = event.deliveries[0];
if (delivery.webhook_id !== id || delivery.status !== "waiting") throw new Error(JSON.stringify(event));
const list = need("list", await client.GET("/v1/deliveries", {
  params: { query: { status: "waiting", since: "1h", event_type: "qap.investor.*", limit: 10 } },
}));
if (list.items.length !== 1) throw new Error(JSON.stringify(list));
const changed = need("patch", await client.PATCH("/v1/webhooks/{id}", {
  params: { path: { id } }, body: { description: "from TypeScript", owner_id: null },
}));
if (changed.description !== "from TypeScript" || !changed.enabled) throw new Error(JSON.stringify(changed));
const wrong = await client.GET("/v1/webhooks/{id}", { params: { path: { id: "nothing" } } });
if (wrong.error?.status !== 404) throw new Error(JSON.stringify(wrong.error));
console.log("used");
