// Reads lines of messages from standard input and tells which do not fit their schema: `node check.mjs < lines.ndjson`.
// Needs ajv 8 beside it (`npm install ajv@8`); ends with 1 where a line does not fit.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import Ajv from "ajv/dist/2020.js";

const ajv = new Ajv({ strict: true, strictRequired: false, allErrors: false });
const schemas = ["books.v1", "prices.v1", "quotes.v1", "live.v1"].map((type) =>
  JSON.parse(readFileSync(new URL(`${type}.json`, import.meta.url))),
);
const checks = schemas.map((schema) => ajv.compile(schema));
const known = new Set(schemas.flatMap((schema) => schema.oneOf.map((event) => event.$ref.split("/").at(-1))));
const counts = { fitting: 0, unfit: 0, unknown: 0 };
let number = 0;

for await (const line of createInterface({ input: process.stdin })) {
  number += 1;
  let event;
  try {
    event = JSON.parse(line);
  } catch {
    event = null;
  }
  if (typeof event?.type === "string" && !known.has(event.type)) {
    counts.unknown += 1; // a later version's event: to be passed over
  } else if (checks.some((check) => check(event))) {
    counts.fitting += 1;
  } else {
    counts.unfit += 1;
    console.error(`line ${number} does not fit: ${line.slice(0, 200)}`);
  }
}
console.log(JSON.stringify(counts));
process.exit(counts.unfit ? 1 : 0);
