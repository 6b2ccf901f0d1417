// What an empty conversation shows: what this model can do, and a few things to try at once.
import {el} from "./dom.js";
import {icon} from "./icons.js";

const kExamples = [
  {needs: "image", icon: "picture", text: "Describe the picture.", file: "picture.jpg", type: "image/jpeg"},
  {needs: "audio", icon: "sound", text: "Transcribe the recording.", file: "recording.wav", type: "audio/wav"},
  {needs: "video", icon: "film", text: "What happens in the video?", file: "video.mp4", type: "video/mp4"},
  {needs: "text", icon: "gem", text: "Who are you?"},
];

function list_of(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words[words.length - 1]}`;
}

function abilities(model) {
  const reads = [["image", "see pictures"], ["audio", "hear recordings"], ["video", "watch clips"]];
  const words = reads.filter(([kind]) => model.inputs.has(kind)).map(([, text]) => text);
  if (model.thinking) words.push("think before it answers");
  if (model.tools) words.push("call tools");
  return words.length > 0 ? `It can ${list_of(words)}.` : "It reads and writes text.";
}

// try_example(text, File or null)
export function welcome(model, try_example) {
  if (!model) return el("div", {class: "welcome"});
  const start = async (example) => {
    if (!example.file) return try_example(example.text, null);
    const blob = await (await fetch(`/page/${example.file}`)).blob();
    try_example(example.text, new File([blob], example.file, {type: example.type}));
  };
  const cards = kExamples.filter((example) => model.inputs.has(example.needs)).map((example) =>
    el("button", {type: "button", class: "example", onclick: () => start(example)},
      example.needs === "image" ? el("img", {src: `/page/${example.file}`, alt: ""}) : el("span", {class: "example-icon"}, icon(example.icon)),
      el("span", {}, example.text)));
  return el("div", {class: "welcome"},
    el("div", {class: "welcome-gem"}, icon("gem")),
    el("h1", {}, "What shall we look at?"),
    el("p", {class: "welcome-model"}, el("strong", {}, model.id), " is ready. ", abilities(model)),
    el("div", {class: "examples"}, ...cards),
    model.inputs.size > 1 ? el("p", {class: "welcome-hint"}, "Files can be dropped or pasted anywhere on this page.") : null);
}
