// @ts-check
/** Files that are dropped anywhere on the page. */

/**
 * @param {() => boolean} ready whether a file may come now; else it is let fall, and not opened instead of the page
 * @param {(file: File) => void} take
 */
export function takeDrops(ready, take) {
  const show = (/** @type {boolean} */ over) => document.body.classList.toggle("dropping", over);
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = ready() ? "copy" : "none";
    show(ready());
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) show(false); // it left the window
  });
  addEventListener("drop", (event) => {
    show(false);
    const file = event.dataTransfer?.files[0];
    if (!file) return;
    event.preventDefault();
    if (ready()) take(file);
  });
}
