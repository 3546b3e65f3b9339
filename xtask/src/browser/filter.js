// Uses the filter and the sorting as a reader does; says what is wrong, or nothing.
(() => {
  const rows = [...document.querySelectorAll('tr[data-scenario]')];
  if (!rows.length) return null;
  const shown = () => rows.filter((row) => row.checkVisibility()).length;
  const text = document.getElementById('filter-text');
  const say = (value) => {
    text.value = value;
    text.dispatchEvent(new Event('input', { bubbles: true }));
  };
  const one = rows[Math.floor(rows.length / 2)].dataset.scenario;
  say(one);
  if (shown() < 1 || (shown() === rows.length && rows.length > 1)) return `the filter shows ${shown()} of ${rows.length} for ${one}`;
  say('no scenario is called like this');
  if (shown() !== 0) return `the filter shows ${shown()} rows for nonsense`;
  say('');
  if (shown() !== rows.length) return `the filter hides ${rows.length - shown()} rows for nothing`;
  const order = () => [...document.querySelectorAll('tr[data-scenario]')].map((row) => row.dataset.scenario).join();
  const before = order();
  const button = document.querySelector('th[data-sort=id] button');
  button.click();
  const ids = order().split(',');
  if (ids.some((id, index) => index && ids[index - 1].localeCompare(id) > 0)) return 'the rows are not sorted by name';
  button.click();
  button.click();
  if (order() !== before) return 'sorting does not lead back to the order of the plan';
  return null;
})()
