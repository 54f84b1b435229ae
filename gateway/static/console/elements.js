// Making elements. Names, reasons and descriptions are anybody's text: they go into the page as text, never as markup.

export const $ = (id) => document.getElementById(id)

// Children may be null, and are left out then. An attribute that is null or false is not set.
export function make(name, attributes = {}, ...children) {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue
    made.setAttribute(key, value === true ? '' : value)
  }
  made.append(...children.flat().filter((one) => one !== null && one !== undefined))
  return made
}

export function button(label, act, attributes = {}) {
  const made = make('button', { type: 'button', ...attributes }, label)
  made.onclick = act
  return made
}

// A select of [value, label] pairs.
export function select(id, choices, chosen, changed) {
  const made = make('select', { id }, choices.map(([value, label]) => make('option', { value }, label)))
  made.value = chosen
  made.onchange = () => changed(made.value)
  return made
}

export function labelled(text, control, ...more) {
  return make('div', { class: 'field' }, make('label', { for: control.id }, text), control, ...more)
}

export const section = (title, ...children) => make('section', { class: 'card' }, make('h2', {}, title), ...children)

// One number of a `dl` of tiles, with what it is of.
export const tile = (name, label, value, note) =>
  make('div', { class: 'card tile', 'data-tile': name }, make('dt', {}, label), make('dd', {}, value), note ? make('dd', { class: 'moved' }, note) : null)

// Text to be copied, with a button that does it.
export function copyable(text) {
  const code = make('pre', { tabindex: 0 }, text)
  const copy = button('Copy', async () => {
    try {
      await navigator.clipboard.writeText(text)
      copy.textContent = 'Copied'
    } catch {
      getSelection().selectAllChildren(code) // no clipboard without https: marked, so that the keyboard can copy
      copy.textContent = 'Marked'
    }
  })
  return make('div', { class: 'copyable' }, code, copy)
}
