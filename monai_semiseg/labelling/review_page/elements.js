// Elements of the page that every part of it uses.

export const byId = (id) => document.getElementById(id);

export function element(tag, text, className) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

export function say(text) {
  byId("message").textContent = text;
  byId("message").hidden = !text;
}
