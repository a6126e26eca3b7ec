// @ts-check
/** A menu that opens beside its button. The browser opens and closes it (popovertarget); this says where. */

const GAP_PX = 8;

/** @param {HTMLElement} menu @param {HTMLElement} button @param {"above" | "below"} side */
export function openBeside(menu, button, side) {
  menu.addEventListener("beforetoggle", (event) => {
    if (/** @type {ToggleEvent} */ (event).newState !== "open") return;
    const { top, bottom, right } = button.getBoundingClientRect();
    menu.style.right = `${document.documentElement.clientWidth - right}px`;
    menu.style.top = side === "below" ? `${bottom + GAP_PX}px` : "auto";
    menu.style.bottom = side === "above" ? `${innerHeight - top + GAP_PX}px` : "auto";
  });
}
