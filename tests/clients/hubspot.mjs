// The real @hubspot/api-client against the sandbox.
//
//   node hubspot.mjs check  --url http://127.0.0.1:PORT
//   node hubspot.mjs search --url … deals '{"filterGroups":[{"filters":[{"propertyName":"dealname","operator":"EQ","value":"x"}]}]}'
//   node hubspot.mjs get    --url … deals 171500000001 dealname,amount
//   node hubspot.mjs list   --url … companies name,domain
//   node hubspot.mjs create --url … companies '{"name":"Acme","domain":"acme.example"}'
//   node hubspot.mjs update --url … deals 171500000001 '{"amount":"99.50"}'
//   node hubspot.mjs delete --url … contacts 171500000002
//   node hubspot.mjs associate --url … deals 171500000001 companies 171500000003
//
// Every verb but `check` works as another app than the integration's, so that its changes are not the
// integration's own; `--as integration` changes that.

import { Client } from "@hubspot/api-client";
import { run } from "./arguments.mjs";
import { holds, refused, same, steps } from "./conformance.mjs";

const INTEGRATION_TOKEN = "pat-na1-sandbox-integration";
const OTHER_TOKEN = "pat-na1-sandbox-other";
const OAUTH = { client_id: "sandbox-client-id", client_secret: "sandbox-client-secret", refresh_token: "na1-sandbox-refresh-token" };
const DEFINED = "HUBSPOT_DEFINED";
/** Rows on a page of a list. */
const PAGE = 100;

function client({ url, as = "other" }) {
  const accessToken = as === "integration" ? INTEGRATION_TOKEN : OTHER_TOKEN;
  return new Client({ accessToken, basePath: url, limiterOptions: { minTime: 0 } });
}

const status = (wanted, category) => (error) => error.code === wanted && (!category || error.body?.category === category);
const filter = (propertyName, operator, value) => ({ filterGroups: [{ filters: [{ propertyName, operator, value }] }], limit: 10 });

async function everything(hub, type, properties) {
  const rows = [];
  let after;
  do {
    const page = await hub.crm.objects.basicApi.getPage(type, PAGE, after, properties);
    rows.push(...page.results);
    after = page.paging?.next?.after;
  } while (after);
  return rows;
}

async function check({ url }) {
  const hub = client({ url, as: "integration" });
  const { contacts, companies, deals } = hub.crm;
  const tag = Date.now().toString(36);
  let contact;
  let company;
  let deal;
  return steps([
    ["refresh a token", async () => {
      const anonymous = new Client({ basePath: url });
      const token = await anonymous.oauth.tokensApi.create("refresh_token", undefined, undefined, OAUTH.client_id, OAUTH.client_secret, OAUTH.refresh_token);
      same([token.expiresIn, token.refreshToken], [1800, OAUTH.refresh_token], "half an hour, and the same refresh token");
      const fresh = new Client({ accessToken: token.accessToken, basePath: url });
      await fresh.crm.owners.ownersApi.getPage();
      const told = await fresh.oauth.accessTokensApi.get(token.accessToken);
      same(told.hubId, 44237313, "the account of the token");
      const wrong = anonymous.oauth.tokensApi.create("refresh_token", undefined, undefined, OAUTH.client_id, OAUTH.client_secret, "stale");
      await refused(wrong, "a stale refresh token", (error) => error.code === 400 && error.body.status === "BAD_REFRESH_TOKEN");
    }],
    ["refuse an unknown token", async () => {
      const stranger = new Client({ accessToken: "unknown", basePath: url });
      await refused(stranger.crm.contacts.basicApi.getPage(), "an unknown token", status(401, "INVALID_AUTHENTICATION"));
    }],
    ["account, owners and pipelines", async () => {
      const details = await (await hub.apiRequest({ path: "/account-info/v3/details" })).json();
      same([details.portalId, details.companyCurrency], [44237313, "USD"], "the account");
      holds((await hub.crm.owners.ownersApi.getPage()).results[0].email, "an owner has an e-mail");
      const pipelines = await hub.crm.pipelines.pipelinesApi.getAll("deals");
      const won = pipelines.results[0].stages.find((stage) => stage.id === "closedwon");
      same([pipelines.results[0].id, won.metadata], ["default", { isClosed: "true", probability: "1.0" }], "the pipeline");
    }],
    ["properties", async () => {
      const all = await hub.crm.properties.coreApi.getAll("deals", false);
      const property = (name) => all.results.find((one) => one.name === name);
      same([property("interconnect_id").hasUniqueValue, property("amount").type], [true, "number"], "properties of deals");
      holds(property("dealstage").options.some((option) => option.value === "closedwon"), "stages are options");
      const name = `sandbox_check_${tag}`;
      const made = await hub.crm.properties.coreApi.create("contacts", { name, label: "Check", type: "string", fieldType: "text", groupName: "contactinformation", hasUniqueValue: false });
      same([made.name, made.hasUniqueValue], [name, false], "a new property");
      await refused(hub.crm.properties.coreApi.create("contacts", { name, label: "Check", type: "string", fieldType: "text", groupName: "contactinformation" }), "a second of the name", status(409, "OBJECT_ALREADY_EXISTS"));
    }],
    ["create", async () => {
      company = await companies.basicApi.create({ properties: { name: `Acme ${tag}`, domain: `${tag}.example`, partner_type: "sales" }, associations: [] });
      contact = await contacts.basicApi.create({ properties: { email: `A.${tag}@Example.com`, firstname: "Ann", lastname: "Roe" }, associations: [] });
      deal = await deals.basicApi.create({
        properties: { dealname: `Deal ${tag}`, amount: "1234567890123456.78", closedate: "2026-12-24T00:00:00Z", interconnect_id: `d-${tag}` },
        associations: [{ to: { id: company.id }, types: [{ associationCategory: DEFINED, associationTypeId: 341 }] }],
      });
      same([deal.properties.amount, deal.properties.dealstage, deal.properties.pipeline], ["1234567890123456.78", "appointmentscheduled", "default"], "an exact amount and the defaults");
      same(contact.properties.email, `a.${tag}@example.com`, "e-mail addresses are kept in lower case");
      holds(deal.createdAt instanceof Date && deal.updatedAt instanceof Date, "dates are dates");
    }],
    ["get with properties and associations", async () => {
      const found = await deals.basicApi.getById(deal.id, ["dealname", "description", "no_such_property"], undefined, ["companies"]);
      same([found.properties.dealname, found.properties.description, "no_such_property" in found.properties], [`Deal ${tag}`, null, false], "named, empty and unknown");
      same(found.associations.companies.results[0].id, company.id, "the company of the deal");
      const byKey = await deals.basicApi.getById(`d-${tag}`, ["dealname"], undefined, undefined, false, "interconnect_id");
      same(byKey.id, deal.id, "by a unique property");
      await refused(deals.basicApi.getById("1"), "a row that is not there", status(404));
    }],
    ["update moves the modified date and what hangs on the stage", async () => {
      const changed = await deals.basicApi.update(deal.id, { properties: { dealstage: "closedwon", amount: "99.50" } });
      same([changed.properties.hs_is_closed_won, changed.properties.amount], ["true", "99.50"], "a won deal");
      holds(changed.updatedAt > deal.updatedAt, "the modified date moved");
    }],
    ["refuse what HubSpot refuses", async () => {
      const unknown = await refused(deals.basicApi.update(deal.id, { properties: { dealstge: "x" } }), "an unknown property", status(400, "VALIDATION_ERROR"));
      same(unknown.body.errors[0].code, "PROPERTY_DOESNT_EXIST", "its code");
      const option = await refused(deals.basicApi.update(deal.id, { properties: { dealstage: "Closed Won" } }), "an option", status(400));
      same(option.body.errors[0].code, "INVALID_OPTION", "its code");
      const readOnly = await refused(deals.basicApi.update(deal.id, { properties: { hs_is_closed: "false" } }), "a read-only property", status(400));
      same(readOnly.body.errors[0].code, "READ_ONLY_VALUE", "its code");
      const twice = await refused(contacts.basicApi.create({ properties: { email: `a.${tag}@example.com` }, associations: [] }), "a taken e-mail", status(409, "CONFLICT"));
      holds(twice.body.message.endsWith(`Existing ID: ${contact.id}`), "the message names the row that has it");
      await refused(deals.basicApi.create({ properties: { interconnect_id: `D-${tag}` }, associations: [] }), "a taken unique value", status(409, "CONFLICT"));
      await refused(hub.crm.objects.basicApi.getPage("butterflies"), "an unknown object", status(400));
    }],
    ["pages of a list", async () => {
      const inputs = Array.from({ length: 100 }, (_, at) => ({ properties: { dealname: `List ${tag} ${at}` }, associations: [] }));
      await deals.batchApi.create({ inputs });
      await deals.batchApi.create({ inputs: inputs.slice(0, 30) });
      const all = await everything(hub, "deals", ["dealname"]);
      const mine = all.filter((row) => row.properties.dealname?.startsWith(`List ${tag}`));
      same([mine.length, new Set(mine.map((row) => row.id)).size], [130, 130], "all rows, each once");
      await refused(deals.basicApi.getPage(101), "a page too large", status(400));
    }],
    ["batches with and without trace ids", async () => {
      const good = { properties: { email: `b.${tag}@example.com` }, associations: [] };
      const bad = { properties: { email: `a.${tag}@example.com` }, associations: [] };
      await refused(contacts.batchApi.create({ inputs: [good, bad] }), "a batch without trace ids", status(409, "CONFLICT"));
      const inputs = [{ ...good, objectWriteTraceId: "t1" }, { ...bad, objectWriteTraceId: "t2" }];
      const part = await contacts.batchApi.create({ inputs });
      same([part.results.length, part.numErrors], [1, 1], "nothing was written before, one of two is now");
      same(part.errors[0].context, { objectWriteTraceId: ["t2"], existingId: [contact.id] }, "which one failed, and why");
      const read = await contacts.batchApi.read({ inputs: [{ id: contact.id }, { id: "1" }], properties: ["email"], propertiesWithHistory: [] });
      same([read.results.length, read.errors[0].category], [1, "OBJECT_NOT_FOUND"], "one found, one not");
      const twice = { id: contact.id, properties: { firstname: "Ann" } };
      await refused(contacts.batchApi.update({ inputs: [twice, twice] }), "the same id twice", status(400, "VALIDATION_ERROR"));
      const over = Array.from({ length: 101 }, () => ({ properties: {}, associations: [] }));
      await refused(contacts.batchApi.create({ inputs: over }), "101 inputs", status(400));
    }],
    ["batch upsert by a unique property", async () => {
      const input = (id, dealname) => ({ id, idProperty: "interconnect_id", properties: { dealname }, objectWriteTraceId: id });
      const first = await deals.batchApi.upsert({ inputs: [input(`u1-${tag}`, "one"), input(`d-${tag}`, "two")] });
      const byTrace = (answer, id) => answer.results.find((row) => row.properties.interconnect_id === id);
      same([byTrace(first, `u1-${tag}`)._new, byTrace(first, `d-${tag}`)._new], [true, false], "one new, one known");
      same(byTrace(first, `d-${tag}`).id, deal.id, "the known one is the deal");
      const wrong = { id: "x", idProperty: "dealname", properties: {} };
      await refused(deals.batchApi.upsert({ inputs: [wrong] }), "a property that is not unique", status(400));
    }],
    ["batch update and archive", async () => {
      const changed = await companies.batchApi.update({ inputs: [{ id: company.id, properties: { city: "Berlin" } }] });
      same(changed.results[0].properties.city, "Berlin", "a changed company");
      const { results } = await companies.batchApi.create({ inputs: [{ properties: { name: "Gone" }, associations: [] }] });
      await companies.batchApi.archive({ inputs: [{ id: results[0].id }] });
      await refused(companies.basicApi.getById(results[0].id), "an archived row", status(404));
      holds((await companies.basicApi.getById(results[0].id, undefined, undefined, undefined, true)).archivedAt, "it can be read as archived");
    }],
    ["search", async () => {
      const by = (search) => deals.searchApi.doSearch({ properties: ["dealname", "amount"], sorts: [], ...search });
      same((await by(filter("interconnect_id", "EQ", `d-${tag}`))).results[0].id, deal.id, "by a unique property");
      same((await by(filter("amount", "GT", "99.49"))).results.some((row) => row.id === deal.id), true, "by a number");
      const text = `list ${tag}`;
      const sorted = await by({ filterGroups: [{ filters: [{ propertyName: "dealname", operator: "CONTAINS_TOKEN", value: tag }] }], sorts: ["-hs_lastmodifieddate"], limit: 200 });
      same([sorted.total, sorted.results.length], [130, 130], `every deal of ${text}`);
      const dates = sorted.results.map((row) => row.updatedAt.getTime());
      same(dates, [...dates].sort((one, two) => two - one), "newest first");
      const page = await by({ query: `List ${tag}`, limit: 50, after: "100" });
      same([page.results.length, page.paging], [30, undefined], "the last page");
      const since = String(deal.updatedAt.getTime());
      same((await by({ ...filter("hs_lastmodifieddate", "GTE", since), limit: 1 })).total >= 131, true, "since a moment");
      same((await contacts.searchApi.doSearch({ ...filter("hs_lastmodifieddate", "GTE", "0"), properties: [], sorts: [] })).total, 0, "contacts spell it otherwise");
      const linked = await by(filter("associations.company", "EQ", company.id));
      same(linked.results.map((row) => row.id), [deal.id], "by an association");
      await refused(by({ filterGroups: [], limit: 200, after: "9900" }), "past the 10,000th row", status(400));
      await refused(by({ filterGroups: [], limit: 201 }), "a page too large", status(400));
    }],
    ["associations", async () => {
      const v4 = hub.crm.associations.v4;
      await v4.basicApi.createDefault("deals", deal.id, "contacts", contact.id);
      const read = await v4.basicApi.getPage("contacts", contact.id, "deals");
      same([String(read.results[0].toObjectId), read.results[0].associationTypes[0].typeId], [deal.id, 4], "seen from the contact");
      await v4.basicApi.create("contacts", contact.id, "companies", company.id, [{ associationCategory: DEFINED, associationTypeId: 1 }]);
      const companiesOf = await v4.basicApi.getPage("contacts", contact.id, "companies");
      same(companiesOf.results[0].associationTypes.map((type) => type.typeId).sort((a, b) => a - b), [1, 279], "a primary is also a plain one");
      const batch = await v4.batchApi.getPage("deals", "companies", { inputs: [{ id: deal.id }, { id: "7" }] });
      same([batch.results.length, batch.errors[0].subCategory], [1, "crm.associations.NO_ASSOCIATIONS_FOUND"], "one has a company, one has none");
      await v4.batchApi.create("deals", "contacts", { inputs: [{ _from: { id: deal.id }, to: { id: contact.id }, types: [{ associationCategory: DEFINED, associationTypeId: 3 }] }] });
      await v4.basicApi.archive("deals", deal.id, "contacts", contact.id);
      same((await v4.basicApi.getPage("contacts", contact.id, "deals")).results, [], "gone from both sides");
    }],
    ["the dated paths lead to the same rows", async () => {
      for (const version of ["2026-03", "2026-09"]) {
        const one = await (await hub.apiRequest({ path: `/crm/objects/${version}/0-3/${deal.id}?properties=dealname,amount` })).json();
        same([one.id, one.properties.amount], [deal.id, "99.50"], `the deal by ${version}`);
        const to = await (await hub.apiRequest({ path: `/crm/objects/${version}/deals/${deal.id}/associations/companies` })).json();
        same(String(to.results[0].toObjectId), company.id, `its company by ${version}`);
      }
    }],
    ["archive", async () => {
      await contacts.basicApi.archive(contact.id);
      await contacts.basicApi.archive(contact.id);
      await refused(contacts.basicApi.getById(contact.id), "an archived contact", status(404));
      const again = await contacts.basicApi.create({ properties: { email: `a.${tag}@example.com` }, associations: [] });
      holds(again.id !== contact.id, "the e-mail of an archived contact is free");
    }],
  ]);
}

/** Plain JSON of a row: the client's classes print otherwise. */
const plain = (row) => ({ id: row.id, properties: row.properties, createdAt: row.createdAt, updatedAt: row.updatedAt, archived: row.archived, associations: row.associations });
const named = (properties) => properties?.split(",");

await run({
  check,
  list: async (options, type, properties) => (await everything(client(options), type, named(properties))).map(plain),
  get: async (options, type, id, properties) => plain(await client(options).crm.objects.basicApi.getById(type, id, named(properties))),
  search: async (options, type, body) => {
    const found = await client(options).crm.objects.searchApi.doSearch(type, { sorts: [], properties: [], limit: 100, ...JSON.parse(body) });
    return { total: found.total, results: found.results.map(plain), paging: found.paging };
  },
  create: async (options, type, properties) => plain(await client(options).crm.objects.basicApi.create(type, { properties: JSON.parse(properties), associations: [] })),
  update: async (options, type, id, properties) => plain(await client(options).crm.objects.basicApi.update(type, id, { properties: JSON.parse(properties) })),
  delete: async (options, type, id) => void (await client(options).crm.objects.basicApi.archive(type, id)),
  associate: async (options, from, id, to, toId) => void (await client(options).crm.associations.v4.basicApi.createDefault(from, id, to, toId)),
});
