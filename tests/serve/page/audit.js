// What audit.py measures in a page. Each function returns {count: things looked at, found: what is wrong, in words}.
(() => {
  const shown = (element) => {
    if (!element.checkVisibility({visibilityProperty: true, contentVisibilityAuto: true})) return false;
    const {width, height} = element.getBoundingClientRect();
    return width > 0 && height > 0 && !element.closest(".hidden-label") && dim(element) > 0.1;
  };
  const chain = (element) => element ? [...chain(element.parentElement), element] : [];
  const dim = (element) => chain(element).reduce((all, each) => all * Number(getComputedStyle(each).opacity), 1);
  const off = (element) => element.closest("[disabled], [aria-disabled=true], [inert]");
  const called = (element) => `${element.localName}${element.id ? "#" + element.id : ""}.${
    (element.getAttribute("class") ?? "").split(" ").join(".")} '${
    (element.innerText ?? element.value ?? "").trim().slice(0, 40)}'`;

  // Colours are mixed by the browser's own canvas, whatever way they are written in.
  const contrast = () => {
    const canvas = new OffscreenCanvas(1, 1);
    const paint = canvas.getContext("2d", {willReadFrequently: true});
    const mixed = (layers) => {
      paint.globalAlpha = 1;
      paint.fillStyle = "#fff";
      paint.fillRect(0, 0, 1, 1);
      for (const [color, alpha] of layers) {
        paint.globalAlpha = alpha;
        paint.fillStyle = color;
        paint.fillRect(0, 0, 1, 1);
      }
      return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const luminance = (rgb) => {
      const [r, g, b] = rgb.map((part) => part / 255).map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ratio = (one, other) => {
      const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
      return (light + 0.05) / (dark + 0.05);
    };
    // Every ground a text can stand on: one for each colour of a gradient.
    const grounds = (element) => chain(element).reduce((all, each) => {
      const style = getComputedStyle(each);
      const alpha = dim(each);
      const plain = all.map((layers) => [...layers, [style.backgroundColor, alpha]]);
      const stops = style.backgroundImage.match(/(rgba?|color|oklab|oklch)\([^()]*\)/g) ?? [];
      return [...plain, ...plain.flatMap((layers) => stops.map((stop) => [...layers, [stop, alpha]]))].slice(0, 64);
    }, [[]]);
    const found = [];
    let count = 0;
    const judge = (element, color, needed, what, strength = 1) => {
      count += 1;
      const worst = Math.min(...grounds(element).map((layers) => ratio(mixed(layers), mixed([...layers, [color, strength * dim(element)]]))));
      if (worst < needed - 0.005) found.push(`${what} ${called(element)}: ${worst.toFixed(2)}:1 of ${needed}:1`);
    };
    const needs = (style) => {
      const size = parseFloat(style.fontSize);
      return size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement;
      if (!walker.currentNode.data.trim() || ["SCRIPT", "STYLE", "NOSCRIPT", "OPTION", "TEXTAREA"].includes(element.tagName)) continue;
      if (!shown(element) || off(element) || element.closest("svg")) continue;
      const style = getComputedStyle(element);
      judge(element, style.color, needs(style), "text");
    }
    for (const element of document.querySelectorAll("input:not([type=checkbox], [type=radio], [type=range], [type=hidden], [type=file]), textarea, select")) {
      if (!shown(element) || off(element)) continue;
      const style = element.value || !element.placeholder ? getComputedStyle(element) : getComputedStyle(element, "::placeholder");
      judge(element, style.color, needs(getComputedStyle(element)), "field", element.value || !element.placeholder ? 1 : Number(style.opacity));
      const frame = chain(element).slice(-3).reverse().find((each) => parseFloat(getComputedStyle(each).borderTopWidth) > 0);
      if (frame) judge(frame.parentElement, getComputedStyle(frame).borderTopColor, 3, "the border of a field in");
    }
    for (const element of document.querySelectorAll("svg.icon")) {
      if (!shown(element) || off(element)) continue;
      judge(element, getComputedStyle(element).stroke, 3, "icon");
    }
    return {count, found: [...new Set(found)]};
  };

  // What is small may stand alone, but not beside another target.
  const targets = () => {
    const pressed = "a[href], button, input:not([type=hidden]), select, textarea, summary, [role=button], [role=menuitem], [role=tab]";
    const targets = [...document.querySelectorAll(pressed)].filter((element) => shown(element) && !off(element)).map((element) => {
      const own = element.getBoundingClientRect();
      const label = ["checkbox", "radio"].includes(element.type) ? element.closest("label") : null; // a press on it counts
      const box = label ? label.getBoundingClientRect() : own;
      // A link in a line of text is as high as its line.
      const isInline = element.localName === "a" && getComputedStyle(element).display === "inline";
      return {element, box, isInline};
    });
    const center = ({box}) => [box.x + box.width / 2, box.y + box.height / 2];
    const distance = ([x, y], {left, right, top, bottom}) =>
      Math.hypot(Math.max(left - x, 0, x - right), Math.max(top - y, 0, y - bottom));
    const found = [];
    for (const target of targets) {
      const {element, box, isInline} = target;
      if (isInline || (box.width >= 23.9 && box.height >= 23.9)) continue;
      const near = targets.filter((other) => other !== target && !other.element.contains(element) && !element.contains(other.element)
        && !(other.element.labels && [...other.element.labels].some((label) => label.contains(element)))
        && distance(center(target), other.box) < 12);
      if (near.length) found.push(`${called(element)}: ${box.width.toFixed(0)} x ${box.height.toFixed(0)} px beside ${called(near[0].element)}`);
    }
    return {count: targets.length, found: [...new Set(found)]};
  };

  // What is shortened with an ellipsis on purpose is not cut.
  const cutOff = () => {
    const found = [];
    let count = 0;
    const scrolls = (element) => chain(element.parentElement).find((each) =>
      ["auto", "scroll"].includes(getComputedStyle(each).overflowX) && each.scrollWidth > each.clientWidth + 1
      && each.getBoundingClientRect().right <= innerWidth + 1);
    for (const element of document.body.querySelectorAll("*")) {
      if (!shown(element) || element.closest("svg, option") || element.matches("br")) continue;
      count += 1;
      const box = element.getBoundingClientRect();
      const style = getComputedStyle(element);
      if ((box.right > innerWidth + 1 || box.left < -1) && !scrolls(element)) found.push(`sticks out: ${called(element)}`);
      const isShortened = style.textOverflow === "ellipsis" || style.webkitLineClamp !== "none" || element.localName === "select";
      if (isShortened || !(element.innerText ?? "").trim()) continue;
      if (["hidden", "clip"].includes(style.overflowX) && element.scrollWidth > element.clientWidth + 1) found.push(`cut at its side: ${called(element)}`);
      if (["hidden", "clip"].includes(style.overflowY) && element.scrollHeight > element.clientHeight + 1) found.push(`cut below: ${called(element)}`);
    }
    // A field that does not scroll sideways by dragging may scroll; the page may not.
    const page = document.scrollingElement;
    if (page.scrollWidth > innerWidth) found.push(`the page is ${page.scrollWidth} px wide`);
    for (const inner of document.querySelectorAll(".page, .scroller, .blank, main")) {
      if (shown(inner) && inner.scrollWidth > inner.clientWidth + 1) found.push(`scrolls sideways: ${called(inner)}`);
    }
    return {count, found: [...new Set(found)]};
  };

  // A press of the Tab key must have come before: a browser shows the focus to those who use keys.
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const focus = async () => {
    const looks = (element) => chain(element).slice(-3).map((each) => {
      const style = getComputedStyle(each);
      return [style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 1 ? "" : style.outline, style.boxShadow, style.borderColor].join();
    }).join("|");
    const found = [];
    let count = 0;
    for (const element of document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']")) {
      if (!shown(element) || off(element)) continue;
      count += 1;
      document.activeElement.blur();
      const before = looks(element);
      element.focus();
      if (looks(element) === before) { await frame(); await frame(); } // what fades in is not there at once
      if (document.activeElement !== element) found.push(`takes no focus: ${called(element)}`);
      else if (looks(element) === before) found.push(`shows no focus: ${called(element)}`);
    }
    return {count, found: [...new Set(found)]};
  };

  return {contrast, targets, cutOff, focus};
})()
