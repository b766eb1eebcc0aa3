// Ways to open a picture: drop it, paste it, choose a file, or take a sample.

import { server } from "./server.js";

export function listenForPictures({ stage, file, buttons, samples }, names, { open, fail }) {
  let depth = 0; // dragenter and dragleave also happen at the borders of children
  const holdsFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  const drop = (isOver) => stage.toggleAttribute("data-dropping", isOver);

  const take = (files) => {
    const [first] = files;
    if (first) open(() => server.upload(first));
  };

  document.addEventListener("dragenter", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    depth += 1;
    drop(true);
  });
  document.addEventListener("dragover", (event) => holdsFiles(event) && event.preventDefault());
  document.addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (!depth) drop(false);
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    drop(false);
    if (event.dataTransfer.files.length) take(event.dataTransfer.files);
    else fail(new Error("That is no file. Drop a picture file, or copy the picture and paste it here."));
  });
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files || [];
    if (files.length) take(files);
  });
  file.addEventListener("change", () => {
    take(file.files);
    file.value = "";
  });
  for (const button of buttons) button.addEventListener("click", () => file.click());

  for (const name of names) {
    const button = document.createElement("button");
    const image = document.createElement("img");
    const label = document.createElement("span");
    [image.src, image.alt, image.width, image.height] = [server.thumbnail(name), "", 192, 128];
    label.textContent = name;
    button.type = "button";
    button.dataset.sample = name;
    button.append(image, label);
    button.addEventListener("click", () => open(() => server.openSample(name)));
    samples.append(button);
  }
}
