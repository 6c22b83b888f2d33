// What a conformance run is made of: named steps, and comparisons that say what differed.

import assert from "node:assert/strict";

export const same = (found, wanted, what) => assert.deepEqual(found, wanted, what);
export const holds = (condition, what) => assert.ok(condition, what);

/** Waits for a promise to be refused and gives the error; `wanted` must hold for it. */
export async function refused(promise, what, wanted) {
  let answer;
  try {
    answer = await promise;
  } catch (error) {
    assert.ok(wanted(error), `${what}: refused otherwise than expected: ${error.errorCode ?? error.code} ${error.message}`);
    return error;
  }
  assert.fail(`${what}: not refused, but answered ${JSON.stringify(answer)}`);
}

/** Runs the steps in order; the first that disagrees ends the run and is named. */
export async function steps(list) {
  const done = [];
  for (const [name, step] of list) {
    try {
      await step();
    } catch (error) {
      throw new Error(`step "${name}": ${error.message}`, { cause: error });
    }
    done.push(name);
  }
  return { steps: done.length, names: done };
}
