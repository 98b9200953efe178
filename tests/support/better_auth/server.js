// A Better Auth installation kept in memory. The argument is JSON: the port (0: any), its keys' algorithm and life, its tokens'.
// Beside what Better Auth serves, GET /keys shows the private keys, for the tests to sign with, and DELETE /keys withdraws them.
import { createServer } from "node:http";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { toNodeHandler } from "better-auth/node";
import { jwt } from "better-auth/plugins";

const { port, alg, expirationTime, rotationInterval } = JSON.parse(process.argv[2]);
const tables = { user: [], session: [], account: [], verification: [], jwks: [] };
let handle;

const server = createServer((request, response) => {
  if (request.url !== "/keys") return handle(request, response);
  response.end(JSON.stringify(tables.jwks));
  if (request.method === "DELETE") tables.jwks = [];
});

server.listen(port, "127.0.0.1", () => {
  const baseURL = `http://127.0.0.1:${server.address().port}`;
  const auth = betterAuth({
    baseURL,
    secret: "a secret of the tests, which protects nothing",
    database: memoryAdapter(tables),
    emailAndPassword: { enabled: true },
    rateLimit: { enabled: false },
    telemetry: { enabled: false },
    plugins: [
      jwt({
        jwks: { keyPairConfig: { alg }, rotationInterval, disablePrivateKeyEncryption: true },
        jwt: { expirationTime },
      }),
    ],
  });
  handle = toNodeHandler(auth);
  console.log(`Better Auth answers at ${baseURL}`);
});
