// Before the first paint: the theme that the person chose, else the system's.
(() => {
  const KEY = "factory:theme";
  const root = document.documentElement;
  let chosen = null;
  try { chosen = localStorage.getItem(KEY); } catch { /* storage may be forbidden: the system's theme it is */ }
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const system = matchMedia("(prefers-color-scheme: dark)");
    const dark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
    const tell = () => button.setAttribute("aria-label", dark() ? "Light theme" : "Dark theme");
    button.addEventListener("click", () => {
      const wanted = dark() ? "light" : "dark";
      const own = system.matches ? "dark" : "light";
      // The system's own theme is not pinned, so that it may change in the evening.
      if (wanted === own) delete root.dataset.theme;
      else root.dataset.theme = wanted;
      try {
        if (wanted === own) localStorage.removeItem(KEY);
        else localStorage.setItem(KEY, wanted);
      } catch { /* then for this page only */ }
      tell();
    });
    system.addEventListener("change", tell);
    tell();
  });
})();
