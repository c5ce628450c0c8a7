"use strict";
// Sorts a table by the column whose heading is pressed: numbers by value, empty cells last, a second press turns it.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => {
        const text = row.cells[column].textContent.trim();
        const number = parseFloat(text.replace(/^</, ""));
        return { text, number, empty: text === "" || text === "-" };
      };
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((first, second) => {
        const [a, b] = [key(first), key(second)];
        if (a.empty || b.empty) return a.empty - b.empty;
        const both = !Number.isNaN(a.number) && !Number.isNaN(b.number);
        const order = both ? a.number - b.number : a.text.localeCompare(b.text);
        return up ? order : -order;
      });
      body.append(...rows);
    });
  });
}
