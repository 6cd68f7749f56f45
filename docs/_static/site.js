// What is wider than its box can be scrolled by keyboard, and the parts of a page have names.
function name(selector, label) {
  document.querySelector(selector)?.setAttribute("aria-label", label);
}
function reach() {
  for (const box of document.querySelectorAll("pre, .table-wrapper, div.math")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}
// The explorer in a frame has the colours of the page around it.
function colour(frame) {
  frame.contentWindow.postMessage({ faltungTheme: document.body.dataset.theme || "auto" }, "*");
}
function colours() {
  const frames = document.querySelectorAll("iframe");
  for (const frame of frames) frame.addEventListener("load", () => colour(frame));
  const all = () => frames.forEach(colour);
  new MutationObserver(all).observe(document.body, { attributeFilter: ["data-theme"] });
  all(); // those that were there before us
}
// A page that is a file may not read another: the search then shows titles without lines from them.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
addEventListener("DOMContentLoaded", () => {
  name(".sidebar-drawer", "Pages");
  name(".toc-drawer", "On this page");
  reach();
  colours();
});
addEventListener("resize", reach);
