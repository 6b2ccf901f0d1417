// Runs before anything is painted, so that a chosen theme never flashes in the other one.
(() => {
  try {
    const theme = JSON.parse(localStorage.getItem("lapidary.settings"))?.theme;
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // The system's choice.
  }
})();
