// One picture from the camera, in a dialog with a live preview.
import {el, icon_button} from "./dom.js";
import {icon} from "./icons.js";

export function has_camera() {
  return Boolean(navigator.mediaDevices?.getUserMedia);
}

// Resolves to a JPEG Blob, or to null when the user changed their mind. Rejects when there is no camera or no permission.
export async function take_picture() {
  const dialog = document.getElementById("camera");
  let facing = "environment";
  let stream = await open_camera(facing);
  const video = el("video", {autoplay: true, playsinline: true, "aria-label": "Camera preview"});
  video.muted = true;
  video.srcObject = stream;
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === "videoinput");
  return new Promise((resolve) => {
    let picture = null;
    const flip = async () => {
      facing = facing === "user" ? "environment" : "user";
      stop(stream);
      stream = await open_camera(facing);
      video.srcObject = stream;
    };
    const shoot = async () => {
      picture = await frame_of(video);
      dialog.close();
    };
    dialog.replaceChildren(video,
      el("div", {class: "camera-bar"},
        icon_button("remove", "Close", () => dialog.close()),
        el("button", {type: "button", class: "shutter", "aria-label": "Take the picture", title: "Take the picture", onclick: shoot, autofocus: true},
          icon("camera")),
        cameras.length > 1 ? icon_button("flip", "Other camera", flip) : el("span", {class: "icon"})));
    dialog.onclose = () => {
      stop(stream);
      video.srcObject = null;
      dialog.replaceChildren();
      resolve(picture);
    };
    dialog.showModal();
  });
}

function open_camera(facing) {
  return navigator.mediaDevices.getUserMedia({video: {facingMode: facing, width: {ideal: 1920}, height: {ideal: 1080}}});
}

function stop(stream) {
  stream.getTracks().forEach((track) => track.stop());
}

function frame_of(video) {
  const canvas = el("canvas", {width: video.videoWidth, height: video.videoHeight});
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}
