"use strict";
// Sorting: each run is a tbody, so that its error moves with it. Cells without a value stay last either way.
for (const header of document.querySelectorAll("#runs th[data-column]")) {
  header.querySelector("button").addEventListener("click", () => {
    const table = header.closest("table"), column = Number(header.dataset.column);
    const direction = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const key = body => body.rows[0].cells[column].dataset.value ?? "";
    const order = (a, b) => {
      const left = key(a), right = key(b);
      if (left === "" || right === "") return (left === "") - (right === "");
      const difference = Number(left) - Number(right);
      return direction * (Number.isNaN(difference) ? left.localeCompare(right) : difference);
    };
    for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    table.append(...[...table.tBodies].sort(order));
  });
}
// Pointing at a run in the legend or the table lets its curves stand out.
const focusable = document.querySelectorAll(".legend [data-run], #runs tbody[data-run]");
for (const element of focusable) {
  const toggle = on => {
    for (const charts of document.querySelectorAll(".curves")) charts.classList.toggle("dim", on);
    for (const same of document.querySelectorAll(`.curves [data-run="${element.dataset.run}"]`)) same.classList.toggle("on", on);
  };
  element.addEventListener("pointerenter", () => toggle(true));
  element.addEventListener("pointerleave", () => toggle(false));
}
// A cross-hair that reads every run's value at the nearest epoch; it replaces the titles that work without scripts.
const tip = document.getElementById("tip");
for (const svg of document.querySelectorAll(".charts:not(.plain) svg")) {
  for (const title of svg.querySelectorAll("title")) title.remove();
  const lines = [...svg.querySelectorAll(".line")].map(line => ({
    label: line.dataset.label, hue: line.style.getPropertyValue("--hue"), points: JSON.parse(line.dataset.points),
  }));
  const cross = svg.querySelector(".cross");
  svg.addEventListener("pointermove", event => {
    const x = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()).x;
    const all = lines.flatMap(line => line.points);
    const near = all.reduce((a, b) => Math.abs(b[2] - x) < Math.abs(a[2] - x) ? b : a);
    cross.setAttribute("x1", near[2]); cross.setAttribute("x2", near[2]); cross.style.visibility = "visible";
    const rows = lines.map(line => [line, line.points.find(point => point[0] === near[0])]).filter(([, point]) => point);
    rows.sort((a, b) => b[1][1] - a[1][1]);
    tip.replaceChildren(`epoch ${near[0]}`, ...rows.map(([line, point]) => {
      const row = document.createElement("div"), dot = document.createElement("span");
      dot.className = "dot"; dot.style.setProperty("--hue", line.hue);
      row.append(dot, `${point[1].toFixed(3)}  ${line.label}`);
      return row;
    }));
    tip.hidden = false;
    tip.style.left = `${Math.min(event.clientX + 16, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.min(event.clientY + 16, innerHeight - tip.offsetHeight - 8)}px`;
  });
  svg.addEventListener("pointerleave", () => { tip.hidden = true; cross.style.visibility = "hidden"; });
}
// A click enlarges a picture.
const dialog = document.querySelector("dialog");
for (const image of document.querySelectorAll(".gallery img")) {
  image.addEventListener("click", () => {
    dialog.querySelector("img").src = image.src;
    dialog.querySelector("p").textContent = image.alt;
    dialog.showModal();
  });
}
dialog.addEventListener("click", () => dialog.close());
