// What a page can do: draw its charts from the JSON beside them, filter its rows, copy its commands, unfold itself for print.
// Charts' expressions are interpreted, never compiled, so no script can come from data. Nothing here makes HTML from text.
(function () {
  "use strict";
  var all = function (query, within) {
    return Array.prototype.slice.call((within || document).querySelectorAll(query));
  };

  // ---------------------------------------------------------- charts: those in sight first, the others when there is time

  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  var LETTER = 6.5; // pixels, on average
  var narrow = function (part, wide) { // on a phone names leave room for what they name, the rest being in a tooltip, and titles wrap
    if (!part || typeof part !== "object") return;
    if (part.axis && part.axis.labelLimit > 0.38 * wide) part.axis.labelLimit = 0.38 * wide;
    if (part.x && typeof part.x.title === "string" && LETTER * part.x.title.length > 0.5 * wide) part.x.title = halves(part.x.title);
    Object.keys(part).forEach(function (key) { if (key !== "data") narrow(part[key], wide); });
  };
  var halves = function (text) {
    var gap = text.indexOf(" ", text.length / 2 - 4);
    return gap < 0 ? text : [text.slice(0, gap), text.slice(gap + 1)];
  };
  var draw = function (element) {
    if (element.hasAttribute("data-drawn")) return;
    element.setAttribute("data-drawn", "");
    var target = document.getElementById(element.getAttribute("data-chart"));
    var spec = JSON.parse(element.textContent);
    if (target.clientWidth < 480) {
      narrow(spec, target.clientWidth);
      spec.config.legend.columns = 1;
      spec.config.axisY.labelLimit = 0.38 * target.clientWidth;
    }
    var options = {
      mode: "vega-lite", renderer: "svg", ast: true, actions: false,
      tooltip: { theme: dark.matches ? "dark" : "light" }
    };
    window.vegaEmbed(target, spec, options).then(function () { steps(target); }).catch(function (error) {
      target.textContent = "This chart could not be drawn: " + error.message;
    });
  };

  var NEAR = 60; // pixels
  // Along a line the value nearest to the pointer is shown. A chart takes the focus, and its arrow keys step from value to value: the
  // tooltip shows each, and a screen reader hears it.
  var steps = function (chart) {
    var values = function () {
      var found = new Map(); // a point and its interval say the same: the last drawn, the point, stands for both
      all(".mark-symbol path, .mark-rect path, .mark-rule line, .mark-text text", chart).forEach(function (mark) {
        var said = mark.__data__ && mark.__data__.tooltip;
        if (said) found.set(JSON.stringify(said), mark);
      });
      return Array.from(found);
    };
    if (!values().length) return;
    var at = -1;
    var heard = document.createElement("span");
    heard.className = "unseen";
    heard.setAttribute("aria-live", "polite");
    chart.parentNode.insertBefore(heard, chart.nextSibling);
    chart.tabIndex = 0;
    chart.setAttribute("aria-roledescription", "chart, arrow keys step through its values");
    var center = function (mark) {
      var box = mark.getBoundingClientRect();
      return [box.left + box.width / 2, box.top + box.height / 2];
    };
    var tell = function (mark, kind) {
      var at = center(mark);
      mark.dispatchEvent(new PointerEvent(kind, { bubbles: true, clientX: at[0], clientY: at[1] }));
    };
    var leave = function () {
      all(".at", chart).forEach(function (mark) {
        mark.classList.remove("at");
        tell(mark, "mouseout"); // what Vega hides its tooltip on
      });
      heard.textContent = "";
    };
    var show = function (mark) {
      mark.classList.add("at");
      tell(mark, "pointermove");
    };
    if (chart.querySelector(".mark-line")) {
      chart.addEventListener("pointermove", function (event) {
        if (!event.isTrusted) return; // our own, on its way up
        leave();
        var nearest = null, least = NEAR * NEAR;
        values().forEach(function (value) {
          var at = center(value[1]);
          var far = Math.pow(at[0] - event.clientX, 2) + Math.pow(at[1] - event.clientY, 2);
          if (far < least) { nearest = value[1]; least = far; }
        });
        if (nearest) show(nearest);
      });
      chart.addEventListener("pointerleave", leave);
    }
    chart.addEventListener("keydown", function (event) {
      var by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      var known = values();
      if (!by && event.key !== "Escape") return;
      event.preventDefault();
      leave();
      if (!by) return;
      at = (at + by + (at < 0 && by < 0 ? 1 : 0) + known.length) % known.length;
      show(known[at][1]);
      heard.textContent = Object.entries(JSON.parse(known[at][0])).map(function (one) { return one.join(" "); }).join(", ");
    });
    chart.addEventListener("blur", function () { leave(); at = -1; });
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
      var severity = form.elements.severity ? form.elements.severity.value : "";
      var shown = 0, rows = 0;
      sections.forEach(function (section) {
        var wanted = (!finding || section.id === finding) && (!severity || section.dataset.severity === severity);
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
      count.textContent = sought.length || finding || severity ? shown + " of " + rows + " rows" : rows + " rows";
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
