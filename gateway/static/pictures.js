// Product pictures, drawn: the form comes from the category, the colours from the title. No image is ever fetched.
// The forms stand in the page, in a template: nothing here makes markup of text.

const WORDS = [
  [/sock/, 'sock'],
  [/shoe|boot|sneaker|sandal/, 'shoe'],
  [/bag|pack|luggage|wallet|case|sleeve/, 'bag'],
  [/shorts|chino|trouser|jean|pants/, 'shorts'],
  [/shirt|jacket|dress|jersey|coat|knit|blazer|cloth|apparel|scar/, 'shirt'],
  [/pole|tripod|stick/, 'pole'],
  [/carabiner|harness|lock|strap/, 'ring'],
  [/watch|jewel|ring|belt/, 'watch'],
  [/lamp|light|lantern|candle/, 'lamp'],
  [/helmet/, 'helmet'],
  [/tent/, 'tent'],
  [/pan|cook|stove|turntable/, 'pan'],
  [/cream|ointment|balm|paint/, 'tube'],
  [/bottle|oil|shampoo|conditioner|perfume|lotion|drink|beer|gin|tonic/, 'bottle'],
  [/glass|wine/, 'glass'],
  [/mug|cup|coffee|tea|spice|candle|jar/, 'mug'],
  [/chair|sofa|table|furniture/, 'chair'],
  [/pillow|cushion|duvet|sheet|blanket|bed/, 'cushion'],
  [/mat|rug|rope|band/, 'roll'],
  [/bell|weight/, 'weight'],
  [/head|earbud|audio|music|sound/, 'sound'],
  [/camera|lens|photo/, 'camera'],
  [/screen|laptop|monitor|keyboard|mice|hub|phone|tablet|comput|tv/, 'screen'],
  [/plant|seed|garden|flower/, 'plant'],
  [/book|paper|comic|novel|card/, 'book'],
  [/block|puzzle|chess|toy|kid|baby/, 'toy'],
  [/game|pasta|chocolate|kit|box|bean/, 'box'],
  [/ball|sport|fitness/, 'ball'],
  [/tool|pump|lock|knife|knives|pruner|arm|grinder|machine|glove|board|drill/, 'tool'],
]

// Colours that an item may name in its attributes: hue, saturation and lightness of the form.
const COLOURS = {
  black: [230, 8, 32], white: [40, 14, 84], navy: [222, 52, 36], sage: [110, 20, 56], rust: [16, 62, 45], sand: [38, 42, 66],
  teal: [178, 52, 38], plum: [318, 34, 40], mustard: [44, 74, 50], coral: [8, 76, 64], ivory: [46, 40, 82], red: [0, 64, 50],
  blue: [212, 60, 50], green: [140, 42, 42], yellow: [50, 82, 56], grey: [220, 6, 54], brown: [24, 40, 36], pink: [338, 60, 66],
}

let forms = null // name -> form, once the page is asked for them

function formsOfPage() {
  const all = () => [...document.getElementById('forms').content.querySelectorAll('[data-form]')]
  return (forms ??= Object.fromEntries(all().map((form) => [form.dataset.form, form])))
}

export function hashOf(text) {
  let h = 2166136261
  for (const letter of text) h = Math.imul(h ^ letter.codePointAt(0), 16777619)
  return h >>> 0
}

function formOf(category) {
  const known = formsOfPage()
  const path = category.toLowerCase().split('/').reverse()
  for (const part of path) {
    const found = WORDS.find(([words]) => words.test(part))
    if (found) return known[found[1]]
  }
  const names = Object.keys(known)
  return known[names[hashOf(category) % names.length]]
}

// The colours of an item's picture, as properties of its style.
export function coloursOf(item) {
  const hue = hashOf((item.category || item.item_id).split('/').slice(0, 2).join('/') + '·') % 360
  const own = hashOf(item.title + item.item_id)
  const colour = item.attributes?.colour
  const known = Object.hasOwn(COLOURS, colour) ? COLOURS[colour] : undefined
  const [tint, strength, light] = known ?? [(hue + (own % 70) + 325) % 360, 52, 50]
  return { '--hue': hue, '--tint': tint, '--s': `${strength}%`, '--l': `${light}%` }
}

// An item's picture. Decorative: the title stands beside it.
export function picture(item) {
  const own = hashOf(item.title + item.item_id)
  const drawn = document.getElementById('picture').content.firstElementChild.cloneNode(true)
  for (const [name, value] of Object.entries(coloursOf(item))) drawn.style.setProperty(name, value)
  const halo = drawn.querySelector('.halo')
  const place = { cx: 8 + ((own >>> 12) % 84), cy: (own >>> 18) % 90, r: 28 + ((own >>> 22) % 16) }
  for (const [name, value] of Object.entries(place)) halo.setAttribute(name, value)
  const form = drawn.querySelector('.form')
  form.setAttribute('transform', `rotate(${((own >> 4) % 11) - 5} 50 52)`)
  form.append(...formOf(item.category || item.item_id).cloneNode(true).childNodes)
  return drawn
}
