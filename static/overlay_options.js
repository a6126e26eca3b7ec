// @ts-check
/** What the address of the overlay may choose. What is not understood is as if it were not there. */

/**
 * @typedef {{lines: number, hide_s: number, settled: boolean, position: string, align: string,
 *   styles: Record<string, string>}} Options
 *   `hide_s`: silence after which the words go, 0 for never; `styles`: custom properties of overlay.css
 */

/**
 * @param {URLSearchParams} query
 * @param {(property: string, value: string) => boolean} supports CSS.supports
 * @returns {Options}
 */
export function readOptions(query, supports) {
  const number = (/** @type {string} */ name, /** @type {[number, number]} */ [least, most]) => {
    const text = query.get(name) ?? "";
    return /^\d+(\.\d+)?$/.test(text) ? Math.min(most, Math.max(least, Number(text))) : null;
  };
  const one = (/** @type {string} */ name, /** @type {string[]} */ of) =>
    of.find((choice) => choice === query.get(name)) ?? of[0];
  // In an address # begins something else, so ffcc00 is understood too.
  const colour = (/** @type {string} */ text) => [text, `#${text}`].find((value) => supports("color", value));

  const lines = Math.round(number("lines", [1, 10]) ?? 2);
  const size = number("size", [8, 400]);
  const text = colour(query.get("colour") ?? query.get("color") ?? "");
  const ground = colour(query.get("background") ?? "");
  return {
    lines,
    hide_s: number("hide", [0, 3600]) ?? 10,
    settled: query.get("settled") === "1",
    position: one("position", ["bottom", "middle", "top"]),
    align: one("align", ["start", "left", "center", "right"]),
    styles: {
      "--lines": String(lines),
      ...(size && { "--size": `${size}px` }),
      ...(text && { "--colour": text }),
      ...(ground && { "--ground": ground }),
    },
  };
}
