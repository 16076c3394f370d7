// Looks at a page from inside. What is wrong is told to the page around it, as a list of lines.
"use strict";
const wrong = [];
const note = (line) => { if (!wrong.includes(line) && wrong.length < 50) wrong.push(line); };

// A script that fails has a message, a resource that fails has an address.
addEventListener("error", (event) => note(`error: ${event.message || event.target.src || event.target.href}`), true);
addEventListener("unhandledrejection", (event) => note(`rejection: ${event.reason}`));
addEventListener("securitypolicyviolation", (event) => note(`policy: ${event.violatedDirective} ${event.blockedURI}`));
for (const kind of ["error", "warn"]) {
    console[kind] = (...words) => note(`console.${kind}: ${words.join(" ")}`);
}

const shown = (element) => element.getClientRects().length > 0;
const name = (element) => `${element.tagName.toLowerCase()} "${element.textContent.trim().slice(0, 40)}"`;

function checkWindow() {
    if (innerWidth !== EXPECTED.width) note(`the window is ${innerWidth} wide and not ${EXPECTED.width}`);
    if (matchMedia("(prefers-color-scheme: dark)").matches !== EXPECTED.dark) note("the colour scheme is the other one");
}

function checkWidth(state) {
    const width = document.scrollingElement.scrollWidth;
    if (width > innerWidth) {
        const widest = [...document.body.querySelectorAll("*")].filter(shown)
            .reduce((a, b) => (b.getBoundingClientRect().right > a.getBoundingClientRect().right ? b : a));
        note(`the page ${state} is wider than the window: ${width} of ${innerWidth}, ${name(widest)}`);
    }
}

function checkFigures() {
    const figures = document.querySelectorAll("figure");
    if (figures.length === 0) note("there is no figure");
    for (const figure of figures) {
        if (![...figure.querySelectorAll("svg")].some(shown)) note(`figure ${figure.id} shows no drawing`);
        for (const svg of figure.querySelectorAll("svg")) {
            const labels = (svg.getAttribute("aria-labelledby") || "").split(" ").map((id) => document.getElementById(id));
            if (svg.getAttribute("role") !== "img") note(`figure ${figure.id} is no image`);
            if (!labels[0] || !labels[0].textContent.trim()) note(`figure ${figure.id} has no title`);
            if (!labels[1] || !labels[1].textContent.trim()) note(`figure ${figure.id} has no description`);
            if (shown(svg)) checkLetters(figure, svg);
        }
    }
}

function checkLetters(figure, svg) {
    const { width, height } = svg.viewBox.baseVal;
    const texts = [...svg.querySelectorAll("text")];
    const boxes = texts.map((text) => text.getBBox());
    // Lines of text may touch, their letters must not.
    const meet = (a, b) => a.x + 2 < b.x + b.width && b.x + 2 < a.x + a.width && a.y + 8 < b.y + b.height && b.y + 8 < a.y + a.height;
    boxes.forEach((a, at) => boxes.slice(at + 1).forEach((b, after) => {
        if (meet(a, b)) note(`figure ${figure.id}: ${name(texts[at])} and ${name(texts[at + 1 + after])} overlap`);
    }));
    for (const [at, text] of texts.entries()) {
        const box = boxes[at];
        // A line of text is a little higher than its letters.
        if (box.x < -2 || box.y < -4 || box.x + box.width > width + 2 || box.y + box.height > height + 4) {
            note(`figure ${figure.id}: ${name(text)} leaves its drawing`);
        }
    }
}

const parts = (colour) => (colour.match(/[\d.]+/g) || []).map(Number);
const light = (colour) => {
    const linear = parts(colour).slice(0, 3).map((part) => part / 255)
        .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
};
const solid = (colour) => parts(colour).length === 3 || parts(colour)[3] === 1;

function ground(element) {
    for (let at = element; at; at = at.parentElement) {
        const colour = getComputedStyle(at).backgroundColor;
        if (solid(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
}

function checkContrast() {
    const texts = [...document.body.querySelectorAll("*")]
        .filter((element) => [...element.childNodes].some((child) => child.nodeType === 3 && child.data.trim()))
        .filter((element) => !["SCRIPT", "STYLE", "TITLE", "DESC", "title", "desc"].includes(element.tagName) && shown(element));
    for (const element of texts) {
        const style = getComputedStyle(element);
        const [a, b] = [light(element instanceof SVGElement ? style.fill : style.color), light(ground(element))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) note(`contrast ${contrast.toFixed(1)}: ${name(element)}`);
    }
}

function report() {
    checkWindow();
    checkWidth("as it comes");
    document.querySelectorAll("details").forEach((details) => { details.open = true; });
    checkWidth("with all details open");
    checkFigures();
    checkContrast();
    performance.getEntriesByType("resource").forEach((entry) => note(`request: ${entry.name}`));
    parent.postMessage(JSON.stringify(wrong), "*");
}

// Requests and their failures need a moment.
addEventListener("load", () => setTimeout(report, 300));
