// The real jsforce against the sandbox.
//
//   node salesforce.mjs check  --url http://127.0.0.1:PORT
//   node salesforce.mjs query  --url … "SELECT Id, StageName FROM Opportunity"
//   node salesforce.mjs create --url … Lead '{"LastName":"Roe","Company":"Acme"}'
//   node salesforce.mjs update --url … Opportunity '{"Id":"006…","StageName":"Closed Won"}'
//   node salesforce.mjs upsert --url … Account Interconnect_Id__c '{"Interconnect_Id__c":"p1","Name":"Acme"}'
//   node salesforce.mjs delete --url … Lead 00Q…
//   node salesforce.mjs describe --url … Opportunity
//
// Every verb but `check` works as the sales representative, so that its changes are not the integration's own;
// `--as integration` changes that.

import jsforce from "jsforce";
import { run } from "./arguments.mjs";
import { holds, refused, same, steps } from "./conformance.mjs";

const CLIENT_ID = "3MVG9sandbox.interconnect";
const CLIENT_SECRET = "sandbox-consumer-secret";
const INTEGRATION_REFRESH_TOKEN = "5Aep861sandbox.integration";
const REP = { username: "rep@sandbox.example", password: "sandbox-password" };
const VERSION = "68.0";

function connection(url, more = {}) {
  const oauth2 = { loginUrl: url, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, redirectUri: `${url}/callback` };
  return new jsforce.Connection({ oauth2, loginUrl: url, instanceUrl: url, version: VERSION, ...more });
}

async function loggedIn({ url, as = "representative" }) {
  const conn = connection(url);
  if (as === "integration") await conn.authorize({ grant_type: "client_credentials" });
  else await conn.login(REP.username, REP.password);
  return conn;
}

const code = (wanted) => (error) => error.errorCode === wanted;

async function check({ url }) {
  let conn;
  let account;
  let deal;
  const ext = "Interconnect_Id__c";
  const run = Date.now().toString(36);
  return steps([
    ["log in with client credentials", async () => {
      conn = connection(url, { callOptions: { client: "interconnect" } });
      const user = await conn.authorize({ grant_type: "client_credentials" });
      same(user.id.length, 18, "the user's id has 18 characters");
      same(conn.instanceUrl, url, "data calls go where the token said");
    }],
    ["tell who is logged in", async () => {
      const identity = await conn.identity();
      same(identity.username, "interconnect@sandbox.example", "the integration's user");
      same(identity.organization_id.slice(0, 3), "00D", "the organisation's prefix");
    }],
    ["refuse a wrong secret", async () => {
      const stranger = connection(url);
      stranger.oauth2.clientSecret = "wrong";
      await refused(stranger.authorize({ grant_type: "client_credentials" }), "a wrong secret", (error) => /invalid_client/.test(error.name + error.message));
    }],
    ["refresh an expired token by itself", async () => {
      const other = connection(url, { accessToken: "expired", refreshToken: INTEGRATION_REFRESH_TOKEN });
      let refreshes = 0;
      other.on("refresh", () => (refreshes += 1));
      const org = await other.query("SELECT Id, Name FROM Organization");
      same([org.totalSize, refreshes], [1, 1], "one organisation after one refresh");
    }],
    ["log in by authorisation code with a verifier", async () => {
      const oauth2 = { loginUrl: url, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, redirectUri: `${url}/callback`, useVerifier: true };
      const web = new jsforce.Connection({ oauth2, version: VERSION });
      const asked = web.oauth2.getAuthorizationUrl({ scope: "api refresh_token", state: "a b" });
      const answer = await fetch(asked, { redirect: "manual" });
      const back = new URL(answer.headers.get("location"));
      same([answer.status, back.searchParams.get("state")], [302, "a b"], "sent back with the state");
      await web.authorize(back.searchParams.get("code"));
      holds(web.refreshToken, "a web login gives a refresh token");
    }],
    ["describe the organisation", async () => {
      const global = await conn.describeGlobal();
      const names = global.sobjects.map((object) => object.name);
      for (const name of ["Account", "Contact", "Lead", "Opportunity", "User", "Organization", "OpportunityStage", "LeadStatus"]) {
        holds(names.includes(name), `${name} is described`);
      }
    }],
    ["describe an object", async () => {
      const described = await conn.sobject("Opportunity").describe();
      const field = (name) => described.fields.find((one) => one.name === name);
      same([field("Amount").type, field("Amount").precision, field("Amount").scale], ["currency", 18, 2], "Amount");
      same([field(ext).externalId, field(ext).unique, field(ext).length], [true, true, 64], ext);
      same(field("StageName").picklistValues.length, 10, "stages");
      same(field("AccountId").referenceTo, ["Account"], "AccountId");
      same([field("Customer_Country__c").length, field("Customer_Name__c").custom], [2, true], "custom fields");
    }],
    ["create", async () => {
      account = await conn.sobject("Account").create({ Name: `Acme ${run}`, BillingCountry: "DE", Partner_Type__c: "sales" });
      holds(account.success && account.id.startsWith("001"), "an account was created");
      deal = await conn.sobject("Opportunity").create({
        Name: `Deal ${run}`, StageName: "Prospecting", CloseDate: "2026-12-24", Amount: 1234.5, CurrencyIsoCode: "EUR", AccountId: account.id,
      });
    }],
    ["retrieve", async () => {
      const row = await conn.sobject("Opportunity").retrieve(deal.id);
      same([row.Amount, row.CurrencyIsoCode, row.CloseDate, row.Probability, row.IsClosed], [1234.5, "EUR", "2026-12-24", 10, false], "the deal");
      holds(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000$/.test(row.SystemModstamp), `a stamp: ${row.SystemModstamp}`);
    }],
    ["update moves the stamp and what hangs on the stage", async () => {
      const before = await conn.sobject("Opportunity").retrieve(deal.id);
      await conn.sobject("Opportunity").update({ Id: deal.id, StageName: "Closed Won" });
      const after = await conn.sobject("Opportunity").retrieve(deal.id);
      same([after.IsWon, after.IsClosed, after.Probability, after.ForecastCategory], [true, true, 100, "Closed"], "a won deal");
      holds(after.SystemModstamp > before.SystemModstamp, "the stamp moved");
    }],
    ["query with a parent, conditions and an order", async () => {
      const found = await conn.query(
        `SELECT Id, Name, Account.Name FROM Opportunity WHERE (IsWon = true OR Amount > 5) AND CloseDate = 2026-12-24 AND Account.Name LIKE 'acme%' ORDER BY SystemModstamp DESC, Id LIMIT 1`,
      );
      same([found.totalSize, found.done, found.records[0].Account.Name], [1, true, `Acme ${run}`], "the deal by its account");
      const built = await conn.sobject("Opportunity").find({ Name: { $like: "Deal %" }, IsWon: true }, ["Id", "Name"]).sort({ Name: 1 }).limit(5);
      holds(built.some((row) => row.Id === deal.id), "a query that jsforce built");
    }],
    ["count", async () => {
      same(await conn.sobject("Opportunity").count({ Name: `Deal ${run}` }), 1, "deals of this name");
    }],
    ["refuse what Salesforce refuses", async () => {
      const opportunity = conn.sobject("Opportunity");
      await refused(conn.query("SELECT Nmae FROM Account"), "an unknown field", code("INVALID_FIELD"));
      await refused(conn.query("SELECT Id FROM Acount"), "an unknown object", code("INVALID_TYPE"));
      await refused(conn.query("SELECT Id FROM Account WHERE"), "half a query", code("MALFORMED_QUERY"));
      await refused(opportunity.create({ Name: "x" }), "required fields", code("REQUIRED_FIELD_MISSING"));
      await refused(opportunity.update({ Id: deal.id, StageName: "Dreaming" }), "a stage", code("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"));
      await refused(opportunity.update({ Id: deal.id, CurrencyIsoCode: "XTS" }), "a currency", code("INVALID_CURRENCY_ISO"));
      await refused(opportunity.update({ Id: deal.id, Name: "x".repeat(121) }), "a long name", code("STRING_TOO_LONG"));
      await refused(opportunity.update({ Id: deal.id, IsWon: false }), "a derived field", code("INVALID_FIELD_FOR_INSERT_UPDATE"));
      await refused(opportunity.update({ Id: deal.id, AccountId: "001Sb0zzzzzzzzzAAA" }), "a bad reference", (error) => /MALFORMED_ID|INVALID_CROSS_REFERENCE_KEY/.test(error.errorCode));
      await refused(opportunity.retrieve("006Sb0000000000AAA"), "a row that is not there", code("NOT_FOUND"));
    }],
    ["upsert by external id", async () => {
      const lead = conn.sobject("Lead");
      const first = await lead.upsert({ [ext]: `l-${run}`, LastName: "Roe", Company: "Acme" }, ext);
      const second = await lead.upsert({ [ext]: `L-${run}`, LastName: "Roe", Company: "Acme AG" }, ext);
      same([first.created, second.created, first.id], [true, false, second.id], "created, then found without regard to case");
      const duplicate = lead.create({ [ext]: `l-${run}`, LastName: "Doe", Company: "Acme" });
      const error = await refused(duplicate, "a taken external id", code("DUPLICATE_VALUE"));
      holds(error.message.includes(first.id.slice(0, 15)), "the message names the row that has it");
      await refused(lead.upsert({ Company: "x", LastName: "Roe" }, "Company"), "no external id", (error) => !!error);
    }],
    ["collections: one outcome per record, in order", async () => {
      const contacts = conn.sobject("Contact");
      const made = await contacts.create([{ LastName: "Dyer", AccountId: account.id }, { FirstName: "nobody" }, { LastName: "Blevins" }]);
      same(made.map((one) => one.success), [true, false, true], "the second has no last name");
      same(made[1].errors[0].statusCode, "REQUIRED_FIELD_MISSING", "and is told so");
      const changed = await contacts.update([{ Id: made[0].id, Title: "CTO" }, { Id: made[2].id, Title: "CFO" }]);
      same(changed.map((one) => one.success), [true, true], "both changed");
      const read = await contacts.retrieve([made[0].id, made[2].id]);
      same(read.map((row) => row.Title), ["CTO", "CFO"], "read again in order");
      const upserted = await contacts.upsert([{ [ext]: `c1-${run}`, LastName: "One" }, { [ext]: `c2-${run}`, LastName: "Two" }], ext);
      same(upserted.map((one) => one.created), [true, true], "both are new");
      const all = await contacts.create([{ LastName: "Fine" }, { FirstName: "not" }], { allOrNone: true }).catch((error) => error);
      holds(!Array.isArray(all) || all[0].errors[0].statusCode === "ALL_OR_NONE_OPERATION_ROLLED_BACK", "one bad row undoes the other");
      same(await contacts.count({ LastName: "Fine" }), 0, "and nothing stays");
      const gone = await contacts.destroy([made[0].id, made[2].id]);
      same(gone.map((one) => one.success), [true, true], "both deleted");
    }],
    ["pages of a query", async () => {
      const rows = Array.from({ length: 450 }, (_, at) => ({ LastName: `Page${String(at).padStart(3, "0")}`, Company: `Pages ${run}` }));
      for (let from = 0; from < rows.length; from += 200) await conn.sobject("Lead").create(rows.slice(from, from + 200));
      const text = `SELECT Id, LastName FROM Lead WHERE Company = 'Pages ${run}' ORDER BY LastName`;
      const options = { headers: { "Sforce-Query-Options": "batchSize=200" } };
      const first = await conn.query(text, options);
      same([first.totalSize, first.done, first.records.length], [450, false, 200], "the first page");
      const second = await conn.queryMore(first.nextRecordsUrl);
      const third = await conn.queryMore(second.nextRecordsUrl);
      same([third.done, third.records.length, third.records[49].LastName], [true, 50, "Page449"], "the last page");
      const fetched = await conn.query(text, { ...options, autoFetch: true, maxFetch: 1000 });
      same(fetched.records.length, 450, "all of them by autoFetch");
      await refused(conn.queryMore("/services/data/v68.0/query/01gSb0000000zzzAAA-2000"), "an unknown locator", code("INVALID_QUERY_LOCATOR"));
    }],
    ["write and read by jobs", async () => {
      const rows = ["a", "b, \"c\"\nd", "e"].map((name, at) => ({ [ext]: `j${at}-${run}`, LastName: name, Company: `Jobs ${run}`, Title: null }));
      const waits = { pollInterval: 1, pollTimeout: 20_000 };
      const bad = { [ext]: `j3-${run}`, LastName: "", Company: `Jobs ${run}` };
      const options = { object: "Lead", operation: "upsert", externalIdFieldName: ext, lineEnding: "LF", ...waits };
      const written = await conn.bulk2.loadAndWaitForResults({ ...options, input: [...rows, bad] });
      same([written.successfulResults.length, written.failedResults.length, written.unprocessedRecords.length], [3, 1, 0], "three rows taken, one refused");
      holds(/^REQUIRED_FIELD_MISSING:/.test(written.failedResults[0].sf__Error), written.failedResults[0].sf__Error);
      const stream = await conn.bulk2.query(`SELECT Id, LastName FROM Lead WHERE Company = 'Jobs ${run}'`, waits);
      const read = await stream.toArray();
      same(read.map((row) => row.LastName).sort(), ["a", "b, \"c\"\nd", "e"], "and read again");
      await refused(conn.bulk2.query("SELECT Nmae FROM Lead", waits), "an unknown field", code("API_ERROR"));
    }],
    ["delete, and find it with queryAll", async () => {
      await conn.sobject("Account").destroy(account.id);
      const text = `SELECT Id, IsDeleted FROM Opportunity WHERE Id = '${deal.id}'`;
      same((await conn.query(text)).totalSize, 0, "the deal went with its account");
      const all = await conn.query(text, { scanAll: true });
      same([all.totalSize, all.records[0].IsDeleted], [1, true], "it lies in the recycle bin");
      await refused(conn.sobject("Account").destroy(account.id), "a second delete", code("ENTITY_IS_DELETED"));
    }],
    ["updated and deleted in a window", async () => {
      const [from, to] = [new Date(Date.now() - 3_600_000), new Date(Date.now() + 3_600_000)];
      holds((await conn.sobject("Lead").updated(from, to)).ids.length >= 450, "leads were updated");
      holds((await conn.sobject("Account").deleted(from, to)).deletedRecords.some((row) => row.id === account.id), "the account was deleted");
    }],
    ["limits", async () => {
      const limits = await conn.limits();
      holds(limits.DailyApiRequests.Remaining < limits.DailyApiRequests.Max, "calls are counted");
      holds(conn.limitInfo.apiUsage.used > 0, "and told in a header");
    }],
    ["log in by password as somebody else", async () => {
      const rep = await loggedIn({ url });
      same((await rep.identity()).username, REP.username, "the representative");
    }],
    ["log out", async () => {
      await conn.logout();
      holds(!conn.accessToken, "the token is gone");
    }],
  ]);
}

await run({
  check,
  query: async (options, text) => (await (await loggedIn(options)).query(text, { autoFetch: true, maxFetch: 100_000, scanAll: options.all === "true" })).records,
  create: async (options, object, row) => (await loggedIn(options)).sobject(object).create(JSON.parse(row)),
  update: async (options, object, row) => (await loggedIn(options)).sobject(object).update(JSON.parse(row)),
  upsert: async (options, object, field, row) => (await loggedIn(options)).sobject(object).upsert(JSON.parse(row), field),
  delete: async (options, object, id) => (await loggedIn(options)).sobject(object).destroy(id),
  describe: async (options, object) => (await loggedIn(options)).sobject(object).describe(),
});
