// Filters and sorts the table of scenarios. The page says the same without it.
(function () {
  'use strict';
  var table = document.querySelector('table.matrix');
  if (table) { filter(table); sort(table); }
  window.addEventListener('beforeprint', function () {
    document.querySelectorAll('.card.red details').forEach(function (part) { part.open = true; });
  });

  function filter(table) {
    var form = document.getElementById('filter');
    var text = document.getElementById('filter-text');
    var verdict = document.getElementById('filter-verdict');
    var count = document.getElementById('filter-count');
    var rows = Array.from(table.querySelectorAll('tr[data-scenario]'));
    form.hidden = false;
    form.addEventListener('submit', function (event) { event.preventDefault(); });
    form.addEventListener('input', apply);
    function apply() {
      var wanted = text.value.trim().toLowerCase();
      var shown = 0;
      rows.forEach(function (row) {
        var fits = (!verdict.value || row.dataset.verdicts.split(' ').includes(verdict.value)) &&
          (!wanted || row.textContent.toLowerCase().includes(wanted));
        row.hidden = !fits;
        if (fits) { shown += 1; }
      });
      table.querySelectorAll('tbody').forEach(function (body) {
        body.hidden = !body.querySelector('tr[data-scenario]:not([hidden])');
      });
      count.textContent = shown === rows.length ? rows.length + ' shown' : shown + ' of ' + rows.length + ' shown';
    }
  }

  function sort(table) {
    var groups = Array.from(table.tBodies);
    var home = groups.map(function (body) { return Array.from(body.rows); });
    var rows = Array.from(table.querySelectorAll('tr[data-scenario]'));
    var flat = document.createElement('tbody');
    table.querySelectorAll('th[data-sort]').forEach(function (head) {
      var button = document.createElement('button');
      button.type = 'button';
      button.textContent = head.textContent;
      head.textContent = '';
      head.append(button);
      button.addEventListener('click', function () { next(head); });
    });
    // Down, up, and back into the groups of the plan.
    function next(head) {
      var before = head.getAttribute('aria-sort');
      var words = head.dataset.sort === 'id' || head.dataset.sort === 'verdict';
      var order = words ? ['ascending', 'descending'] : ['descending', 'ascending'];
      var now = order[order.indexOf(before) + 1];
      table.querySelectorAll('[aria-sort]').forEach(function (other) { other.removeAttribute('aria-sort'); });
      if (!now) {
        flat.remove();
        groups.forEach(function (body, index) { body.append.apply(body, home[index]); table.append(body); });
      } else {
        head.setAttribute('aria-sort', now);
        var sorted = rows.slice().sort(function (a, b) {
          return compare(a, b, head.dataset.sort) * (now === 'ascending' ? 1 : -1);
        });
        groups.forEach(function (body) { body.remove(); });
        flat.append.apply(flat, sorted);
        table.append(flat);
      }
      document.getElementById('filter').dispatchEvent(new Event('input'));
    }
    function compare(a, b, by) {
      if (by === 'id') { return a.dataset.scenario.localeCompare(b.dataset.scenario); }
      if (by === 'verdict') { return a.dataset.rank - b.dataset.rank; }
      return a.dataset[by] - b.dataset[by];
    }
  }
})();
