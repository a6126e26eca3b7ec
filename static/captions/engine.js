// @ts-check
/** What a page may want to know of the server's engine before somebody speaks. */

const PATIENCE_MS = 3_000; // the page works without the answer, and must not wait for it

/**
 * `languages`: the codes it knows, null for any. `paid`: what is sent to it costs money.
 * @typedef {{languages: readonly string[] | null, paid: boolean}} Engine
 */

/** @type {Engine} */
export const UNKNOWN = Object.freeze({ languages: null, paid: false });

/**
 * @param {string} server address of the server, https://…/
 * @param {{fetch: typeof globalThis.fetch, AbortSignal: typeof globalThis.AbortSignal}} [world]
 * @returns {Promise<Engine>} UNKNOWN where there is no answer; the server then refuses what it does not know
 */
export async function askEngine(server, { fetch, AbortSignal } = globalThis) {
  try {
    const answer = await fetch(new URL("readyz", server), { signal: AbortSignal.timeout(PATIENCE_MS) });
    const { languages, paid } = await answer.json();
    return { languages: Array.isArray(languages) ? languages : null, paid: paid === true };
  } catch {
    return UNKNOWN;
  }
}
