// Filter and order of the pictures on a page, without a server.
const byId = (id) => document.getElementById(id);
const figures = [...document.querySelectorAll("figure")];
const isShown = {
  all: () => true,
  flagged: (figure) => figure.classList.contains("flagged"),
  remark: (figure) => "remark" in figure.dataset,
  failed: () => false,
};

function arrange() {
  const kind = byId("filter").value;
  const { label, direction } = byId("order").selectedOptions[0].dataset;
  const size = (figure) => JSON.parse(figure.dataset.sizes)[label] ?? 0;
  const ordered = [...figures];  // in order of doubt, as the page was written
  if (label !== undefined) ordered.sort((a, b) => direction * (size(a) - size(b)));
  for (const figure of ordered) figure.hidden = !isShown[kind](figure);
  document.querySelector(".grid").append(...ordered);
  byId("without")?.toggleAttribute("hidden", kind === "flagged" || kind === "remark");
  const shown = figures.filter((figure) => !figure.hidden).length;
  byId("shown").textContent = `${shown} of ${figures.length} pictures`;
}

byId("filter").addEventListener("change", arrange);
byId("order").addEventListener("change", arrange);
byId("tools").hidden = false;
arrange();
