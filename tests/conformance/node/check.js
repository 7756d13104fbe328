'use strict';
// Counts assertions for one client, as check.py does for the suites in Python.

const fs = require('node:fs');
const { isDeepStrictEqual, inspect } = require('node:util');

const DEADLINE_MS = 1000 * Number(process.env.CONFORMANCE_DEADLINE || 20);

class Suite {
  constructor(client) {
    Object.assign(this, { client, scenarios: [], assertions: 0, skipped: 0, failures: [], current: 'set-up' });
  }

  /** Registers what every broker of this dialect must do. */
  scenario(name, run, { ours = false } = {}) {
    this.scenarios.push({ name, run, ours });
  }

  /** One assertion: `got` equals `want`. */
  check(what, got, want = true) {
    this.assertions += 1;
    if (!isDeepStrictEqual(got, want)) this.fail(`${what}: expected ${inspect(want)}, got ${inspect(got)}`);
  }

  fail(text) {
    this.failures.push(`${this.current}: ${text}`);
    console.error(`  FAIL ${this.client} · ${this.current}: ${text}`);
  }

  /** Runs every scenario with what `open` makes; `shut` ends it. */
  async run(open, shut) {
    const only = process.env.CONFORMANCE_ONLY || '';
    for (const { name, run, ours } of this.scenarios) {
      if (!name.includes(only)) continue;
      if (ours && process.env.CONFORMANCE_ORACLE === '1') {
        this.skipped += 1;
        continue;
      }
      this.current = name;
      let world;
      try {
        world = await within(open(), 'a connection');
        await within(run(world), 'the scenario', 3 * DEADLINE_MS);
      } catch (error) {
        this.assertions += 1;
        this.fail(error.stack.split('\n').slice(0, 3).join(' '));
      }
      if (world) await within(shut(world), 'the end').catch(() => {});
    }
    const { client, assertions, skipped, failures } = this;
    const report = JSON.stringify({ client, assertions, skipped, failures }, null, 1);
    if (process.env.CONFORMANCE_REPORT) fs.writeFileSync(process.env.CONFORMANCE_REPORT, report);
    else console.log(report);
    process.exit(failures.length ? 1 : 0);
  }
}

/** A promise, or an error when the deadline has passed. */
function within(promise, what, deadline = DEADLINE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not in ${deadline / 1000} s: ${what}`)), deadline);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Waits until `await condition()` is true, and gives its value. */
async function until(condition, what) {
  const end = Date.now() + DEADLINE_MS;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`not in ${DEADLINE_MS / 1000} s: ${what}`);
    await new Promise((next) => setTimeout(next, 5));
  }
}

module.exports = { Suite, until, within };
