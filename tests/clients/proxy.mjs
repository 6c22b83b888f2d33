// A real forward proxy. It lets out who shows it a user and a password, leads every name to this machine, and writes a
// line of JSON for all that it is asked. Ends with its standard input.
import { appendFileSync } from "node:fs";
import { Server } from "proxy-chain";

const [log, user, password] = process.argv.slice(2);

const server = new Server({
  host: "127.0.0.1",
  port: 0,
  prepareRequestFunction: ({ username, password: shown, hostname, port, isHttp }) => {
    const lets = username === user && shown === password;
    appendFileSync(log, `${JSON.stringify({ lets, to: `${hostname}:${port}`, tunnel: !isHttp })}\n`);
    return {
      requestAuthentication: !lets,
      dnsLookup: (_name, options, found) =>
        options.all ? found(null, [{ address: "127.0.0.1", family: 4 }]) : found(null, "127.0.0.1", 4),
    };
  },
});

await server.listen();
console.log(JSON.stringify({ url: `http://127.0.0.1:${server.port}` }));
process.stdin.on("end", () => process.exit(0)).resume();
