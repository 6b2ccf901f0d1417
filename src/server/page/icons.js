// Line icons on a grid of 24, drawn for this page. They are SVG elements, not files: one request less, and they take the
// colour of their text.
const kPaths = {
  menu: "M4 7h16M4 12h16M4 17h10",
  compose: "M12 5H6a2 2 0 0 0-2 2v11a2 2 0 0 0 2 2h11a2 2 0 0 0 2-2v-6M10 14l1-4 8.5-8.5 3 3L14 13z",
  settings: "M4 8h7M17 8h3M14 5.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5zM4 16h3M13 16h7M10 13.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
  attach: "M19.5 11.5l-7.8 7.8a5 5 0 0 1-7-7l8.3-8.3a3.3 3.3 0 0 1 4.7 4.7l-8.3 8.3a1.6 1.6 0 0 1-2.3-2.3l7.6-7.6",
  camera: "M4 8h3.5l1.5-2.5h6L16.5 8H20a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V9a1 1 0 0 1 1-1zM12 10a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z",
  microphone: "M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3zM5.5 11a6.5 6.5 0 0 0 13 0M12 17.5V21",
  send: "M12 19.5V5M5.5 11.5L12 5l6.5 6.5",
  stop: "M7 7h10v10H7z",
  think: "M9.5 18.5h5M10.5 21.5h3M8.5 15.5c0-2-3-3.3-3-7a6.5 6.5 0 0 1 13 0c0 3.7-3 5-3 7z",
  copy: "M9 9h10a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H9a1 1 0 0 1-1-1V10a1 1 0 0 1 1-1zM16 9V5a1 1 0 0 0-1-1H5a1 1 0 0 0-1 1v10a1 1 0 0 0 1 1h3",
  check: "M5 12.5l4.5 4.5L19 7.5",
  again: "M19.5 12a7.5 7.5 0 1 1-2.2-5.3L20 9.5M20 4.5v5h-5",
  edit: "M4 20l1-4.5L16 4.5l3.5 3.5L8.5 19z",
  remove: "M6 6l12 12M18 6L6 18",
  trash: "M4.5 7h15M9.5 7V4.5h5V7M6.5 7l1 13h9l1-13M10 11v5.5M14 11v5.5",
  export: "M12 4v11M7 10.5l5 5 5-5M5 20h14",
  import: "M12 15.5V4.5M7 9l5-5 5 5M5 20h14",
  left: "M14.5 6l-6 6 6 6",
  right: "M9.5 6l6 6-6 6",
  down: "M12 5v14M5.5 12.5L12 19l6.5-6.5",
  sound: "M4 10v4M8 7v10M12 4v16M16 8v8M20 10.5v3",
  film: "M4 5h16v14H4zM8 5v14M16 5v14M4 9.5h4M4 14.5h4M16 9.5h4M16 14.5h4",
  file: "M6 3h8l4.5 4.5V21H6zM14 3v4.5h4.5",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 2.5-2.5L20 17M15.5 8.5v.1",
  tool: "M14.5 6.5a4 4 0 0 1 5-2l-2.6 2.6 1.5 2 2.5-2.5a4.5 4.5 0 0 1-6 5.5L8 19a2 2 0 0 1-3-3l7-7a4 4 0 0 1 2.5-2.5z",
  flip: "M4 12a8 8 0 0 1 13.7-5.6L20 8.5M20 4v4.5h-4.5M20 12a8 8 0 0 1-13.7 5.6L4 15.5M4 20v-4.5h4.5",
  gem: "M7 4h10l5 6-10 11L2 10zM2 10h20M7 4l2 6 3 11 3-11 2-6M9 10l3-6 3 6",
};

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "glyph");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", kPaths[name]);
  svg.append(path);
  return svg;
}
