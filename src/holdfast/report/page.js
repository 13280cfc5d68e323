// What a page can do: draw its charts from the JSON beside them, filter its rows, copy its commands, unfold itself for print.
// Charts' expressions are interpreted, never compiled, so no script can come from data. Nothing here makes HTML from text.
(function () {
  "use strict";
  var all = function (query, within) {
    return Array.prototype.slice.call((within || document).querySelectorAll(query));
  };

  // ---------------------------------------------------------- charts: those in sight first, the others when there is time

  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  var draw = function (element) {
    if (element.hasAttribute("data-drawn")) return;
    element.setAttribute("data-drawn", "");
    var target = document.getElementById(element.getAttribute("data-chart"));
    var options = {
      mode: "vega-lite", renderer: "svg", ast: true, actions: false,
      tooltip: { theme: dark.matches ? "dark" : "light" }
    };
    window.vegaEmbed(target, JSON.parse(element.textContent), options).catch(function (error) {
      target.textContent = "This chart could not be drawn: " + error.message;
    });
  };
  var waiting = all('script[type="application/json"][data-chart]');
  var later = window.requestIdleCallback || function (work) { window.setTimeout(work, 1); };
  var next = function () {
    if (waiting.length) {
      draw(waiting.shift());
      later(next);
    }
  };
  next();

  // ---------------------------------------------------------- the filter

  var form = document.querySelector(".filter");
  if (form) {
    var sections = all("main > section");
    var count = form.querySelector("output");
    var words = new Map();
    var text = function (row) {
      if (!words.has(row)) words.set(row, row.textContent.toLowerCase());
      return words.get(row);
    };
    var filter = function () {
      var sought = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
      var finding = form.elements.finding.value;
      var light = form.elements.light ? form.elements.light.value : "";
      var shown = 0, rows = 0;
      sections.forEach(function (section) {
        var wanted = (!finding || section.id === finding) && (!light || section.dataset.light === light);
        var matches = 0;
        all(".pair", section).forEach(function (row) {
          var match = sought.every(function (word) { return text(row).indexOf(word) >= 0; });
          row.hidden = !match;
          rows += 1;
          matches += match;
        });
        section.hidden = !wanted || (sought.length > 0 && !matches);
        shown += section.hidden ? 0 : matches;
      });
      count.textContent = sought.length || finding || light ? shown + " of " + rows + " rows" : rows + " rows";
    };
    form.hidden = false;
    form.addEventListener("input", filter);
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    form.addEventListener("reset", function () { window.setTimeout(filter, 0); });
    window.addEventListener("hashchange", function () {
      var target = document.getElementById(window.location.hash.slice(1));
      if (target && target.hidden) {
        form.reset();
        filter();
        target.scrollIntoView();
      }
    });
    filter();
  }

  // ---------------------------------------------------------- commands

  all(".copy").forEach(function (button) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", function () {
      navigator.clipboard.writeText(button.parentNode.querySelector("code").textContent).then(
        function () { button.textContent = "Copied"; },
        function () { button.textContent = "Select and copy"; }
      );
    });
  });

  // ---------------------------------------------------------- print: everything drawn and unfolded but rows, of which there may be hundreds

  window.addEventListener("beforeprint", function () {
    waiting.splice(0).forEach(draw);
    all("details:not([open]):not(.pair)").forEach(function (details) {
      details.setAttribute("open", "");
      details.setAttribute("data-shut", "");
    });
  });
  window.addEventListener("afterprint", function () {
    all("details[data-shut]").forEach(function (details) {
      details.removeAttribute("open");
      details.removeAttribute("data-shut");
    });
  });
})();
