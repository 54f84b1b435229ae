// Reading values off a chart: the nearest point of each line under the pointer. Without scripts the charts still stand.
for (const chart of document.querySelectorAll(".chart")) {
  const lines = JSON.parse(chart.dataset.points);
  const plot = chart.querySelector(".plot");
  const cross = Object.assign(document.createElement("span"), { className: "cross", hidden: true });
  const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
  plot.append(cross, tip);
  const hide = () => { cross.hidden = tip.hidden = true; };
  plot.addEventListener("pointerleave", hide);
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width;
    let shown = "", where = null;
    tip.replaceChildren();
    for (const line of lines) {
      let best = -1;
      line.x.forEach((x, n) => {
        if (line.value[n] !== null && (best < 0 || Math.abs(x - at) < Math.abs(line.x[best] - at))) best = n;
      });
      if (best < 0) continue;
      if (where === null) { where = line.x[best]; shown = line.at[best]; }
      const row = document.createElement("div");
      const key = Object.assign(document.createElement("i"), { className: "key " + line.colour });
      row.append(key, line.name + " " + line.value[best]);
      tip.append(row);
    }
    if (where === null) return hide();
    tip.prepend(Object.assign(document.createElement("div"), { textContent: shown }));
    cross.style.left = 100 * where + "%";
    cross.hidden = tip.hidden = false;
    const right = where > 0.5;
    tip.style.left = right ? "auto" : 100 * where + 1 + "%";
    tip.style.right = right ? 100 - 100 * where + 1 + "%" : "auto";
  });
}
