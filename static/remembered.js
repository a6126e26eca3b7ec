// @ts-check
/** What somebody chose here before: kept by the browser, for this page alone. */

const PREFIX = "sotto.";

/** @param {string} name @returns {string} "" where nothing was chosen */
export function remembered(name) {
  try {
    return localStorage.getItem(PREFIX + name) ?? "";
  } catch {
    return ""; // storage is switched off
  }
}

/** @param {string} name @param {string} choice */
export function remember(name, choice) {
  try {
    localStorage.setItem(PREFIX + name, choice);
  } catch {
    // Storage is switched off: the choice lasts as long as the page.
  }
}
