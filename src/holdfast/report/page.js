// Draws every chart of the page from the JSON beside it. Expressions are interpreted, never compiled, so no script can come from data.
(function () {
  "use strict";
  var specs = document.querySelectorAll('script[type="application/json"][data-chart]');
  Array.prototype.forEach.call(specs, function (element) {
    var target = document.getElementById(element.getAttribute("data-chart"));
    window
      .vegaEmbed(target, JSON.parse(element.textContent), { mode: "vega-lite", renderer: "svg", ast: true, actions: false })
      .catch(function (error) {
        target.textContent = "This chart could not be drawn: " + error.message;
      });
  });
  window.addEventListener("beforeprint", function () {
    Array.prototype.forEach.call(document.querySelectorAll("details:not([open])"), function (details) {
      details.setAttribute("open", "");
      details.setAttribute("data-shut", "");
    });
  });
  window.addEventListener("afterprint", function () {
    Array.prototype.forEach.call(document.querySelectorAll("details[data-shut]"), function (details) {
      details.removeAttribute("open");
      details.removeAttribute("data-shut");
    });
  });
})();
