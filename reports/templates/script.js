(function () {
"use strict";
var UNITS = {B: 1, KiB: 1024, MiB: 1048576, GiB: 1073741824, TiB: 1099511627776, "µs": 1e3, ms: 1e6, s: 1e9, min: 6e10, "k/s": 1e3, "M/s": 1e6};
function number(text) {
  var parts = text.replace(/,/g, "").match(/\d+(\.\d+)?(\s[a-zA-Zµ\/]+)?/g), sum = 0;
  if (!parts) { return null; }
  for (var at = 0; at < parts.length; at += 1) {
    var part = parts[at].split(/\s/), unit = UNITS[part[1]];
    sum += Number(part[0]) * (unit || 1);
    if (!unit) { break; }
  }
  return sum;
}
function sort(table, column, head) {
  var down = head.getAttribute("aria-sort") !== "descending", body = table.tBodies[0];
  var rows = Array.from(body.rows).map(function (row) {
    var text = row.cells[column].textContent.trim();
    return {row: row, text: text, number: number(text)};
  });
  var numbers = head.classList.contains("n") || rows.every(function (row) { return /^[<>\d–]/.test(row.text); });
  rows.sort(function (a, b) {
    if (numbers && (a.number === null || b.number === null)) { return (a.number === null) - (b.number === null); }
    var order = numbers ? a.number - b.number : a.text.localeCompare(b.text, "en", {numeric: true});
    return down ? -order : order;
  });
  rows.forEach(function (row) { body.appendChild(row.row); });
  Array.from(head.parentNode.cells).forEach(function (cell) { cell.removeAttribute("aria-sort"); });
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
}
document.querySelectorAll("table").forEach(function (table) {
  var heads = table.tHead && table.tHead.rows[0];
  if (!heads || table.tBodies[0].rows.length < 3 || getComputedStyle(table.tHead).position === "absolute") { return; }
  Array.from(heads.cells).forEach(function (head, column) {
    var button = document.createElement("button");
    button.type = "button";
    button.title = "Sort";
    while (head.firstChild) { button.appendChild(head.firstChild); }
    head.appendChild(button);
    button.addEventListener("click", function () { sort(table, column, head); });
  });
});
// Over a time axis the row of the table at the pointer is read out.
document.querySelectorAll("[data-axis]").forEach(function (drawing) {
  var ends = drawing.dataset.axis.split(" ").map(Number), svg = drawing.querySelector("svg");
  var table = drawing.parentNode.querySelector("table"), line = drawing.parentNode.querySelector(".readout");
  if (!line) {
    line = document.createElement("p");
    line.className = "small readout";
    line.setAttribute("aria-hidden", "true");
    drawing.parentNode.insertBefore(line, drawing.parentNode.querySelector("details"));
  }
  svg.addEventListener("pointermove", function (event) {
    var box = svg.getBoundingClientRect(), rows = Array.from(table.tBodies[0].rows);
    var until = function (row) { return number(row.cells[1].textContent); };
    var at = ((event.clientX - box.left) / box.width * svg.viewBox.baseVal.width - ends[0]) / (ends[1] - ends[0]);
    var time = at * Math.max.apply(null, rows.map(until));
    var row = rows.filter(function (row) { return number(row.cells[0].textContent) <= time && time <= until(row); })[0];
    line.textContent = row ? Array.from(row.cells).map(function (cell, column) {
      return table.tHead.rows[0].cells[column].textContent + ": " + cell.textContent;
    }).join(" · ") : "";
  });
  svg.addEventListener("pointerleave", function () { line.textContent = ""; });
});
}());
