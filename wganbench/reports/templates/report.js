"use strict";
const key = (row, column) => {
  const cell = row.cells[column];
  const text = cell.dataset.sort ?? cell.textContent.trim();
  return text === "" || text === "-" ? null : text;
};
const order = (a, b, numbers) =>
  numbers ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true });
for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => {
    const header = button.closest("th");
    const column = header.cellIndex;
    const body = header.closest("table").tBodies[0];
    const down = header.getAttribute("aria-sort") === "ascending";
    const numbers = header.classList.contains("number");
    const rows = [...body.rows].sort((first, second) => {
      const a = key(first, column), b = key(second, column);
      if (a === null || b === null) return (a === null) - (b === null);
      return (down ? -1 : 1) * order(a, b, numbers);
    });
    for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows);
  });
}
// A table that is wider than its box says so.
const measure = () => {
  for (const box of document.querySelectorAll(".scroll"))
    box.classList.toggle("wider", box.scrollWidth > box.clientWidth + 1);
};
addEventListener("resize", measure);
for (const details of document.querySelectorAll("details")) details.addEventListener("toggle", measure);
measure();
// What is folded is printed too, and folded again afterwards.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.dataset.folded = "";
    details.open = true;
  }
});
addEventListener("afterprint", () => {
  for (const details of document.querySelectorAll("details[data-folded]")) {
    delete details.dataset.folded;
    details.open = false;
  }
});
