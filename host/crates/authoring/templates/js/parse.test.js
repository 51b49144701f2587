// `npm test` runs this without a build.
import assert from "node:assert";
import test from "node:test";
import { parse } from "./parse.js";

test("counts tasks", () => {
  assert.deepStrictEqual(parse("0.52 0.58 0.59 2/941 12345\n"), { runnable: 2, all: 941 });
});

test("another form is not taken", () => {
  assert.strictEqual(parse("hello"), undefined);
});
