// @ts-check
/** The languages offered, each in its own name: [ISO 639-1, name]. */

const LANGUAGES = [
  ["", "Auto-detect"],
  ["ar", "العربية"],
  ["bg", "Български"],
  ["ca", "Català"],
  ["cs", "Čeština"],
  ["da", "Dansk"],
  ["de", "Deutsch"],
  ["el", "Ελληνικά"],
  ["en", "English"],
  ["es", "Español"],
  ["fa", "فارسی"],
  ["fi", "Suomi"],
  ["fr", "Français"],
  ["he", "עברית"],
  ["hi", "हिन्दी"],
  ["hr", "Hrvatski"],
  ["hu", "Magyar"],
  ["id", "Bahasa Indonesia"],
  ["it", "Italiano"],
  ["ja", "日本語"],
  ["ko", "한국어"],
  ["nl", "Nederlands"],
  ["no", "Norsk"],
  ["pl", "Polski"],
  ["pt", "Português"],
  ["ro", "Română"],
  ["ru", "Русский"],
  ["sk", "Slovenčina"],
  ["sv", "Svenska"],
  ["th", "ไทย"],
  ["tr", "Türkçe"],
  ["uk", "Українська"],
  ["vi", "Tiếng Việt"],
  ["zh", "中文"],
];

/**
 * Those of them an engine knows, the choice of none first; a single one is no choice.
 * @param {readonly string[] | null} known codes; null: any
 */
export function offered(known) {
  if (!known) return LANGUAGES;
  if (known.length === 1) return [LANGUAGES.find(([code]) => code === known[0]) ?? [known[0], nameOf(known[0])]];
  return LANGUAGES.filter(([code]) => !code || known.includes(code));
}

/** @param {string} code */
function nameOf(code) {
  return new Intl.DisplayNames([code], { type: "language" }).of(code) ?? code;
}
