// What a reader would notice, measured in the page itself.
(() => {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 1;
  const ink = canvas.getContext('2d', { willReadFrequently: true });
  // Any CSS colour as numbers: the browser paints it.
  const numbers = (colour) => {
    ink.clearRect(0, 0, 1, 1);
    ink.fillStyle = colour;
    ink.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = ink.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => top.slice(0, 3).map((c, i) => c * top[3] + below[i] * (1 - top[3]));
  const ground = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const layer = numbers(getComputedStyle(at).backgroundColor);
      layers.push(layer);
      if (layer[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const luminance = (colour) => {
    const [r, g, b] = colour.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const name = (element) => `${element.tagName.toLowerCase()}${element.classList.length ? '.' + [...element.classList].join('.') : ''}`;

  // Contrast of every text that is painted.
  const faint = [];
  let texts = 0;
  let least = 21;
  const seen = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.nodeValue.trim() || ['SCRIPT', 'STYLE', 'TITLE', 'title', 'OPTION'].includes(element.tagName)) continue;
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    texts += 1;
    const style = getComputedStyle(element);
    const inDrawing = element instanceof SVGElement;
    const below = ground(element);
    let colour = numbers(inDrawing ? style.fill : style.color);
    for (let at = element; at; at = at.parentElement) colour[3] *= Number(getComputedStyle(at).opacity);
    const ratio = contrast(over(colour, below), below);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    least = Math.min(least, ratio);
    if (ratio < (large ? 3 : 4.5) && !seen.has(name(element))) {
      seen.set(name(element), true);
      faint.push(`${name(element)} ${ratio.toFixed(2)}`);
    }
  }

  // What is wider than the screen, outside of what may be scrolled.
  const width = document.documentElement.clientWidth;
  const wide = [...document.body.querySelectorAll('*')]
    .filter((element) => !element.closest('.scroll > *, pre, svg, .skip-link') && element.getBoundingClientRect().right > width + 0.5)
    .slice(0, 5)
    .map(name);

  // Columns so narrow that their text stands upright.
  const squeezed = [...document.querySelectorAll('td, th, dd, p, li')]
    .filter((element) => element.checkVisibility() && element.textContent.trim().length > 12)
    .filter((element) => element.getBoundingClientRect().width < 48 && element.getBoundingClientRect().height > 120)
    .slice(0, 5)
    .map(name);

  const link = document.querySelector('nav a');
  link?.focus({ focusVisible: true });
  const focused = link ? getComputedStyle(link).outlineStyle : 'none';
  link?.blur();

  return {
    texts,
    least_contrast: least,
    faint,
    scroll_width: document.documentElement.scrollWidth,
    width,
    wide,
    squeezed,
    focus_shown: focused !== 'none',
    loaded: performance.getEntriesByType('resource').map((entry) => entry.name),
    unlabelled: document.querySelectorAll('td > .verdict:empty, svg[role=img]:not([aria-label]), th:not([scope])').length,
    script_ran: !document.querySelector('#filter') || !document.querySelector('#filter').hidden,
  };
})()
